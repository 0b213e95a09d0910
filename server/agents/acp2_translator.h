// server/agents/acp2_translator.h — the updates of an ACP v2 session in the words of v1, and where
// its turns end.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/server/agents/agent_port.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::server::acp2 {

/// One session, one prompt at a time. Does no I/O.
///
/// In v2 the answer to a prompt only says that it was taken; the turn ends when the session, having
/// worked, is idle again. An `idle` that follows an `idle` tells nothing new and ends nothing.
class Translator {
 public:
  /// An update in v1's words.
  struct Update {
    std::string json;
    std::string kind;
    std::string tool_call_id;
  };

  /// Everything is forgotten: a new attach.
  void reset() { *this = Translator(); }
  /// A prompt is being sent.
  void prompted();
  /// It was taken under this id. The end of its turn, if that came before.
  std::optional<PromptEnd> taken(std::string_view message_id);
  /// It was refused, or nobody waits for it any more.
  void given_up() { sent_ = false; }

  /// What to show for an update: nothing, or one or more. `update` is raw JSON.
  std::vector<Update> take(std::string_view kind, std::string_view update);
  /// The end of the turn, if the last update was it; once.
  std::optional<PromptEnd> take_end() { return std::exchange(end_, std::nullopt); }

 private:
  struct Call {
    std::vector<std::string> content;  // raw, in v1's words
    std::size_t bytes = 0;
  };

  void take_state(const JsonView& update);
  void finish_turn(const JsonView& idle);
  void take_echo(const JsonView& update);
  void note_said(const std::string& id, std::string_view text);
  void take_message(std::string_view kind, const JsonView& update, std::vector<Update>& out);
  void take_call(const JsonView& update, std::vector<Update>& out);
  void take_call_chunk(const JsonView& update, std::vector<Update>& out);

  bool working_ = false;  // the session is not idle
  bool sent_ = false;     // a prompt waits for the end of its turn
  bool taken_ = false;
  std::string prompt_id_;  // of its message, as echoed or answered
  std::optional<PromptEnd> early_end_;
  std::optional<PromptEnd> end_;
  std::map<std::string, std::string, std::less<>> said_;  // text of messages by id, as far as shown
  std::size_t said_bytes_ = 0;
  bool works_behind_ = false;  // the last state named background work
  std::map<std::string, Call, std::less<>> calls_;
};

}  // namespace berth::server::acp2
