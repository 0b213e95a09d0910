// server/agents/opencode/tracker.h — which turn a message of one opencode session belongs to, and
// when a turn is over.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/json_doc.h>
#include <berth/server/agents/agent_port.h>
#include <berth/server/agents/opencode/event_frame.h>
#include <berth/server/agents/opencode/start_wait.h>
#include <berth/server/agents/opencode/transcript.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server::opencode {

/// What the tracker tells; views are valid during the call.
class TrackerSink : public UpdateSink {
 public:
  /// `child`: the native id of the sub-agent's session that asks; empty for the session itself.
  virtual void on_question(QuestionKind kind, std::string_view request_id, JsonView asked,
                           std::string_view child) = 0;
  /// It was answered, by us or elsewhere, or the agent does not wait for it any more.
  virtual void on_question_gone(std::string_view request_id) = 0;
  /// News that has no shape in ACP, such as a retry of the model.
  virtual void on_notice(std::string_view method, std::string_view params) = 0;
  virtual void on_turn_ended(std::string_view turn, PromptEnd end) = 0;

 protected:
  ~TrackerSink() = default;
};

/// What GETs said of a session, in the order in which they were asked: status first.
struct Snapshot {
  enum class Status : std::uint8_t { unknown, idle, busy };
  Status status = Status::unknown;  ///< A question that failed is not an idle.
  JsonView messages;                ///< Array of {info, parts}, oldest first; absent: not known.
  JsonView permissions;             ///< Array; absent: not known.
  JsonView questions;
  JsonView todos;
  std::optional<std::uint64_t> cpu_microseconds;  ///< Of the server's process; absent: not known.
  Duration answered_in{};                         ///< All questions together.
};

/// Sans-I/O: events and answers in, updates and endings out. One session of one server; at most one
/// turn at a time, with any number of prompts steered into it.
///
/// A turn is known by the ids of its user messages, which we mint; an assistant message belongs to
/// it when its parentID is one of them, and a part goes with its message. Nothing is ever guessed
/// from the order of events: one abort yields up to three terminal events, and some come when the
/// next turn runs already. A turn ends
///  - at once when its newest assistant message is complete, answers its newest prompt, and an idle
///    was seen since that message appeared;
///  - in every other case only after GETs confirmed that the session is idle (see next_probe).
class Tracker {
 public:
  /// `sink` outlives it. `start_max`: how long a prompt may lie there without news of it, at most.
  Tracker(std::string session_id, TrackerSink& sink, Duration start_max = std::chrono::seconds(60));

  const std::string& session_id() const { return session_id_; }
  Transcript& transcript() { return transcript_; }

  // --- commands ---

  /// Before the prompt is sent: `message_id` will be its id.
  void begin_turn(std::string turn, std::string message_id, TimePoint now);
  /// A prompt that is steered into the running turn.
  void add_prompt(std::string message_id);
  /// The server took the prompt, or refused it (a refused first prompt ends the turn).
  void prompt_accepted(std::string_view message_id, TimePoint now);
  void prompt_refused(std::string_view message_id, const Error& error,
                      std::string_view agent_error);
  void request_cancel(TimePoint now);

  bool running() const { return turn_ != nullptr; }
  std::string_view turn() const { return turn_ ? std::string_view(turn_->id) : ""; }
  /// An abort now would hit the run of this turn: it was seen to have begun. (An abort of a session
  /// that does not run yet is lost, and the run begins all the same.) Says yes again some time
  /// after an abort that had no effect.
  bool wants_abort(TimePoint now) const;
  void abort_sent(TimePoint now);

  // --- what comes in ---

  /// Limit of a model's context in tokens; `model` is PROVIDER/MODEL.
  void set_context_size(std::string model, std::int64_t tokens);
  /// The session as GET or POST /session gave it.
  void on_session(JsonView info);
  /// A sub-agent's session below this one, learnt from elsewhere than its events.
  void add_child(std::string_view child);
  /// An event of the session, or of a child session (`child` is then its id).
  void on_event(const EventFrame& event, std::string_view child, TimePoint now);
  void on_snapshot(const Snapshot& snapshot, TimePoint now);
  void on_stream_lost();
  /// The server is gone: shows what was held back. The turn is forgotten, its ending is the
  /// caller's.
  void on_server_lost();

