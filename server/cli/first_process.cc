#include <berth/server/cli/first_process.h>

#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

namespace berth::server {

namespace {

/// Reaps all that have ended; the status of `main` if it is among them.
std::optional<int> reap(pid_t main) {
  std::optional<int> ended;
  int status = 0;
  for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0;
       pid = ::waitpid(-1, &status, WNOHANG)) {
    if (pid == main) ended = status;
  }
  return ended;
}

}  // namespace

std::optional<int> run_as_first_process() {
  if (::getpid() != 1) return std::nullopt;
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t main = ::fork();
  if (main <= 0) {
    // A group of its own: Ctrl-C comes once, by the first process, for a second one means more.
    if (main == 0) ::setpgid(0, 0);
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    return std::nullopt;
  }
  for (;;) {
    int signal = 0;
    if (::sigwait(&all, &signal) != 0) continue;
    if (signal != SIGCHLD) {
      ::kill(main, signal);
      continue;
    }
    if (const std::optional<int> status = reap(main)) {
      return WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
    }
  }
}

}  // namespace berth::server
