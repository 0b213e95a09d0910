// server/sessions/binding.h — one agent's part in a session: its process, its native session and
// how it comes back to it.
#pragma once

#include <berth/core/sync.h>
#include <berth/io/member_timer.h>
#include <berth/server/agents/agent_port.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/health.h>
#include <berth/server/sessions/ladder.h>
#include <berth/server/sessions/pool.h>
#include <berth/server/sessions/questions.h>
#include <berth/server/sessions/tool_calls.h>
#include <berth/server/sessions/usage.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

class Session;

/// Belongs to one session, on its shard. Everything that carries another attach epoch than the
/// current one is late; it is dropped here and nowhere else.
class Binding final : public Asker, private AgentSink, private RoomListener, private PoolMember {
 public:
  Binding(SessionContext& context, Session& session, BindingRow row);

  const BindingRow& row() const { return row_; }
  const UsageMeter& usage() const { return usage_; }
  /// A process that is being ended takes no prompt any more.
  bool live() const { return port_ != nullptr && port_->live() && !ending_; }
  /// A process is to be started, runs, or is being ended.
  bool up() const { return !gone_.is_set() || retry_.started() || waits_to_start(); }
  bool needs_decision() const { return row_.state == BindingState::needs_decision; }
  std::string stderr_tail() const;
  /// As of the last look (health_watch.h).
  const Diagnosis& diagnosis() const { return diagnosis_; }
  /// What went wrong with it last, until it answers again; empty: nothing.
  const std::string& last_trouble() const { return last_trouble_; }
  /// live | resumed | history | new: what the next prompt will be. Empty while a decision is
  /// needed.
  std::string_view next() const;

  /// How its process is started; nothing where nobody knows or it cannot be.
  std::optional<LaunchChoice> launch_choice() const;
  /// Error `unavailable` ("overloaded") when the next prompt would need a start for which the pool
  /// has no place.
  Result<void> check_start() const;
  /// Starts the process, once the pool has a place for it, and restores (or makes) the native
  /// session; the session hears by on_agent_ready, on_agent_lost or on_decision_needed. Nothing
  /// happens when it is live or on its way; one that is being ended is waited for.
  void attach();
  /// No turn needs it now: the pool may end it when it has idled for long, or for others.
  void rest();
  /// What a person chose for a binding that needs a decision. Error `conflict` ("no_decision").
  Result<void> decide(Choice choice);
  /// True when the agent must be told something before turn `number`: all of it, or what it missed.
  bool owes_story(std::int64_t number) const;
  /// Sends the prompt; live() only.
  void prompt(const TurnRow& turn, std::string blocks);
  /// Adds to the running prompt; false when this agent cannot.
  bool steer(std::string_view turn, std::string_view blocks);
  /// Asks the agent to end its turn; open questions are answered `cancelled`.
  void cancel(std::string_view turn);
  void end(bool at_once);
  /// Ends the process (gracefully unless `at_once`) and waits until it is gone.
  Task<void> stop(bool at_once);
  /// For the end of the server: like stop(true), but nothing is written to the log any more.
  Task<void> shutdown();

  /// No process of it is there or wanted.
  bool at_rest() const {
    return gone_.is_set() && !ending_ && !attaching_ && !retry_.started() && !waits_to_start();
  }

  /// While no process runs: the next one begins without memory, and is not told what was before
  /// (nor is any other agent of the session from now on).
  void forget();

  /// After a restart of the server: what was live is not any more.
  void recover();

  /// Stores the wish, sends it to a live agent, restores it at each attach.
  void set_mode(std::string mode);
  void set_config(std::string_view id, std::string_view json_value);

  /// The turn was answered by the agent: it knows the story up to it, and nothing is owed.
  void answered(std::int64_t turn_number);
  /// A turn that was sent has ended: its usage, as JSON to show; counted once.
  std::string end_turn(std::string_view reported_usage);
  /// Ids of tool calls of the running turn without a result; forgets them.
  std::vector<std::string> take_open_tool_calls();

