// server/agents/agent_port.h — the seam between a session and its agent: commands in, records out.
#pragma once

#include <berth/core/ndjson.h>
#include <berth/core/result.h>
#include <berth/core/task.h>
#include <berth/io/process_host.h>
#include <berth/server/agents/git_folders.h>
#include <berth/server/agents/profile.h>
#include <berth/server/agents/said.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// How an agent came to its native session.
enum class Rung : std::uint8_t { new_session, resume, load, history };
std::string_view to_string(Rung rung);

/// What to start and in which state to bring it. A copy; the port needs nothing of the session
/// afterwards.
struct AttachSpec {
  std::int64_t attach_epoch = 0;
  std::string profile;
  std::string session_key;
  std::string project;  ///< Of the session.
  /// False: only a process that serves its profile already will do, because the pool has no place
  /// for one more. Where there is none with a seat left, the attach fails with kNoSeat.
  bool may_start = true;
  std::string directory;          ///< Absolute; cwd of process and native session.
  std::string native_session_id;  ///< To resume; empty = none yet.
  std::string mode;               ///< Wanted mode id, empty = leave.
  std::string config;             ///< JSON object of wanted config option values, empty = none.
  std::string mcp_servers;        ///< JSON array as ACP's session/new takes it, empty = none.
  std::vector<std::string> additional_directories;  ///< Absolute; besides `directory`.
  LaunchMode launch = LaunchMode::none;             ///< The least that the session asks for.
  /// For ports that confine their process. May be null.
  std::function<Task<GitFolders>()> git_folders;
  /// Reads from the log what the agent said last in this session; empty when it said nothing. For a
  /// port that was not there when it was said. May be null.
  std::function<Task<Said>()> last_said;
};

/// What attaching gave. Views of JSON are valid during the call.
struct Attached {
  Rung rung = Rung::new_session;
  std::string native_session_id;
  io::ProcessId process;
  int protocol_version = 0;
  std::string agent_info;    ///< Raw JSON or empty.
  std::string capabilities;  ///< Raw JSON or empty.
  std::string reason;        ///< Why it is not a better rung; empty if it is the best.
  std::string agent_error;   ///< The agent's own error behind `reason`, raw JSON or empty.
  std::vector<std::string> config_failures;  ///< What of mode and config could not be restored.
};

/// The code of an attach that was not to start a process and found none to join.
inline constexpr const char* kNoSeat = "no_seat";

/// How attaching failed for good (nothing is left running).
struct AttachFailure {
  Error error;
  std::string agent_error;  ///< Raw JSON or empty.
  std::string stderr_tail;
  std::string auth_methods;  ///< Of "agent_needs_login": the ways to log in, raw JSON or empty.
  /// The agent knows the session but answers what nobody can act on: a person must choose.
  bool needs_decision = false;
};

/// One line of an agent, routed and validated; slices are valid during the call only.
struct AgentUpdate {
  std::string_view update;        ///< `params.update`, raw JSON.
  std::string_view kind;          ///< `sessionUpdate`.
  std::string_view tool_call_id;  ///< Of tool_call and tool_call_update.
  bool has_raw_cr = false;  ///< CR as JSON white space: must be neutralised before it is shown.
  Line* line = nullptr;     ///< Where it lies, for AgentSink::on_update() to take; or null.
};

/// What an agent wants a person (or the session's policy) to decide.
enum class QuestionKind : std::uint8_t { permission, elicitation, client_tool };
std::string_view to_string(QuestionKind kind);

/// A question of the agent; views are valid during the call. Permission: `params` are those of
/// ACP's session/request_permission; a driver of another protocol translates into that shape.
struct AgentQuestion {
  QuestionKind kind = QuestionKind::permission;
  std::uint64_t reply_id = 0;  ///< Names the question in AgentPort::answer(); never reused.
  std::string_view params;     ///< Raw JSON object.
  std::string_view child;      ///< Native id of the child session that asks; empty: the session.
};

/// What was decided. Permission: `selected` with an option, or `cancelled`. Elicitation:
/// `accepted` with `content`, `declined`, or `cancelled`. Client tool: `accepted` with its result.
struct AgentAnswer {
  enum class Outcome : std::uint8_t { selected, accepted, declined, cancelled };
  Outcome outcome = Outcome::cancelled;
  std::string option_id;  ///< Of `selected`.
  std::string content;    ///< Raw JSON object of `accepted`, empty = none.
};

/// How a prompt ended on the agent's side.
struct PromptEnd {
  std::string stop_reason;  ///< In ACP's words; empty on error.
  /// Of this turn, in the shape of ACP's `usage` (inputTokens, outputTokens, totalTokens,
  /// thoughtTokens, cachedReadTokens, cachedWriteTokens) and `cost` {amount, currency}; or empty.
  std::string usage;
  Error error;              ///< Meaningful when stop_reason is empty.
  std::string agent_error;  ///< Raw JSON or empty.
};

