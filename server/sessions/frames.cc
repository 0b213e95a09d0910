#include <berth/server/sessions/frames.h>

#include <berth/core/assert.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <utility>

namespace berth::server {

namespace {

constexpr std::string_view kId = "id: ";
constexpr std::string_view kEvent = "\nevent: ";
constexpr std::string_view kData = "\ndata: ";
constexpr std::string_view kEnd = "\n\n";
constexpr std::string_view kFrameEnd = "}\n\n";  // of the envelope and the frame
// Of the envelope, behind its number and its time; each closes what is before it.
constexpr std::string_view kTypeKey = "\",\"type\":\"";
constexpr std::string_view kTurnKey = "\",\"turn\":";
constexpr std::string_view kAgentKey = ",\"agent\":";
constexpr std::string_view kDataKey = ",\"data\":";

template <typename Out>
void append_number(Out& out, std::uint64_t value) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(std::string_view(digits, static_cast<std::size_t>(end - digits)));
}

template <typename Out>
void append_nullable(Out& out, std::string_view value) {
  if (value.empty()) {
    out += "null";
  } else {
    out += '"';
    out += value;
    out += '"';
  }
}

/// All of a frame before its data.
template <typename Out>
void append_front(Out& out, const EventHead& head) {
  out += kId;
  append_number(out, head.seq);
  out += kEvent;
  out += head.type;
  out += kData;
  out += "{\"seq\":";
  append_number(out, head.seq);
  out += ",\"time\":\"";
  out += head.time;
  out += kTypeKey;
  out += head.type;
  out += kTurnKey;
  append_nullable(out, head.turn);
  out += kAgentKey;
  append_nullable(out, head.agent);
  out += kDataKey;
}

bool take_end(std::string_view& text, std::string_view end) {
  if (!text.ends_with(end)) return false;
  text.remove_suffix(end.size());
  return true;
}

bool take_end_nullable(std::string_view& text, std::string_view value) {
  if (value.empty()) return take_end(text, "null");
  return take_end(text, "\"") && take_end(text, value) && take_end(text, "\"");
}

}  // namespace

bool next_frame(std::string_view& frames, Frame& frame) {
  if (frames.empty()) return false;
  BERTH_ASSERT(frames.starts_with(kId));
  const auto number =
      std::from_chars(frames.data() + kId.size(), frames.data() + frames.size(), frame.seq);
  const auto type_at = static_cast<std::size_t>(number.ptr - frames.data()) + kEvent.size();
  const std::size_t data_mark = frames.find('\n', type_at);
  const std::size_t end = frames.find('\n', data_mark + 1);
  BERTH_ASSERT(end != std::string_view::npos && end + 1 < frames.size() && frames[end + 1] == '\n');
  frame.type = frames.substr(type_at, data_mark - type_at);
  frame.data = frames.substr(data_mark + kData.size(), end - data_mark - kData.size());
  frame.bytes = frames.substr(0, end + kEnd.size());
  frames.remove_prefix(frame.bytes.size());
  return true;
}

std::string_view frames_after(std::string_view frames, std::uint64_t first_seq,
                              std::uint64_t after) {
  for (Frame frame; first_seq <= after && next_frame(frames, frame); ++first_seq) {
  }
  return frames;
}

bool is_said_by(std::string_view frame_head, const EventHead& head) {
  return take_end(frame_head, kDataKey) && take_end_nullable(frame_head, head.agent) &&
         take_end(frame_head, kAgentKey) && take_end_nullable(frame_head, head.turn) &&
         take_end(frame_head, kTurnKey) && take_end(frame_head, head.type) &&
         take_end(frame_head, kTypeKey);
}

template <typename Out>
void append_frame(Out& out, const EventHead& head, std::string_view data, bool has_raw_cr) {
  append_front(out, head);
  const std::size_t data_at = out.size();
  out += data;
  if (has_raw_cr) std::replace(out.data() + data_at, out.data() + out.size(), '\r', ' ');
  out += kFrameEnd;
}
template void append_frame(std::string&, const EventHead&, std::string_view, bool);
template void append_frame(ByteBuffer&, const EventHead&, std::string_view, bool);

void append_frame_in_place(ByteBuffer& out, const EventHead& head, LineBuffer line,
                           std::size_t offset, std::size_t size, bool has_raw_cr) {
  append_front(out, head);
  const std::size_t data_at = out.size();
  out.append_from(std::move(line), offset, size);
  if (has_raw_cr) std::replace(out.data() + data_at, out.data() + out.size(), '\r', ' ');
  out += kFrameEnd;
}

}  // namespace berth::server
