// server/sessions/session.h — the session's actor: its log, its turns, its agents and its
// workspace.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/semaphore.h>
#include <berth/core/sync.h>
#include <berth/core/trace.h>
#include <berth/io/member_timer.h>
#include <berth/server/sessions/binding.h>
#include <berth/server/sessions/changes.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/journal.h>
#include <berth/server/sessions/questions.h>
#include <berth/server/sessions/story.h>
#include <berth/server/sessions/turn_time.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::server {

/// What to do with a prompt while a turn runs.
enum class OnBusy : std::uint8_t {
  queue,   ///< It waits its turn.
  reject,  ///< It is refused.
  steer,   ///< It is added to the running turn if its agent can do that, else it waits.
};

struct TurnRequest {
  std::string agent;   ///< Empty = the session's default.
  std::string blocks;  ///< ACP content blocks, a JSON array.
  std::string idempotency_key;
  std::string body_hash;
  OnBusy on_busy = OnBusy::queue;
  std::int64_t timeout_ms = 0;  ///< As in TurnRow.
  TraceContext trace = {};      ///< Of who asks; empty: the turn begins one.
};

/// What shall be different of a prompt that waits; what is empty stays.
struct InputEdit {
  std::string blocks;  ///< ACP content blocks, a JSON array.
  std::string agent;
};

/// Why a turn that was queued cannot be changed: it started, or ended.
Error input_promoted();

/// The row's workspace as the workspace calls want it.
Workspace workspace_of(const SessionRow& row);

/// Told when the session's log grew or the session is gone.
class LogReader : public ListNode {
 public:
  virtual void on_log_grew() = 0;
  /// Everything up to the session's visible_seq() was handed on.
  virtual bool has_all() const { return true; }

 protected:
  ~LogReader() = default;
};

/// One session, on one shard. Commands take effect at once in memory and are durable when the
/// journal says so: who answers a client awaits context.journal.committed() first. A Session lives
/// from its first use to the server's end.
class Session final : public LogWriter {
 public:
  Session(SessionContext& context, SessionSnapshot snapshot);
  ~Session();

  const SessionRow& row() const { return row_; }
  /// Its log begins here; what was before is not kept any more (log_retention.h).
  std::uint64_t first_seq() const { return first_seq_; }
  /// The store says so.
  void log_begins_at(std::uint64_t first_seq) { first_seq_ = first_seq; }
  const TurnRow* current_turn() const { return current_ ? &*current_ : nullptr; }
  const std::vector<TurnRow>& queue() const { return queue_; }
  const std::optional<ChangeRow>& change() const { return changes_.latest(); }
  Changes& changes() { return changes_; }
  std::map<std::string, std::unique_ptr<Binding>>& bindings() { return bindings_; }
  const std::map<std::string, std::unique_ptr<Binding>>& bindings() const { return bindings_; }
  /// The process of an agent is on its way up (or out).
  bool starting() const;
  /// Takes prompts, and is not about to be closed, archived or deleted.
  bool open() const { return row_.state == SessionState::open && !closing_; }
  /// Something was asked before the turn that runs, or that would run next.
  bool has_past() const;

  /// After a restart: gives endings to what the crash left open. Appends only; reads the log for
  /// open tool calls.
  Task<void> recover();

  /// Writes the first event of a new session. `fallback`: why its workspace is not of the mode that
  /// was asked for.
  void opened(std::string_view fallback = {});
  /// Takes a prompt: it runs at once, or waits its turn. Errors: `conflict` ("session_closed"),
  /// `busy`
  /// ("turn_running"), `overloaded` ("queue_max"), `invalid`.
  Result<TurnRow> accept(TurnRequest request);
  /// A turn that is in memory still: running, queued, or ended not long ago.
  const TurnRow* find_turn(std::string_view id) const;
  const TurnRow* find_turn_by_key(std::string_view key) const;
  /// Idempotent; an ended turn is left as it is. Error `not_found` when the turn is not in memory.
  Result<TurnRow> cancel(std::string_view turn_id, std::string_view reason);
  void resume_queue();
  /// Prompts that wait, by their turn's id. Errors: `conflict` ("input_promoted": it waits no
  /// more), `not_found` when the turn is not in memory, `invalid`.
  Result<TurnRow> edit_input(std::string_view id, InputEdit edit);
  Result<TurnRow> remove_input(std::string_view id);
  /// `order` names every queued turn once, else `conflict` ("queue_changed"). The turns change
  /// places and so their numbers: a lower one always runs first.
  Result<void> reorder_inputs(const std::vector<std::string>& order);
  /// Stops the running turn, if any, and lets this one run next, held or not.
  Result<TurnRow> send_now(std::string_view id);
  /// While paused, prompts are taken and wait; the running turn goes on. Not stored.
  void set_paused(bool paused);
  Result<Binding*> binding(std::string_view agent);
  /// A turn of that agent runs, or is the next one.
  bool needs(std::string_view agent) const;
  /// The running turn shows no sign of life.
  bool stalled() const { return stalled_; }
  Questions& questions() { return questions_; }
  const Questions& questions() const { return questions_; }
  /// How permission requests are answered from now on; `rules` as in SessionRow. Error `invalid`
  /// naming the field.
  Result<void> set_policy(std::string permission, std::string rules);
  void set_title(std::string title);
  /// Any JSON value that clients keep in the session for themselves. Raises
  /// SessionRow::client_state_version.
  void set_client_state(std::string json);

