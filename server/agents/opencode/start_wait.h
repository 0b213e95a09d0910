// server/agents/opencode/start_wait.h — a prompt that opencode took and does not run: is it slow,
// or stuck?
#pragma once

#include <berth/core/clock.h>

#include <cstdint>
#include <optional>

namespace berth::server::opencode {

/// Of a prompt to which no message of the agent was seen yet, while the session reads idle.
struct StartFacts {
  bool stored = false;  ///< opencode has it.
  Duration silent{};    ///< Since the last news of the session in this turn.
  Duration rested{};    ///< Since the server was last found at work (WorkSigns).
};

enum class StartVerdict : std::uint8_t {
  waits,
  not_stored,  ///< It never came so far.
  not_run,     ///< It lies there, and nobody works on it.
};

/// A server that works is slow, not stuck: on a busy machine a run takes long to begin. But its
/// work may be for another session, so `silence_max` ends the wait whatever it does.
StartVerdict judge_start(const StartFacts& facts, Duration silence_max);

/// What a server says by the processor time that it uses and the time that it takes to answer.
/// Heartbeats say nothing: the timer that sends them runs also where a prompt was forgotten.
class WorkSigns {
 public:
  /// A turn begins; it counts as work.
  void begin(TimePoint now);
  /// `cpu_microseconds` of its process until now, if known; it answered questions in `answered_in`.
  void look(TimePoint now, std::optional<std::uint64_t> cpu_microseconds, Duration answered_in);
  TimePoint worked() const { return worked_; }

 private:
  TimePoint worked_{};
  TimePoint since_{};  // of cpu_
  std::optional<std::uint64_t> cpu_;
};

}  // namespace berth::server::opencode
