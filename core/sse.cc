#include <berth/core/assert.h>
#include <berth/core/sse.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace berth::inline v0 {
namespace {

constexpr std::size_t kTypeMax = 64;
constexpr std::size_t kKeepMax = std::size_t{64} << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

void append_number(std::string& out, std::uint64_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

/// memchr is vectorised, and data rarely holds any.
void replace_all(char* bytes, std::size_t size, char what) {
  char* const end = bytes + size;
  while (bytes != end) {
    bytes = static_cast<char*>(std::memchr(bytes, what, static_cast<std::size_t>(end - bytes)));
    if (bytes == nullptr) return;
    *bytes++ = ' ';
  }
}

void append_blanked(std::string& out, std::string_view text) {
  const std::size_t start = out.size();
  out.append(text);
  blank_line_ends(out.data() + start, text.size());
}

/// Finds the ends of lines with memchr, which looks at each byte once for CR and once for LF.
class LineEnds {
 public:
  explicit LineEnds(std::string_view text) : end_(text.data() + text.size()) {}

  /// The first CR or LF at or behind `from`, which never goes back; the end if there is none.
  const char* next(const char* from) {
    if (return_ == nullptr || return_ < from) return_ = find(from, '\r');
    if (feed_ == nullptr || feed_ < from) feed_ = find(from, '\n');
    return std::min(return_, feed_);
  }

 private:
  const char* find(const char* from, char what) const {
    const void* found = std::memchr(from, what, static_cast<std::size_t>(end_ - from));
    return found == nullptr ? end_ : static_cast<const char*>(found);
  }

  const char* end_;
  const char* return_ = nullptr;
  const char* feed_ = nullptr;
};

void clear_and_shrink(std::string& buffer) {
  if (buffer.capacity() > kKeepMax) {
    std::string().swap(buffer);
  } else {
    buffer.clear();
  }
}

}  // namespace

bool is_sse_type(std::string_view type) {
  return !type.empty() && type.size() <= kTypeMax &&
         std::all_of(type.begin(), type.end(), [](char c) { return c > ' ' && c < 0x7F; });
}

void blank_line_ends(char* bytes, std::size_t size) {
  if (size == 0) return;
  replace_all(bytes, size, '\r');
  replace_all(bytes, size, '\n');
}

void append_sse_head(std::string& out, std::uint64_t seq, std::string_view type) {
  BERTH_ASSERT(is_sse_type(type));
  out += "id: ";
  append_number(out, seq);
  out += "\nevent: ";
  out += type;
  out += "\ndata: ";
}

void append_sse_event(std::string& out, std::uint64_t seq, std::string_view type,
                      std::string_view data) {
  append_sse_head(out, seq, type);
  append_blanked(out, data);
  out += kSseTail;
}

Result<void> append_sse_message(std::string& out, const SseMessage& message) {
  using namespace std::string_view_literals;
  if (!message.type.empty() && !is_sse_type(message.type)) {
    return fail(ErrorKind::invalid, "bad_sse_field",
                "type: must be 1 to 64 visible ASCII characters");
  }
  if (message.id.find_first_of("\r\n\0"sv) != std::string_view::npos) {
    return fail(ErrorKind::invalid, "bad_sse_field", "id: must not hold CR, LF or NUL");
  }
  if (!message.id.empty()) ((out += "id: ") += message.id) += '\n';
  if (!message.type.empty()) ((out += "event: ") += message.type) += '\n';
  std::string_view rest = message.data;
  for (;;) {
    const std::size_t end = rest.find_first_of("\r\n");
    ((out += "data: ") += rest.substr(0, end)) += '\n';
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + (rest.substr(end).starts_with("\r\n") ? 2 : 1));
  }
  out += '\n';
  return {};
}

void append_sse_comment(std::string& out, std::string_view text) {
  out += ": ";
  append_blanked(out, text);
  out += "\n\n";
}

void append_sse_retry(std::string& out, std::chrono::milliseconds delay) {
  out += "retry: ";
  append_number(out, static_cast<std::uint64_t>(std::max<std::int64_t>(delay.count(), 0)));
  out += "\n\n";
}

Result<void> SseParser::feed(std::string_view chunk) {
  LineEnds ends(chunk);
  while (!chunk.empty() && !failed_) {
    if (after_cr_ && chunk.front() == '\n') {
      after_cr_ = false;
      chunk.remove_prefix(1);
      continue;
    }
    after_cr_ = false;
    const auto end = static_cast<std::size_t>(ends.next(chunk.data()) - chunk.data());
    const std::string_view part = chunk.substr(0, end);
    if (partial_.size() + part.size() > limits_.event_max) {
      failed_ = true;
      break;
    }
    if (end == chunk.size()) {
      partial_.append(part);
      break;
    }
    after_cr_ = chunk[end] == '\r';
    chunk.remove_prefix(end + 1);
    if (partial_.empty()) {
      failed_ = !line(part);
    } else {
      partial_.append(part);
      failed_ = !line(partial_);
      clear_and_shrink(partial_);
    }
  }
  if (failed_) {
    return fail(ErrorKind::invalid, "sse_too_long",
                "an event is longer than " + std::to_string(limits_.event_max) + " bytes");
  }
  return {};
}

bool SseParser::line(std::string_view text) {
  if (first_line_) {
    first_line_ = false;
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  }
  if (text.empty()) {
    dispatch();
    return true;
  }
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return field(text, {});
  std::string_view value = text.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  return field(text.substr(0, colon), value);
}

bool SseParser::field(std::string_view name, std::string_view value) {
  if (name == "data") {
    if (data_.size() + value.size() + 1 > limits_.event_max) return false;
    if (has_data_) data_ += '\n';
    data_ += value;
    has_data_ = true;
  } else if (name == "event") {
    type_ = value;
  } else if (name == "id") {
    if (value.find('\0') == std::string_view::npos) id_ = value;
  } else if (name == "retry") {
    std::int64_t delay = 0;
    const bool digits =
        std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), delay);
    if (digits && parsed.ec == std::errc()) sink_.on_retry(std::chrono::milliseconds(delay));
  } else if (name.empty()) {
    sink_.on_comment(value);
  }
  return true;
}

void SseParser::dispatch() {
  last_id_ = id_;
  if (has_data_) {
    sink_.on_event({last_id_, type_.empty() ? std::string_view("message") : type_, data_});
  }
  has_data_ = false;
  type_.clear();
  clear_and_shrink(data_);
}

}  // namespace berth::inline v0