  /// Stops agents after the running turn and removes the workspace if that loses nothing.
  /// Idempotent.
  Task<Result<void>> close();
  /// Why the workspace of a closed session is there still; empty: it is not. Once the session has
  /// left the memory only its log can tell, and this says so.
  std::string_view kept() const;
  /// Makes a closed session's workspace again, with the files as they were.
  Task<Result<void>> revive();
  /// Stops agents after the running turn; the workspace stays.
  Task<Result<void>> archive();
  Task<Result<void>> unarchive();
  /// Error `conflict` ("worktree_has_work") unless clean or forced. With `purge` its log goes, too,
  /// also that of one that was deleted before.
  Task<Result<void>> remove(RemoveOrder order, bool purge = false);
  /// It was purged: there is nothing to read. (The options of all others say something.)
  bool erased() const { return row_.state == SessionState::deleted && row_.options.empty(); }
  /// A turn runs: one that waits for a person's decision was not sent and may wait on.
  bool works() const { return current_.has_value() && !waits_for_decision(); }
  /// Gives the turn that runs the ending `interrupted`; its queue is held.
  void park(std::string_view why);
  bool readers_have_all();
  /// For the end of the server: ends processes, writes nothing.
  Task<void> shutdown();

  /// Nothing goes on in it, nobody works with it or follows it: it can be read from the store again
  /// when it is needed. One that is open is kept for `rest_after` since its last use.
  bool may_unload(TimePoint now) const;
  /// The same, and nobody has used it since `then`.
  bool rests_since(TimePoint then) const { return last_use_ < then && may_unload(then); }

  void add_reader(LogReader& reader) { readers_.push_back(reader); }
  /// What session_summary_json() tells of it is different now.
  void touch() { context_.feed.touch(feed_); }
  /// Set whenever no turn runs.
  Event& idle() { return idle_; }

  // For its bindings.
  std::uint64_t append(std::string_view type, std::string_view agent, std::string_view data,
                       bool may_hold_cr = true);
  /// The same for another turn than the running one, or for none.
  std::uint64_t append_to(std::string_view turn, std::string_view type, std::string_view agent,
                          std::string_view data, bool may_hold_cr = true);
  /// An update of `agent`, which may become part of the one before it (Journal::append_update).
  void append_update(std::string_view turn, std::string_view agent, const AgentUpdate& update);
  void on_agent_ready(Binding& binding);
  void on_agent_lost(Binding& binding, std::string_view why);
  /// Nothing goes on with this agent before a person chose; the turn waits.
  void on_decision_needed(Binding& binding);
  void on_decided(Binding& binding);
  /// The agent of the running turn shows no sign of life, or does so again.
  void on_health(Binding& of, const Diagnosis& diagnosis);
  /// The process ended. A turn whose prompt had not reached it (it was `untouched`, or not sent
  /// yet) starts anew, a few times. False when it does not; then on_agent_lost() is next.
  bool take_back_prompt(const Binding& binding, bool untouched);
  void on_prompt_ended(Binding& binding, std::string_view turn, const PromptEnd& end);
  /// An interaction of the running turn was opened (+1) or closed (-1).
  void on_gate(int change);
  SessionContext& context() { return context_; }

  // For its changes.
  /// The turn ended before; its snapshot is known now.
  void on_turn_recorded(const TurnRow& turn);
  /// What the files were before the turn that starts is known now.
  void on_turn_looked_at(std::int64_t number, const std::string& snapshot);
  /// Nothing stands in the way of the prompt, or of the next turn, any more.
  void on_changes_settled();
  void set_base(std::string base);

 private:
  friend class SessionUse;

