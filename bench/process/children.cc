#include "children.h"

#include <berth/core/assert.h>

#include <fcntl.h>
#include <fmt/core.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace berth::bench {

namespace {
constexpr std::size_t kUnderWay = 64;  // starts that were asked for
}  // namespace

BareChild::BareChild(bool stays) {
  for (auto& ends : pipes_) BERTH_ASSERT(::pipe2(ends.data(), O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pipes_[0][0], 0);
  ::posix_spawn_file_actions_adddup2(&actions, pipes_[1][1], 1);
  ::posix_spawn_file_actions_adddup2(&actions, pipes_[2][1], 2);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  char name[] = BERTH_SPAWN_CHILD;
  char stay[] = "stay";
  std::array<char*, 3> arguments = {name, stays ? stay : nullptr, nullptr};
  BERTH_ASSERT(::posix_spawn(&pid_, name, &actions, &attributes, arguments.data(), environ) == 0);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  for (const int end : {pipes_[0][0], pipes_[1][1], pipes_[2][1]}) ::close(end);
}

BareChild::~BareChild() {
  ::close(pipes_[0][1]);  // one that stays ends by that
  int status = 0;
  BERTH_ASSERT(::waitpid(pid_, &status, 0) == pid_ && status == 0);
  for (const int end : {pipes_[1][0], pipes_[2][0]}) ::close(end);
}

io::LaunchSpec tiny_child(bool stays) {
  io::LaunchSpec spec;
  spec.command = BERTH_SPAWN_CHILD;
  if (stays) spec.arguments = {"stay"};
  spec.environment = {{"PATH", "/usr/bin:/bin"}};
  spec.working_directory = "/";
  spec.tag = "bench-" + std::to_string(::getpid());
  return spec;
}

void Ended::on_started() {
  ++started;
  reactor_.stop();
}

void Ended::on_start_failed(Error error) {
  fmt::print(stderr, "a child did not start: {}\n", error.message);
  std::exit(1);
}

void Ended::on_exit(io::ExitStatus status) {
  BERTH_ASSERT(describe(status) == "exit code 0");
  ++count;
  reactor_.stop();
}

void close_pipes(io::Reactor& reactor, const io::Process& process) {
  reactor.close(process.stdin_handle);
  reactor.close(process.stdout_handle);
}

Held::Held(io::Reactor& reactor, io::ProcessHost& host, std::size_t count)
    : reactor_(reactor), nobody_(reactor) {
  for (std::size_t i = 0; i < count; ++i) {
    auto process = host.spawn(reactor, tiny_child(true), nobody_);
    if (!process.has_value()) {
      fmt::print(stderr, "child {}: {}\n", i, process.error().message);
      std::exit(1);
    }
    processes_.push_back(std::move(*process));
    while (nobody_.started + kUnderWay <= i) reactor.run();
  }
  while (nobody_.started < count) reactor.run();
}

Held::~Held() {
  for (const auto& process : processes_) close_pipes(reactor_, *process);
}

}  // namespace berth::bench