  // For the questions.
  const std::string& name() const override { return row_.agent; }
  bool can_wait() const override;
  const ToolCall* tool_call(std::string_view id) const override { return tool_calls_.find(id); }
  void deliver(std::uint64_t reply_id, const AgentAnswer& answer) override;

 private:
  void on_attached(std::int64_t attach_epoch, const Attached& attached) override;
  void on_attach_failed(std::int64_t attach_epoch, AttachFailure failure) override;
  void on_update(std::int64_t attach_epoch, const AgentUpdate& update) override;
  void on_question(std::int64_t attach_epoch, const AgentQuestion& question) override;
  void on_question_withdrawn(std::int64_t attach_epoch, std::uint64_t reply_id) override;
  void on_foreign_message(std::int64_t attach_epoch, std::string_view method,
                          std::string_view params) override;
  void on_junk(std::int64_t attach_epoch, const char* reason, std::uint64_t bytes,
               std::string_view head) override;
  void on_prompt_ended(std::int64_t attach_epoch, std::string_view turn, PromptEnd end) override;
  void on_exited(std::int64_t attach_epoch, AgentExit exit) override;
  bool wants_more() const override;
  void on_room() override;

  // In the pool (binding_pool.cc).
  void on_start_granted(bool joins) override;
  void on_start_refused(const Error& error) override;
  void on_eviction(std::string_view limit) override;
  PooledAgent pooled() const override;
  void leave_pool();
  // Its health (binding_health.cc).
  std::optional<Look> wanted_look() const override;
  void on_look(const io::VitalSigns& signs) override;
  void hear();
  void judge();
  bool owes_words() const;
  void ping_when_idle();
  std::optional<TimePoint> unanswered_since() const;
  void note_crash();

  bool is_late(std::int64_t attach_epoch) const { return attach_epoch != row_.attach_epoch; }
  bool runs_turn() const;
  std::string_view turn_of(std::string_view update_kind) const;
  bool wanted() const;
  void save();
  void give_back_native_session();
  void tell_start(std::string_view rung, std::string_view error);
  void note_failure(const AttachFailure& failure);
  void tell_failure(std::string_view type, const AttachFailure& failure, Duration retry_in);
  void after_end(std::string_view why);
  void seek_place_again();
  void on_retry();

  SessionContext& context_;
  Session& session_;
  BindingRow row_;
  UsageMeter usage_;
  std::unique_ptr<AgentPort> port_;
  bool attaching_ = false;
  bool joins_ = false;  // it starts no process of its own
  TimePoint attach_began_;
  std::vector<std::string> left_out_;  // of what the session asks for, before this attach
  int failures_ = 0;                   // starts that failed in a row
  int timeouts_ = 0;                   // of these, by time
  int crashes_ = 0;         // ends in a row that nobody wanted, without an answer since the start
  TimePoint not_before_{};  // of the next start
  TimePoint since_{};       // it waits for its start, or idles
  Diagnosis diagnosis_;
  std::string last_trouble_;
  TimePoint heard_{};   // last word of it, or last thing that was asked of it
  TimePoint worked_{};  // last look that found it had used the processor
  std::optional<TimePoint> stopped_since_;
  io::VitalSigns last_signs_;
  TimePoint pinged_{};        // or attached
  int unanswered_looks_ = 0;  // in a row at which an answer was overdue
  bool replace_ = false;      // it is ended for being wedged; another one starts
  io::MemberTimer<&Binding::on_retry> retry_{*this};
  bool ending_ = false;            // the process was asked to end and is not gone
  bool attach_when_gone_ = false;  // a turn waits for that
  Event gone_;
  std::string prompted_turn_;  // what the agent was asked last
  ToolCalls tool_calls_;       // of the turn that runs
};

}  // namespace berth::server