  /// A prompt that shall be added to a running turn; it is sent once it is in the log.
  struct Steering {
    TurnRow turn;
    std::string into;
    std::uint64_t seq = 0;  // of its turn.queued
  };

  void on_visible() override;
  Result<TurnRow*> input(std::string_view id);
  void take_order(std::vector<TurnRow> order);
  void advance();
  void start_turn(TurnRow turn);
  Task<void> attach_when_ready(std::string turn);
  void dispatch();
  Task<void> tell_and_send(Binding* binding, std::string turn_id);
  void send(const Story* story);
  bool can_steer(std::string_view agent) const;
  void steer_what_is_visible();
  TurnRow end_unsent(TurnRow turn, TurnState state, std::string_view reason);
  void go_idle_if_empty();
  bool waits_for_decision() const;
  template <typename Fits>
  const TurnRow* find_turn_if(Fits fits) const {
    if (current_ && fits(*current_)) return &*current_;
    for (const Steering& steering : steering_) {
      if (fits(steering.turn)) return &steering.turn;
    }
    for (const std::vector<TurnRow>* turns : {&queue_, &ended_}) {
      for (const TurnRow& turn : *turns) {
        if (fits(turn)) return &turn;
      }
    }
    return nullptr;
  }
  void settle(TurnState state, std::string_view reason, std::string_view usage);
  void remember(TurnRow turn);
  void hold_queue(std::string_view reason);
  void save();
  void save_turn(const TurnRow& turn);
  void stop_turn();
  TurnTime time_of_turn() const;
  void count_turn_time();
  void on_cancel_grace_over();
  void on_turn_time_over();
  void watch_queue();
  void on_queue_time_over();
  void set_state(SessionState state);
  Task<Result<void>> come_to_rest(std::string_view reason, bool at_once);
  Task<Result<void>> finish_close();
  Task<Result<void>> remove_again(bool purge);
  Task<Result<void>> finish_remove(RemoveOrder order, SessionState before);
  void erase();
  Task<void> resume_ending();
  void cancel_unsent(std::string_view why);
  Task<void> remove_transcript();
  Task<void> remove_empty_folder();
  std::string_view turn_id() const {
    return current_ ? std::string_view(current_->id) : std::string_view();
  }

  SessionContext& context_;
  SessionRow row_;
  std::uint64_t first_seq_;
  Questions questions_;
  std::optional<TurnRow> current_;
  bool dispatched_ = false;  // the prompt of current_ was handed to the agent
  bool telling_ = false;     // what its agent must be told first is being read
  bool cancel_requested_ = false;
  bool expired_ = false;       // berth asked for the end, for the time is over
  Duration turn_time_left_{};  // 0 = no end of it
  TimePoint turn_time_since_{};
  int gates_ = 0;
  bool stalled_ = false;  // the running turn, and the log says so
  int taken_back_ = 0;    // how often its prompt was not delivered
  std::vector<TurnRow> queue_;
  std::string next_;  // of the queue, runs whatever the ending of the turn before it
  std::vector<Steering> steering_;
  std::vector<TurnRow> ended_;  // the last few, for idempotent answers
  std::int64_t last_turn_number_ = 0;
  std::map<std::string, std::unique_ptr<Binding>> bindings_;
  std::string kept_;
  bool paused_ = false;
  bool closing_ = false;
  Semaphore verbs_;  // close, revive, archive, delete: one at a time
  bool down_ = false;
  int uses_ = 0;
  TimePoint last_use_;
  IntrusiveList<LogReader> readers_;
  FeedEntry feed_{*this};
  Event idle_;
  io::MemberTimer<&Session::on_cancel_grace_over> grace_{*this};
  io::MemberTimer<&Session::on_turn_time_over> turn_time_{*this};
  io::MemberTimer<&Session::on_queue_time_over> queue_time_{*this};
  Changes changes_;
  Scope scope_;
};

/// Keeps a session in memory while somebody works with it. Movable; outlived by the directory.
class SessionUse {
 public:
  explicit SessionUse(Session& session) : session_(&session) { ++session.uses_; }
  SessionUse(SessionUse&& other) noexcept : session_(std::exchange(other.session_, nullptr)) {}
  SessionUse& operator=(SessionUse&& other) noexcept {
    std::swap(session_, other.session_);
    return *this;
  }
  ~SessionUse();

  Session& operator*() const { return *session_; }
  Session* operator->() const { return session_; }
  /// Valid while this lives.
  operator Session*() const { return session_; }

 private:
  Session* session_;
};

}  // namespace berth::server