  /// When the server should be asked (on_snapshot) because events alone do not decide; nothing
  /// while no turn runs.
  std::optional<TimePoint> next_probe() const;
  /// A question is on its way.
  void probe_begun(TimePoint now);

 private:
  struct Prompt {
    std::string message_id;
    bool minted = true;     // else somebody's (a compaction, another client) that joined the run
    bool admitted = false;  // stored by opencode
    std::int64_t created = 0;
  };
  struct Message {
    std::string id;
    std::string parent;
    std::int64_t created = 0;
    bool completed = false;
    std::string finish;
    std::string error;  // raw JSON
    std::string error_name;
    std::string error_text;
  };
  struct Parked {
    std::string message_id;
    std::string properties;
    bool is_delta = false;
    bool repaired = false;
  };
  struct Turn {
    std::string id;
    std::vector<Prompt> prompts;
    std::vector<Message> messages;  // of the assistant, by time of creation; ids do not sort
    bool accepted = false;
    bool cancel_requested = false;
    bool busy_seen = false;  // since the prompt was admitted
    bool idle_seen = false;  // since the newest message appeared, and no busy since
    bool in_doubt = false;   // an idle came that does not settle it
    int idle_probes = 0;     // in a row, with nothing new between them
    TimePoint began{};
    TimePoint last_news{};
    TimePoint last_probe{};
    TimePoint idle_since{};  // of the first of idle_probes
    std::optional<TimePoint> abort_sent;
    int silent_probes = 0;
    std::string error;  // of session.error, raw JSON; not an abort's
    std::string error_text;
  };

  void on_message(JsonView info, TimePoint now);
  void on_user_message(std::string_view id, JsonView info);
  void on_assistant_message(std::string_view id, JsonView info, TimePoint now);
  void on_part_event(JsonView properties, bool is_delta, bool repaired);
  void on_status(std::string_view type, JsonView status);
  void on_idle();
  void on_error(JsonView error);
  void on_question_event(std::string_view type, JsonView properties, std::string_view child,
                         TimePoint now);
  Message& add_message(JsonView info);
  void on_todos(JsonView todos);
  void ask(QuestionKind kind, JsonView asked, std::string_view child, TimePoint now);
  void close_question(std::string_view request_id);
  void compare_questions(QuestionKind kind, JsonView listed, TimePoint now);
  void park(std::string_view message_id, JsonView properties, bool is_delta, bool repaired);
  void unpark(std::string_view message_id);
  Prompt* find_prompt(std::string_view message_id);
  Message* find_message(std::string_view message_id);
  bool answers_newest_prompt() const;
  void settle_if_complete();
  void settle_by_snapshot(TimePoint now);
  void settle(const Message* last);
  void fail_turn(ErrorKind kind, const char* code, std::string message, std::string agent_error);
  void end_turn(PromptEnd end);

  std::string session_id_;
  TrackerSink& sink_;
  Duration start_max_;
  WorkSigns work_;
  Transcript transcript_;
  std::unique_ptr<Turn> turn_;  // null: none runs
  std::uint64_t turns_begun_ = 0;
  std::set<std::string, std::less<>> past_;  // messages of turns that are over
  std::set<std::string, std::less<>> children_;
  struct Open {
    QuestionKind kind = QuestionKind::permission;
    TimePoint asked{};
  };
  std::map<std::string, Open, std::less<>> open_questions_;
  std::set<std::string, std::less<>> closed_questions_;
  std::vector<Parked> parked_;
  std::size_t parked_bytes_ = 0;
  bool parking_full_ = false;
  std::map<std::string, std::int64_t, std::less<>> context_sizes_;
  std::string title_;
  std::string plan_;
};

}  // namespace berth::server::opencode
