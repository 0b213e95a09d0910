// berth-launch: what stands around a sandboxed agent; started by berth, no use to anybody else.
//
//   keeper -> berth-launch hold -> bwrap -> berth-launch inside (pid 1 of the sandbox) -> agent
//
// `hold` ends just as the agent did: bwrap can only say 128 + n for one that was killed. It and
// bwrap ignore the signals that are meant for the agent, which is in their process group. `inside`
// reaps what the agent leaves behind, and passes the network on (launch_relay.h).
#include <berth/io/launch_relay.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {

using namespace berth;

constexpr int kCannot = 126;  // as a shell says it
/// Away from stdio, the same in both roles: `hold` opens it, bwrap hands it on.
constexpr int kStatusDescriptor = 9;

struct Ending {
  int code = 0;  // si_code of waitid
  int status = 0;
};

int complain(std::string_view what) {
  const std::string line =
      "berth-launch: " + std::string(what) + ": " + std::strerror(errno) + "\n";
  static_cast<void>(!::write(2, line.data(), line.size()));
  return kCannot;
}

/// What is sent to the process group is for the agent.
void ignore_signals() {
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2}) {
    ::signal(number, SIG_IGN);
  }
}

void default_signals() {
  for (int number = 1; number < 32; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void end_like(const Ending& ending) {
  if (ending.code == CLD_EXITED) ::_exit(ending.status);
  const rlimit none = {0, 0};
  ::setrlimit(RLIMIT_CORE, &none);  // the agent has dumped what there was to dump
  default_signals();
  ::raise(ending.status);
  ::_exit(128 + ending.status);
}

int hold(char** program) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return complain("pipe");
  ignore_signals();
  const pid_t child = ::fork();
  if (child < 0) return complain("fork");
  if (child == 0) {
    if (::dup2(ends[1], kStatusDescriptor) < 0) ::_exit(complain("dup2"));
    ::execv(program[0], program);
    ::_exit(complain(program[0]));
  }
  // The agent's alone: their other ends tell when it closes them.
  for (const int descriptor : {0, 1, ends[1]}) ::close(descriptor);
  siginfo_t info = {};
  while (::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED) != 0 && errno == EINTR) {
  }
  Ending ending;
  if (::read(ends[0], &ending, sizeof(ending)) != sizeof(ending)) {
    ending = {info.si_code, info.si_status};  // no agent came to be, or all were killed
  }
  end_like(ending);
}

[[noreturn]] void become(char** program) {
  default_signals();
  ::execvp(program[0], program);
  ::_exit(complain(program[0]));
}

/// Reaps until `agent` has ended.
bool reap(pid_t agent, Ending& ending) {
  for (;;) {
    siginfo_t info = {};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) return false;
    if (info.si_pid != agent) continue;
    ending = {info.si_code, info.si_status};
    return true;
  }
}

int inside(io::launch::Relay& relay, char** program) {
  sigset_t child_ended;
  sigemptyset(&child_ended);
  sigaddset(&child_ended, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child_ended, nullptr);
  const io::Fd signals(::signalfd(-1, &child_ended, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid()) return complain("signalfd");
  const pid_t agent = ::fork();
  if (agent < 0) return complain("fork");
  if (agent == 0) {
    ::close(kStatusDescriptor);
    become(program);
  }
  for (const int descriptor : {0, 1}) ::close(descriptor);
  Ending ending;
  for (;;) {
    if (!relay.turn(signals.get())) continue;
    signalfd_siginfo ignored;
    while (::read(signals.get(), &ignored, sizeof(ignored)) > 0) {
    }
    if (reap(agent, ending)) break;
  }
  static_cast<void>(!::write(kStatusDescriptor, &ending, sizeof(ending)));
  // With this process, the first of its namespace, all others in it end.
  return ending.code == CLD_EXITED ? ending.status : 128 + ending.status;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view role = argc > 2 ? argv[1] : "";
  if (role == "hold") return hold(argv + 2);
  if (role != "inside") {
    constexpr std::string_view kHint = "berth-launch is started by berth around its agents\n";
    static_cast<void>(!::write(2, kHint.data(), kHint.size()));
    return 2;
  }
  std::string socket;
  int at = 2;
  if (std::string_view(argv[at]) == "--egress" && at + 1 < argc) {
    socket = argv[at + 1];
    at += 2;
  }
  io::launch::Relay relay(socket);
  for (; at + 1 < argc && std::string_view(argv[at]) != "--"; at += 2) {
    const bool tunnel = std::string_view(argv[at]) == "--tunnel";
    const auto port = static_cast<std::uint16_t>(std::atoi(argv[at + 1]));
    const Result<void> listening = relay.listen(port, tunnel);
    if (!listening.has_value()) return complain(listening.error().message);
  }
  if (at + 1 >= argc) return complain("no program");
  return inside(relay, argv + at + 1);
}
