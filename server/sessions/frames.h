// server/sessions/frames.h — the stored form of events: SSE frames one after the other, and how to
// walk over them.
#pragma once

#include <berth/core/byte_buffer.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace berth::server {

/// One event inside a stretch of frames; views into it.
struct Frame {
  std::uint64_t seq = 0;
  std::string_view type;
  std::string_view data;   ///< The envelope, one line of JSON.
  std::string_view bytes;  ///< The whole frame with its blank line.
};

/// Takes the first frame off `frames`; false at the end. The frames are our own: a malformed one
/// ends the program.
bool next_frame(std::string_view& frames, Frame& frame);

/// The part of `frames` (whose first event is `first_seq`) behind the event `after`.
std::string_view frames_after(std::string_view frames, std::uint64_t first_seq,
                              std::uint64_t after);

/// What an event carries besides its data. Turn and agent must need no escaping in JSON (both come
/// from grammars).
struct EventHead {
  std::uint64_t seq = 0;
  std::string_view time;   ///< RFC 3339.
  std::string_view type;   ///< A literal: [a-z._]+
  std::string_view turn;   ///< Empty = null.
  std::string_view agent;  ///< Empty = null.
};

/// True if `frame_head`, what stands before an event's data, ends with type, turn and agent of
/// `head`.
bool is_said_by(std::string_view frame_head, const EventHead& head);

/// Appends one frame. `data` is one valid JSON value without LF. With `has_raw_cr` each CR (white
/// space of JSON, but the end of a line in SSE) becomes a space. `Out`: ByteBuffer or std::string.
template <typename Out>
void append_frame(Out& out, const EventHead& head, std::string_view data, bool has_raw_cr = false);

/// The same for long data that lies in a line, `size` bytes from `offset` on: it stays there, and
/// `out` moves into the memory of the line.
void append_frame_in_place(ByteBuffer& out, const EventHead& head, LineBuffer line,
                           std::size_t offset, std::size_t size, bool has_raw_cr);

}  // namespace berth::server
