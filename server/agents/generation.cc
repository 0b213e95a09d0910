#include <berth/server/agents/generation.h>

namespace berth::server {

const char* generation_over(const GenerationFacts& facts, const GenerationLimits& limits) {
  if (limits.memory_max > 0 && facts.memory_bytes > limits.memory_max) return "server_memory_max";
  if (limits.age_max > Duration::zero() && facts.age >= limits.age_max) return "server_age_max";
  if (limits.sessions_max > 0 && facts.sessions >= limits.sessions_max) {
    return "server_sessions_max";
  }
  return nullptr;
}

}  // namespace berth::server
