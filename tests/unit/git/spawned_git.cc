#include "spawned_git.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <vector>

namespace berth::git::test {
namespace {

struct Child {
  pid_t pid = -1;
  int in = -1;
  int out = -1;
  int err = -1;
};

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> all;
  for (std::string& one : strings) all.push_back(one.data());
  all.push_back(nullptr);
  return all;
}

Result<Child> start(const GitRun& run) {
  int in[2];
  int out[2];
  int err[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) {
    return fail(errno_error(errno, "pipe"));
  }
  std::vector<std::string> arguments = {"git"};
  arguments.insert(arguments.end(), run.arguments.begin(), run.arguments.end());
  std::vector<std::string> environment = {"PATH=" + std::string(::getenv("PATH"))};
  for (const auto& [name, value] : run.environment) environment.push_back(name + "=" + value);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  ::posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  ::posix_spawn_file_actions_addchdir_np(&actions, run.directory.c_str());
  Child child{.in = in[1], .out = out[0], .err = err[0]};
  const int rc = ::posix_spawnp(&child.pid, "git", &actions, nullptr, pointers(arguments).data(),
                                pointers(environment).data());
  ::posix_spawn_file_actions_destroy(&actions);
  for (const int fd : {in[0], out[1], err[1]}) ::close(fd);
  if (rc != 0) return fail(ErrorKind::unsupported, "git_command_missing", "git cannot be started");
  ::fcntl(child.in, F_SETFL, O_NONBLOCK);
  return child;
}

/// Moves what can be moved; false when both of the child's outputs have ended.
bool pump(Child& child, std::string_view& input, GitOutput& output) {
  if (input.empty() && child.in >= 0) ::close(std::exchange(child.in, -1));
  pollfd polls[3] = {{child.out, POLLIN, 0}, {child.err, POLLIN, 0}, {child.in, POLLOUT, 0}};
  ::poll(polls, 3, 20);
  char buffer[65536];
  for (int i = 0; i < 2; ++i) {
    int& fd = i == 0 ? child.out : child.err;
    if (fd < 0 || polls[i].revents == 0) continue;
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n > 0) (i == 0 ? output.output : output.error).append(buffer, static_cast<std::size_t>(n));
    if (n == 0) ::close(std::exchange(fd, -1));
  }
  if (child.in >= 0 && polls[2].revents != 0) {
    const ssize_t n = ::write(child.in, input.data(), input.size());
    if (n > 0) input.remove_prefix(static_cast<std::size_t>(n));
    if (n < 0 && errno != EAGAIN) input = {};
  }
  return child.out >= 0 || child.err >= 0;
}

}  // namespace

Result<GitOutput> SpawnedGit::run(const GitRun& run) {
  ++runs;
  Result<void> patient = run.patience.check("git");
  if (!patient) return fail(std::move(patient).error());
  static const bool ignored = ::signal(SIGPIPE, SIG_IGN) != SIG_ERR;
  static_cast<void>(ignored);
  Result<Child> child = start(run);
  if (!child) return fail(std::move(child).error());
  GitOutput output;
  std::string_view input = run.input;
  while (patient && pump(*child, input, output)) {
    patient = run.patience.check("git");
    if (output.output.size() > run.output_max) {
      patient = fail(ErrorKind::overloaded, "git_output_too_large", "git printed too much");
    }
  }
  if (!patient) ::kill(child->pid, SIGKILL);
  for (const int fd : {child->in, child->out, child->err}) {
    if (fd >= 0) ::close(fd);
  }
  int status = 0;
  ::waitpid(child->pid, &status, 0);
  if (!patient) return fail(std::move(patient).error());
  output.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return output;
}

}  // namespace berth::git::test
