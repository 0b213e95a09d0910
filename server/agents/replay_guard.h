// server/agents/replay_guard.h — tells what an agent replays of a loaded session from what is new.
#pragma once

#include <berth/server/agents/agent_port.h>
#include <berth/server/agents/said.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// What tells of the present, not of what was said: shown also while a history is replayed.
bool is_state_update(std::string_view kind);

/// The updates of one attach, after a session/load: what it replays is in the log already. The same
/// after a session/resume, which should replay nothing.
///
/// By the protocol the replay comes before the answer to session/load. Some agents go on after it,
/// even after the next prompt was sent. So nothing counts as new before the first prompt, and in a
/// turn a message of the user that is not its prompt is a replay: with all that came before it.
/// What comes after it in the same turn may be the end of the replay or the beginning of the
/// answer; it is held until the turn ends or asks, and then only what is known as the last thing
/// said is left out. In doubt an old answer is shown twice, a new one is never lost.
class ReplayGuard {
 public:
  enum class Fate : std::uint8_t {
    show,
    drop,
    hold,     ///< It was copied.
    release,  ///< It was copied and there is no more room: show what release() gives.
  };
  /// A copy of an AgentUpdate.
  struct Update {
    std::string update;
    std::string kind;
    std::string tool_call_id;
    bool has_raw_cr = false;

    AgentUpdate view() const { return {update, kind, tool_call_id, has_raw_cr}; }
  };

  explicit ReplayGuard(std::size_t held_max = std::size_t{4} << 20) : held_max_(held_max) {}

  /// Everything that comes is new: a new attach, or nothing was loaded.
  void reset();
  /// session/load or session/resume is being sent; `last` is what the
  /// agent said last before.
  void begin(Said last);
  /// It was answered; `not_over` if some of the replay has come after the answer already.
  void answered(bool not_over);
  /// The agent has told by a mark of its own that the replay is over.
  void ended_by_mark() { marked_ = true; }
  bool marked() const { return marked_; }
  /// `blocks` is the prompt that is being sent, a JSON array of content blocks.
  void prompted(std::string_view blocks);
  Fate take(const AgentUpdate& update);
  /// What was held and counts as new after all: when the agent asks something.
  std::vector<Update> release();
  /// The same, and the turn is over.
  std::vector<Update> turn_over();

 private:
  enum class Phase : std::uint8_t {
    off,       // nothing was restored in this attach
    asked,     // session/load is under way
    restored,  // it was answered, nothing was prompted yet
    turn,
    idle,  // between turns
  };

  Fate replayed(const AgentUpdate& update);
  Fate in_turn(const AgentUpdate& update);
  bool is_prompt(const AgentUpdate& update) const;
  std::size_t end_of_last_answer() const;

  std::size_t held_max_;
  // What follows begins anew in each attach: reset().
  Phase phase_ = Phase::off;
  bool suspect_ = false;  // the replay may still be under way
  bool marked_ = false;
  bool after_answer_ = false;  // some of it came after the answer
  Said last_;
  Said seen_;  // replayed since the last message of the user
  std::string prompt_;
  std::vector<Update> held_;
  std::size_t held_bytes_ = 0;
};

}  // namespace berth::server
