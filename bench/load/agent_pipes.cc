#include "agent_pipes.h"
#include "poller.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>
#include <string_view>

namespace berth::bench {

namespace {

constexpr std::string_view kHello =
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}\n"
    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"session/new\"}\n";

}  // namespace

AgentPipes start_agent(std::string program) {
  int in[2];
  int out[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) die("pipe2");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  char* arguments[] = {program.data(), nullptr};
  AgentPipes agent{0, in[1], out[0]};
  errno = ::posix_spawn(&agent.pid, program.c_str(), &actions, nullptr, arguments, environ);
  if (errno != 0) die(program.c_str());
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  if (::write(agent.to_stdin, kHello.data(), kHello.size()) < 0) die("write to an agent");
  return agent;
}

}  // namespace berth::bench
