// server/sessions/text_chunk.h — joins what an agent says in many small pieces: the text of a chunk
// goes behind that of the event before it, without being unescaped.
#pragma once

#include <berth/server/sessions/frames.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace berth::server {

/// An update that does nothing but add text to a message, cut in three; views into it.
struct TextChunk {
  std::string_view head;  ///< Through the quote before the text.
  std::string_view text;  ///< As it stands in JSON, escaped.
  std::string_view tail;  ///< From the quote behind it.
};

/// Cuts a valid update of ACP. Nothing where it holds more than `sessionUpdate`, `messageId` and
/// one text block without further members, or white space between its tokens.
std::optional<TextChunk> text_chunk_of(std::string_view update);

/// The last frame of a growing stretch, while the next update may be joined to it.
class OpenChunk {
 public:
  /// An update of `update_bytes` was appended as the last frame of `frames`.
  void open(std::string_view frames, std::size_t update_bytes);
  /// Anything else was appended, or another stretch begins.
  void close() { state_ = State::none; }
  /// Adds the text of `update` to that of the last frame of `frames`, which is `text_bytes_max`
  /// long at most then. False, with nothing done, unless both are chunks and alike in everything
  /// but number, time and text.
  bool join(ByteBuffer& frames, const EventHead& head, std::string_view update,
            std::size_t text_bytes_max);

 private:
  enum class State : std::uint8_t { none, unread, chunk };
  bool read(std::string_view frames);

  State state_ = State::none;
  std::size_t data_at_ = 0;
  std::size_t text_at_ = 0;
  std::size_t text_end_ = 0;
};

}  // namespace berth::server
