// bench/load/agent_pipes.h — an agent started by the plainest means: two pipes and posix_spawn.
#pragma once

#include <sys/types.h>

#include <string>

namespace berth::bench {

struct AgentPipes {
  pid_t pid = 0;
  int to_stdin = -1;
  int from_stdout = -1;  ///< Blocks; whoever wants it otherwise says so.
};

/// Starts `program` and sends what opens its first session: two answers will come. Ends this
/// program when that fails. The caller closes both and waits for the process, which ends by that.
AgentPipes start_agent(std::string program);

}  // namespace berth::bench
