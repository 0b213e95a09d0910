#include <berth/server/sessions/text_chunk.h>

#include <algorithm>

namespace berth::server {

namespace {

constexpr std::string_view kFrameEnd = "}\n\n";

/// Where a JSON string that begins before `text` ends: its quote. `text.size()` if it does not.
std::size_t end_of_string(std::string_view text) {
  for (std::size_t quote = text.find('"'); quote != std::string_view::npos;
       quote = text.find('"', quote + 1)) {
    std::size_t letter = quote;
    while (letter > 0 && text[letter - 1] == '\\') --letter;
    if ((quote - letter) % 2 == 0) return quote;
  }
  return text.size();
}

/// Takes literals and strings off the front of a piece of JSON.
struct Cursor {
  std::string_view rest;

  bool take(std::string_view literal) {
    if (!rest.starts_with(literal)) return false;
    rest.remove_prefix(literal.size());
    return true;
  }
  void take_string() { rest.remove_prefix(std::min(end_of_string(rest) + 1, rest.size())); }
};

/// Behind `"content":`. Sets where the text begins and ends.
bool take_text_block(Cursor& cursor, TextChunk& chunk, std::string_view update) {
  if (!cursor.take("{")) return false;
  for (;;) {
    if (cursor.take("\"text\":\"")) {
      const auto at = static_cast<std::size_t>(cursor.rest.data() - update.data());
      const std::size_t size = end_of_string(cursor.rest);
      chunk = {update.substr(0, at), update.substr(at, size), update.substr(at + size)};
      cursor.take_string();
    } else if (!cursor.take("\"type\":\"text\"")) {
      return false;
    }
    if (cursor.take("}")) return true;
    if (!cursor.take(",")) return false;
  }
}

}  // namespace

std::optional<TextChunk> text_chunk_of(std::string_view update) {
  Cursor cursor{update};
  TextChunk chunk;
  bool says = false;
  if (!cursor.take("{")) return std::nullopt;
  for (;;) {
    if (cursor.take("\"content\":")) {
      if (chunk.head.data() != nullptr || !take_text_block(cursor, chunk, update))
        return std::nullopt;
    } else if (cursor.take("\"messageId\":\"")) {
      cursor.take_string();
    } else if (cursor.take("\"sessionUpdate\":\"agent_message_chunk\"") ||
               cursor.take("\"sessionUpdate\":\"agent_thought_chunk\"")) {
      says = true;
    } else {
      return std::nullopt;
    }
    if (cursor.rest == "}") break;
    if (!cursor.take(",")) return std::nullopt;
  }
  if (!says || chunk.head.data() == nullptr) return std::nullopt;
  return chunk;
}

void OpenChunk::open(std::string_view frames, std::size_t update_bytes) {
  state_ = State::unread;
  data_at_ = frames.size() - kFrameEnd.size() - update_bytes;
}

/// What kind of update it is matters only when another follows.
bool OpenChunk::read(std::string_view frames) {
  if (state_ != State::unread) return state_ == State::chunk;
  const std::string_view update =
      frames.substr(data_at_, frames.size() - kFrameEnd.size() - data_at_);
  const std::optional<TextChunk> chunk = text_chunk_of(update);
  state_ = chunk.has_value() ? State::chunk : State::none;
  if (!chunk.has_value()) return false;
  text_at_ = data_at_ + chunk->head.size();
  text_end_ = text_at_ + chunk->text.size();
  return true;
}

bool OpenChunk::join(ByteBuffer& frames, const EventHead& head, std::string_view update,
                     std::size_t text_bytes_max) {
  const std::string_view last(frames);
  if (!read(last)) return false;
  const std::string_view before_text = last.substr(data_at_, text_at_ - data_at_);
  if (!update.starts_with(before_text)) return false;
  update.remove_prefix(before_text.size());
  const std::string_view text = update.substr(0, end_of_string(update));
  const std::string_view tail = update.substr(text.size());
  if (last.substr(text_end_, last.size() - kFrameEnd.size() - text_end_) != tail) return false;
  if (text_end_ - text_at_ + text.size() > text_bytes_max) return false;
  if (!is_said_by(last.substr(0, data_at_), head)) return false;
  frames.insert(text_end_, text);
  text_end_ += text.size();
  return true;
}

}  // namespace berth::server
