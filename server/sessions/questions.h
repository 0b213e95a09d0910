// server/sessions/questions.h — the open questions of a session's agents: durable rows, answered
// once, by a person, by the session's policy or by time.
#pragma once

#include <berth/server/agents/agent_port.h>
#include <berth/server/sessions/context.h>

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
  /// Gives the agent its answer, at once; nothing happens when there is no agent any more.
  virtual void deliver(std::uint64_t reply_id, const AgentAnswer& answer) = 0;

 protected:
  ~Asker() = default;
};

/// Belongs to one session, on its shard. An answer goes to the agent first and into the log after,
/// so that it neither waits for a prompt nor for the store.
class Questions final {
 public:
  /// `left_open` are rows that a crash left behind; recover() closes them.
  Questions(SessionContext& context, Session& session, std::vector<InteractionRow> left_open);

  /// Records the question; answers it at once when the session's policy says how, or when no turn
  /// of the asker runs.
  void open(Asker& asker, const AgentQuestion& question);
  /// The agent does not want to know any more.
  void withdraw(const Asker& asker, std::uint64_t reply_id);
  /// Closes what the asker has open as cancelled (end of the turn, death of the agent).
  void cancel_of(const Asker& asker, std::string_view by);
  void recover();

  /// A person's answer. Errors: `not_found`, `invalid` ("unknown_option").
  Result<InteractionRow> answer(std::string_view id, std::string_view option_id,
                                std::string_view kind, bool cancelled);

 private:
  struct Open {
    Asker* asker = nullptr;
    std::uint64_t reply_id = 0;
    InteractionRow row;
  };

  InteractionRow close(Open question, InteractionState state, std::string_view option_id,
                       std::string_view by);

  SessionContext& context_;
  Session& session_;
  std::vector<InteractionRow> left_open_;
  std::vector<Open> open_;
};

}  // namespace berth::server
