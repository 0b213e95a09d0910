// The scripted agent as a program: speaks ACP on stdin and stdout.
#include <berth/core/scope.h>
#include <berth/io/asio_reactor.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/files_linux.h>
#include <berth/io/uring_ring.h>

#include "scripted_agent.h"

#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

namespace {

using namespace berth;  // NOLINT: a program

class KernelRandom final : public Random {
 public:
  std::uint64_t next() override {
    std::uint64_t value = 0;
    BERTH_ASSERT(::getrandom(&value, sizeof value, 0) == sizeof value);
    return value;
  }
};

/// A tool that made a session of its own and outlives its parent, as real agents' shells do.
void spawn_sleeper(int seconds) {
  if (::fork() != 0) return;
  ::setsid();
  if (::fork() != 0) ::_exit(0);
  const std::string text = std::to_string(seconds);
  ::execlp("sleep", "sleep", text.c_str(), static_cast<char*>(nullptr));
  ::_exit(127);
}

Task<void> run(bench::ScriptedWorld world, bench::ScriptedOptions options, io::ByteStream* stream,
               int* exit_code) {
  *exit_code = co_await bench::run_scripted_agent(world, options);
  co_await stream->close();
  world.reactor->stop();
}

int complain(const Error& error) {
  std::fprintf(stderr, "berth-scripted-agent: %s\n", error.message.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGCHLD, SIG_IGN);
  Result<bench::ScriptedOptions> options = bench::parse_scripted_options({argv + 1, argv + argc});
  if (!options.has_value()) return complain(options.error());
  io::UringSizes sizes;
  sizes.submissions = 16;
  sizes.completions = 64;
  Result<std::unique_ptr<io::Reactor>> reactor = io::make_uring_reactor(sizes);
  if (!reactor.has_value()) reactor = io::make_asio_reactor();  // io_uring may be forbidden here
  if (!reactor.has_value()) return complain(reactor.error());
  Result<io::Handle> input = (*reactor)->adopt(STDIN_FILENO);
  Result<io::Handle> output = (*reactor)->adopt(STDOUT_FILENO);
  if (!input.has_value()) return complain(input.error());
  if (!output.has_value()) return complain(output.error());
  const auto stream = io::make_duplex_stream(**reactor, *input, *output);
  io::LinuxFiles files;
  KernelRandom random;
  bench::ScriptedWorld world;
  world.reactor = reactor->get();
  world.files = &files;
  world.random = &random;
  world.stream = stream.get();
  world.write_stderr = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
  };
  world.exit_now = [](int code) {
    if (code < 0) ::kill(::getpid(), SIGKILL);
    ::_exit(code);
  };
  world.spawn_sleeper = spawn_sleeper;
  int exit_code = 0;
  Scope scope(**reactor);
  scope.spawn(run(world, *options, stream.get(), &exit_code));
  (*reactor)->run();
  while ((*reactor)->poll()) {
  }
  return exit_code;
}
