#include "lane_process.h"

#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace berth::bench {

namespace {

constexpr int kRoundMs = 60'000;

}  // namespace

LaneProcess::LaneProcess(const std::string& folder, const Scenario& scenario,
                         const Contestant& contestant)
    : scenario_(scenario), contestant_(contestant) {
  std::array<int, 2> ends = {};
  check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0, "socketpair");
  std::string program = folder + "/" + std::string(contestant.program);
  std::string name(scenario.name);
  std::string who(contestant.name);
  std::string lane = "--lane";
  const std::array<char*, 5> arguments = {program.data(), lane.data(), name.data(), who.data(),
                                          nullptr};
  // Above kLaneFd, so that dup2() onto it takes off close-on-exec.
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], kLaneFd);
  const int error =
      ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  errno = error;
  check(error == 0, program.c_str());
  ::close(ends[1]);
  socket_ = ends[0];
}

LaneProcess::~LaneProcess() {
  ::close(socket_);
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

Sample LaneProcess::round() {
  const auto fail = [this](const char* what) {
    std::fprintf(stderr, "%s in %s: %s\n", std::string(contestant_.name).c_str(),
                 std::string(scenario_.name).c_str(), what);
    ::kill(pid_, SIGKILL);
    std::exit(1);
  };
  if (::write(socket_, "r", 1) != 1) fail("cannot be asked");
  pollfd answer = {socket_, POLLIN, 0};
  if (::poll(&answer, 1, kRoundMs) != 1) fail("no answer in time");
  Sample sample;
  if (::recv(socket_, &sample, sizeof sample, MSG_WAITALL) != sizeof sample) fail("ended");
  if (sample.messages != scenario_.messages()) fail("lost messages, or counted some twice");
  return sample;
}

}  // namespace berth::bench
