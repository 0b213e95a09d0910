#include "fd_rig.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <filesystem>
#include <iterator>

namespace berth::inline v0::io {

namespace {

constexpr std::chrono::seconds kPatience{5};

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator open("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(open), end(open)));
}

}  // namespace

FdRig::~FdRig() {
  for (std::thread& thread : threads_) thread.join();
  for (const auto& [pid, stdin_end] : children_) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    if (stdin_end >= 0) ::close(stdin_end);
  }
  if (!folder_.empty()) std::filesystem::remove_all(folder_);
}

PipeEnds FdRig::make_pipe() {
  std::array<int, 2> ends = {-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return PipeEnds{};
  return PipeEnds{reactor_->adopt(ends[0]).value(), reactor_->adopt(ends[1]).value()};
}

std::size_t FdRig::open_handles() {
  return open_descriptors() - own_handles_;
}

Reactor& FdRig::other() {
  if (other_ == nullptr) {
    const std::size_t before = open_descriptors();
    other_ = make_();
    own_handles_ += open_descriptors() - before;
  }
  return *other_;
}

void FdRig::elsewhere(std::vector<std::function<void()>> steps) {
  threads_.emplace_back([steps = std::move(steps)] {
    for (const std::function<void()>& step : steps) step();
  });
}

bool FdRig::wait_outside(Reactor& which) {
  const std::optional<TimePoint> deadline = which.next_deadline();
  const TimePoint now = std::chrono::steady_clock::now();
  Duration wait = kPatience;
  if (deadline.has_value()) {
    wait = *deadline <= now ? Duration::zero() : std::min<Duration>(*deadline - now, kPatience);
  }
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(wait);
  const timespec time = {whole.count(), (wait - whole).count()};
  // An engine may make its descriptor when it is first asked for it.
  const bool first = asked_.insert(&which).second;
  const std::size_t before = first ? open_descriptors() : 0;
  pollfd ready = {which.wait_fd(), POLLIN, 0};
  if (first) own_handles_ += open_descriptors() - before;
  return ::ppoll(&ready, 1, &time, nullptr) > 0 || wait < kPatience;
}

std::string FdRig::folder() {
  if (folder_.empty()) {
    folder_ = (std::filesystem::temp_directory_path() / "berth-rig-XXXXXX").string();
    if (::mkdtemp(folder_.data()) == nullptr) folder_.clear();
  }
  return folder_;
}

int FdRig::start_child() {
  std::array<int, 2> ends = {-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return -1;
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
  std::string name = "/bin/cat";
  std::array<char*, 2> arguments = {name.data(), nullptr};
  int pid = -1;
  const int error = ::posix_spawn(&pid, name.c_str(), &actions, nullptr, arguments.data(), nullptr);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[0]);
  if (error != 0) {
    ::close(ends[1]);
    return -1;
  }
  children_[pid] = ends[1];
  return pid;
}

void FdRig::end_child(int pid) {
  ::close(std::exchange(children_.at(pid), -1));
}

int FdRig::reap_child(int pid) {
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) return -1;
  children_.erase(pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int FdRig::stranger() {
  return ::getpid();
}

}  // namespace berth::inline v0::io
