// server/cli/acp_session.h — a session of the server as an editor sees it through `berth acp`.
#pragma once

#include <berth/core/json_writer.h>
#include <berth/core/scope.h>
#include <berth/core/sse.h>
#include <berth/core/sync.h>
#include <berth/server/cli/acp_wire.h>
#include <berth/server/cli/patient.h>

#include <deque>
#include <map>
#include <string>

namespace berth::server {

/// Follows the session's log and says it in the words of the protocol: updates, permission
/// requests, the ends of prompts. The server may be started anew meanwhile: nothing is said twice.
/// Await close() before it is destroyed.
class AcpSession final : private SseSink {
 public:
  struct Options {
    std::string id;
    std::string agent;
    bool can_fill_forms = false;  ///< The editor takes elicitation/create.
  };
  AcpSession(Remote& remote, AcpWire& wire, Options options)
      : remote_(remote),
        wire_(wire),
        options_(std::move(options)),
        scope_(remote.reactor()),
        client_(remote, {}) {}

  const std::string& id() const { return options_.id; }

  /// Says what happens after the event `after`. What is up to `replay_until` is history.
  void begin(std::uint64_t after, std::uint64_t replay_until);
  /// Waits until the history was said. False when the session was closed meanwhile.
  Task<bool> replayed();
  /// Puts the questions to the editor that are open.
  Task<void> ask_what_is_open();

  /// Posts a prompt, raw JSON of content blocks; the request `rpc_id` is answered when its turn
  /// ends.
  void prompt(std::string rpc_id, std::string blocks);
  /// Cancels the prompts of this connection.
  void cancel();
  void set_mode(std::string rpc_id, std::string mode);
  void set_config_option(std::string rpc_id, std::string option, std::string value);
  /// Members `modes` and `configOptions` as far as the log says them, each with a comma in front.
  void write_state(JsonWriter& writer) const;

  /// The same, and waits until the server has heard of it, also of a prompt that was just said.
  Task<void> cancel_all();

  /// How prompts end that still wait for their turns: those were cancelled, or go on.
  enum class Leaving { cancelled, behind };
  Task<void> close(Leaving leaving);

 private:
  void on_event(const SseEvent& frame) override;
  Task<void> follow();
  Task<void> pump();
  bool must_wait(const JsonView& event) const;
  void handle(const JsonView& event);
  void update(const JsonView& data);
  void say_prompt(std::string_view blocks);
  void say(std::string_view kind, std::string_view content);
  void turn_ended(const std::string& turn, const JsonView& data);
  void opened(const JsonView& interaction);

  Task<void> post(std::string rpc_id, std::string blocks);
  Task<void> cancel_turn(std::string turn);
  Task<void> put_config(std::string rpc_id, std::string body, std::string answer);
  Task<void> put_question(std::string id, std::string kind, std::string params);
  std::string config_options_with(const std::string& option, const std::string& value) const;

  Remote& remote_;
  AcpWire& wire_;
  Options options_;
  StopSource stop_;
  Scope scope_;
  PatientClient client_;

  std::deque<JsonDoc> events_;  // not yet said
  std::size_t event_bytes_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t replay_until_ = 0;
  StopSource* connection_ = nullptr;
  Event wake_{remote_.reactor()};
  Event drained_{remote_.reactor()};
  Event replayed_{remote_.reactor()};
  Event posted_{remote_.reactor()};  // no prompt is on its way

  int posting_ = 0;                            // prompts whose turn is not known yet
  bool cancel_posting_ = false;                // and they are to be cancelled
  std::map<std::string, std::string> ours_;    // turn -> the request that is to be answered
  std::map<std::string, std::string> others_;  // turn -> its prompt, raw
  std::map<std::string, StopSource> asked_;    // interactions that the editor was asked
  std::string mode_;
  std::string available_modes_;  // raw
  std::string config_options_;   // raw
};

}  // namespace berth::server
