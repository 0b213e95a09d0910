// server/sessions/ladder.h — what follows when an agent could not be brought back: pure decisions.
#pragma once

#include <berth/core/clock.h>
#include <berth/server/agents/agent_port.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::server {

/// How often and how fast a start is tried again after a failure that may pass.
struct RetryLimits {
  int retries_max = 3;
  int timeouts_max = 1;  ///< Of these, after time-outs: each has cost its time already.
  Duration wait_first = std::chrono::milliseconds(200);  ///< Doubled each time.
  Duration wait_max = std::chrono::seconds(5);
};

enum class AttachStep : std::uint8_t {
  retry,   ///< It may pass: again after `wait`.
  decide,  ///< The agent may still have its memory of the session: a person must choose.
  fail,    ///< Nothing to lose and nothing to wait for: the turn fails.
};

struct AttachPlan {
  AttachStep step = AttachStep::fail;
  Duration wait{};
};

/// `failures` counts this one; `timeouts` those of them that were time-outs; `has_memory`: the
/// agent has a native session of this session.
AttachPlan plan_after_failure(const AttachFailure& failure, int failures, int timeouts,
                              bool has_memory, const RetryLimits& limits);

/// What a person can choose when a decision is needed.
enum class Choice : std::uint8_t {
  retry,    ///< The ladder again, with the same memory.
  history,  ///< A new native session that is told the story; the old one is kept by name.
  fail,     ///< The turn fails; the next prompt tries again.
};
/// Error `invalid` ("bad_field").
Result<Choice> choice_named(std::string_view name);
std::string_view to_string(Choice choice);

/// The list of native sessions that an agent had before, with one more; JSON in, JSON out. The
/// oldest are dropped above 32.
std::string add_native_session(std::string_view history, std::string_view id, std::int64_t to_turn);

}  // namespace berth::server