struct AgentExit {
  io::ProcessId process;
  io::ExitStatus status;
  bool expected = false;  ///< We asked for it.
  std::string stderr_tail;
  bool process_goes_on = false;  ///< It serves other sessions and was only left.
  /// A prompt was open and not a byte of it had reached the process: it can be sent to another.
  bool prompt_untouched = false;
};

/// The session's side. Every call names the attach it belongs to; what carries an old epoch is
/// late, and the session alone decides what to do with it. Calls come on the session's shard, in
/// the wire order of the agent.
class AgentSink {
 public:
  virtual void on_attached(std::int64_t attach_epoch, const Attached& attached) = 0;
  virtual void on_attach_failed(std::int64_t attach_epoch, AttachFailure failure) = 0;
  /// May take the update's line: the views may not be valid any more when it returns.
  virtual void on_update(std::int64_t attach_epoch, const AgentUpdate& update) = 0;
  virtual void on_question(std::int64_t attach_epoch, const AgentQuestion& question) = 0;
  /// The agent withdrew a question of its own, or it was answered elsewhere.
  virtual void on_question_withdrawn(std::int64_t attach_epoch, std::uint64_t reply_id) = 0;
  /// A notification or request that berth does not act on (a request was answered -32601 already).
  virtual void on_foreign_message(std::int64_t attach_epoch, std::string_view method,
                                  std::string_view params) = 0;
  /// A line of stdout that is no message. `head` is at most 256 bytes, raw.
  virtual void on_junk(std::int64_t attach_epoch, const char* reason, std::uint64_t bytes,
                       std::string_view head) = 0;
  virtual void on_prompt_ended(std::int64_t attach_epoch, std::string_view turn, PromptEnd end) = 0;
  virtual void on_exited(std::int64_t attach_epoch, AgentExit exit) = 0;
  /// The session's bound of uncommitted events is reached: the port must stop reading until
  /// resume_reading().
  virtual bool wants_more() const = 0;

 protected:
  ~AgentSink() = default;
};

/// An agent that has never answered one cannot be judged by them.
struct PingState {
  std::uint64_t answered = 0;
  std::optional<TimePoint> open_since;  ///< When one was sent that is not answered.
};

/// What a driver can do with the agent that it is attached to, besides prompting, cancelling and
/// ending, which all can. What is false here is refused and never dropped in silence.
struct Abilities {
  bool resumes = false;        ///< An attach to its native session finds the memory again.
  bool stays = false;          ///< It is live() still when its turn has ended.
  bool steers = false;         ///< steer() may be true.
  bool asks = false;           ///< It may ask questions.
  bool takes_mode = false;     ///< Else set_mode() leads to the message "berth/config_refused",
  bool takes_options = false;  ///< and so does set_config_option().
  bool answers_pings = false;  ///< ping() may be true.
};

/// The agent's side, whatever the driver and wherever the process. Commands never block; what they
/// lead to comes back through the sink. After on_exited or on_attach_failed an attach is over and
/// attach() may be called again.
class AgentPort {
 public:
  virtual ~AgentPort() = default;

  virtual void attach(AttachSpec spec) = 0;
  /// `blocks` is a JSON array of ACP content blocks, `meta` what protocols that can are told beside
  /// them: a JSON object, or empty. One prompt at a time.
  virtual void prompt(std::string turn, std::string blocks, std::string meta = {}) = 0;
  /// Adds to the running prompt of `turn` without ending it. False when this agent cannot: the
  /// caller queues the blocks instead.
  virtual bool steer(std::string_view turn, std::string_view blocks);
  /// Asks the agent to end the running prompt; at most once a turn.
  virtual void cancel(std::string_view turn) = 0;
  /// Answers a question. Nothing happens when it is no longer open.
  virtual void answer(std::uint64_t reply_id, const AgentAnswer& answer) = 0;
  virtual void set_mode(std::string_view mode) = 0;
  virtual void set_config_option(std::string_view id, std::string_view json_value) = 0;
  virtual void resume_reading() = 0;
  /// Ends the process: at once with its tree, or by closing its stdin first and killing after a
  /// grace.
  virtual void end(bool at_once) = 0;

  /// Ends the process at once and waits until nothing of it is left. No callback comes after it.
  virtual Task<void> shutdown() = 0;

  virtual bool live() const = 0;
  /// The process that it attaches to, is attached to or leaves, from its start until nothing of it
  /// is left; pid 0: none, or nobody but this can have it.
  virtual io::ProcessId process() const { return {}; }
  /// Whether the process that it is attached to, one that serves many sessions, is open to more of
  /// them, if it has seats (generation.h).
  virtual bool takes_others() const { return true; }
  virtual std::string stderr_tail() const = 0;
  /// Of the agent that it is attached to; none while it is not live().
  virtual Abilities abilities() const = 0;

  /// Asks an agent that has nothing to do for a sign of life, which costs it no model and no event;
  /// one at a time. False when there is no such question for it.
  virtual bool ping();
  /// What became of the pings of this attach.
  virtual PingState pings() const { return {}; }
};

}  // namespace berth::server
