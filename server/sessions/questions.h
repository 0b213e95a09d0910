// server/sessions/questions.h — the open questions of a session's agents: durable rows, answered
// once, by a person, by the session's policy or by time.
#pragma once

#include <berth/server/agents/agent_port.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/interactions.h>
#include <berth/server/sessions/rules.h>
#include <berth/server/sessions/tool_calls.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

class Session;

/// Who asks: one agent's part in the session. Outlives its questions.
class Asker {
 public:
  virtual const std::string& name() const = 0;
  /// True while a turn of this agent runs that can wait for an answer.
  virtual bool can_wait() const = 0;
  /// What is known of a tool call of the running turn, or null.
  virtual const ToolCall* tool_call(std::string_view id) const = 0;
  /// Gives the agent its answer, at once; nothing happens when there is no agent any more.
  virtual void deliver(std::uint64_t reply_id, const AgentAnswer& answer) = 0;

 protected:
  ~Asker() = default;
};

/// Belongs to one session, on its shard. An answer goes to the agent first and into the log after,
/// so that it neither waits for a prompt nor for the store.
class Questions final : private io::TimerOp {
 public:
  /// `left_open` are rows that a crash left behind; recover() closes them.
  Questions(SessionContext& context, Session& session, std::vector<InteractionRow> left_open);
  /// Its timer may be armed for a question that was closed before.
  ~Questions() { stop(); }

  /// The session's rules, from its row; call again when they change.
  void set_rules(std::vector<PermissionRule> rules) { rules_ = std::move(rules); }

  /// Records the question; answers it at once when the session's policy says how, or when no turn
  /// of the asker runs.
  void open(Asker& asker, const AgentQuestion& question);
  /// The agent does not want to know any more.
  void withdraw(const Asker& asker, std::uint64_t reply_id);
  /// Closes what the asker has open as cancelled (end of the turn, death of the agent).
  void cancel_of(const Asker& asker, std::string_view by);
  void recover();
  bool none_open() const { return open_.empty() && left_open_.empty(); }
  std::size_t open_count() const { return open_.size(); }
  /// For the end of the server: no timer any more.
  void stop();

  /// A person's answers: all of them, in their order, or (on an error) none. Errors: `not_found`
  /// ("interaction_not_found", when one is not open: the message names it), `invalid` naming what
  /// does not fit.
  Result<std::vector<InteractionRow>> answer(const std::vector<AnswerRequest>& requests,
                                             std::string_view by);

 private:
  struct Open {
    Asker* asker = nullptr;
    std::uint64_t reply_id = 0;
    InteractionRow row;
  };

  void on_timer() override;
  void arm();
  Open* find(std::string_view id);
  Open take(Open& question);
  bool answer_by_policy(Open& opened, const AgentQuestion& question);
  InteractionRow close(Open question, const Decided& decided, std::string_view by);
  InteractionRow close(Open question, InteractionState state, std::string_view by);

  SessionContext& context_;
  Session& session_;
  std::vector<PermissionRule> rules_;
  std::vector<InteractionRow> left_open_;
  std::vector<Open> open_;
};

}  // namespace berth::server
