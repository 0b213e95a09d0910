// tests/unit/io/starter.h — a program that uses a process host and is killed without warning.
#pragma once

#include <berth/io/proc_fs.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <string>

namespace berth::inline v0::io {

/// Five processes: one in the shell's session, two daemons with sessions of their own, one below a
/// daemon.
inline constexpr const char* kTree =
    "sleep 1000 & setsid sleep 1001 & (setsid sh -c 'sleep 1002 & sleep 1003' &); echo ready; wait";

/// A program that uses the same kind of host, starts `script` and then waits to be killed: see
/// crashing_starter.cc.
class Starter {
 public:
  Starter(const std::string& mode, const std::string& tag, const std::string& script) {
    int ends[2];
    BERTH_ASSERT(::pipe2(ends, O_CLOEXEC) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(ends[1], 1);
      ::execl(BERTH_CRASHING_STARTER, "crashing_starter", mode.c_str(), tag.c_str(), script.c_str(),
              nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    std::array<char, 64> line;
    const ssize_t got = ::read(ends[0], line.data(), line.size());  // "started PID\n"
    ::close(ends[0]);
    if (got > 0) root = std::atoi(std::string(line.data(), static_cast<std::size_t>(got)).c_str());
  }
  ~Starter() { crash(); }
  void crash() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  int pid() const { return pid_; }
  /// The agent dies with its starter, a moment later (its zombie may wait for a slow init).
  bool root_lives() const {
    const std::optional<ProcStat> stat = read_proc_stat(root);
    return stat.has_value() && !stat->ended();
  }
  int root = 0;

 private:
  pid_t pid_ = 0;
};

}  // namespace berth::inline v0::io
