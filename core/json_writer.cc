#include <berth/core/assert.h>
#include <berth/core/json_writer.h>

#include <charconv>
#include <cmath>
#include <cstring>

namespace berth::inline v0 {
namespace {

constexpr unsigned kDepthMax = 64;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

constexpr std::uint64_t repeat(unsigned char byte) {
  return 0x0101010101010101ULL * byte;
}

/// Whether any of the 8 bytes needs a closer look: a control character, '"', '\\' or non-ASCII. May
/// say yes too often (a borrow from the byte below), never no.
bool any_special(std::uint64_t bytes) {
  const std::uint64_t control = bytes - repeat(0x20);
  const std::uint64_t quote = (bytes ^ repeat('"')) - repeat(1);
  const std::uint64_t backslash = (bytes ^ repeat('\\')) - repeat(1);
  return ((bytes | control | quote | backslash) & repeat(0x80)) != 0;
}

bool is_plain(unsigned char c) {
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

std::size_t plain_prefix(std::string_view text) {
  std::size_t i = 0;
  while (i + 8 <= text.size()) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, text.data() + i, 8);
    if (any_special(bytes)) break;
    i += 8;
  }
  while (i < text.size() && is_plain(static_cast<unsigned char>(text[i]))) ++i;
  return i;
}

struct Sequence {
  std::size_t length;  // bytes to copy, or to replace by one U+FFFD
  bool valid;
};

/// The UTF-8 sequence at the start of `text`, whose first byte is not ASCII. An invalid one has the
/// length of its maximal subpart (Unicode 15, 3.9), so decoders agree on the number of replacement
/// characters.
Sequence utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  std::size_t length = 0;
  unsigned char low = 0x80;  // bounds of the second byte rule out overlong forms and surrogates
  unsigned char high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {1, false};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= text.size() || byte(i) < low || byte(i) > high) return {i, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true};
}

void append_escape(std::string& out, unsigned char c) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
  }
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (true) {
    const std::size_t plain = plain_prefix(text);
    out.append(text.data(), plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const auto c = static_cast<unsigned char>(text.front());
    if (c < 0x80) {
      append_escape(out, c);
      text.remove_prefix(1);
      continue;
    }
    const Sequence sequence = utf8_sequence(text);
    out.append(sequence.valid ? text.substr(0, sequence.length) : kReplacement);
    text.remove_prefix(sequence.length);
  }
  out += '"';
}

void JsonWriter::before_value() {
  const bool in_object = depth_ > 0 && ((object_levels_ >> (depth_ - 1)) & 1) != 0;
  BERTH_ASSERT(in_object == after_key_);
  BERTH_ASSERT(depth_ > 0 || !wrote_value_);
  if (!after_key_ && wrote_value_) out_ += ',';
  after_key_ = false;
  wrote_value_ = true;
}

JsonWriter& JsonWriter::begin(char bracket, bool is_object) {
  before_value();
  BERTH_ASSERT(depth_ < kDepthMax);
  const std::uint64_t bit = std::uint64_t{1} << depth_;
  object_levels_ = is_object ? (object_levels_ | bit) : (object_levels_ & ~bit);
  ++depth_;
  wrote_value_ = false;
  out_ += bracket;
  return *this;
}

JsonWriter& JsonWriter::end(char bracket, bool is_object) {
  BERTH_ASSERT(depth_ > 0 && !after_key_);
  --depth_;
  BERTH_ASSERT((((object_levels_ >> depth_) & 1) != 0) == is_object);
  wrote_value_ = true;
  out_ += bracket;
  return *this;
}

JsonWriter& JsonWriter::begin_object() {
  return begin('{', true);
}
JsonWriter& JsonWriter::end_object() {
  return end('}', true);
}
JsonWriter& JsonWriter::begin_array() {
  return begin('[', false);
}
JsonWriter& JsonWriter::end_array() {
  return end(']', false);
}

JsonWriter& JsonWriter::key(std::string_view name) {
  BERTH_ASSERT(depth_ > 0 && ((object_levels_ >> (depth_ - 1)) & 1) != 0 && !after_key_);
  if (wrote_value_) out_ += ',';
  append_json_string(out_, name);
  out_ += ':';
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::string(std::string_view text) {
  before_value();
  append_json_string(out_, text);
  return *this;
}

JsonWriter& JsonWriter::int64(std::int64_t value) {
  before_value();
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out_.append(digits, end);
  return *this;
}

JsonWriter& JsonWriter::uint64(std::uint64_t value) {
  before_value();
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out_.append(digits, end);
  return *this;
}

JsonWriter& JsonWriter::number(double value) {
  if (!std::isfinite(value)) return null();
  before_value();
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out_.append(digits, end);
  return *this;
}

JsonWriter& JsonWriter::boolean(bool value) {
  before_value();
  out_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::null() {
  before_value();
  out_ += "null";
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  BERTH_ASSERT(!json.empty());
  before_value();
  out_ += json;
  return *this;
}

}  // namespace berth::inline v0
