// server/agents/opencode/event_frame.h — one frame of opencode's `/global/event`, routed.
#pragma once

#include <berth/core/json_doc.h>

#include <optional>
#include <string_view>

namespace berth::server::opencode {

/// A parsed frame `{directory, payload: {type, properties}}`; owns what its views point into.
class EventFrame {
 public:
  /// Nothing when `data` is not such a frame. Escaped halves of surrogate pairs, which opencode
  /// sends when a chunk of the model's text ends inside of an emoji, become U+FFFD.
  static std::optional<EventFrame> parse(std::string_view data);

  std::string_view type() const { return type_; }
  JsonView properties() const { return doc_.root().find("payload.properties"); }
  /// Whose it is; empty for events of the whole server.
  std::string_view session_id() const { return session_id_; }
  /// Text in it was repaired: it is not byte for byte what the agent will store.
  bool repaired() const { return repaired_; }

 private:
  explicit EventFrame(JsonDoc doc, bool repaired);

  JsonDoc doc_;
  std::string_view type_;
  std::string_view session_id_;
  bool repaired_ = false;
};

}  // namespace berth::server::opencode
