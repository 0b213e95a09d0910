#include <berth/core/uri.h>

#include <algorithm>

namespace berth::inline v0 {
namespace {

tl::unexpected<Error> bad(std::string message) {
  return fail(ErrorKind::invalid, "bad_target", "request target: " + std::move(message));
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

/// Browsers leave some characters raw that RFC 3986 wants escaped; those that confuse others are
/// refused.
bool may_stand_raw(char c) {
  return c > ' ' && c < 0x7F && c != '"' && c != '#' && c != '<' && c != '>' && c != '\\';
}

/// Whether `text` is UTF-8 (RFC 3629: no overlong forms, no surrogates).
bool is_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto byte = [&](std::size_t k) {
      return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0U;
    };
    const auto tail = [&](std::size_t k) { return (byte(k) & 0xC0U) == 0x80U; };
    const unsigned first = byte(0);
    if (first < 0x80) {
      i += 1;
    } else if (first >= 0xC2 && first <= 0xDF && tail(1)) {
      i += 2;
    } else if (first >= 0xE0 && first <= 0xEF && tail(1) && tail(2) &&
               (first != 0xE0 || byte(1) >= 0xA0) && (first != 0xED || byte(1) <= 0x9F)) {
      i += 3;
    } else if (first >= 0xF0 && first <= 0xF4 && tail(1) && tail(2) && tail(3) &&
               (first != 0xF0 || byte(1) >= 0x90) && (first != 0xF4 || byte(1) <= 0x8F)) {
      i += 4;
    } else {
      return false;
    }
  }
  return true;
}

Result<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 1 < text.size() ? hex_value(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
      if (high < 0 || low < 0) return bad("a percent sign without two hex digits");
      c = static_cast<char>(high * 16 + low);
      i += 2;
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return bad("a control character");
    } else if (!may_stand_raw(c)) {
      return bad("a character that must be percent-encoded");
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    decoded += c;
  }
  if (!is_utf8(decoded)) return bad("invalid UTF-8");
  return decoded;
}

/// Cuts `text` at the first `separator` and leaves what is behind it.
std::string_view take_part(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return part;
}

Result<void> parse_path(std::string_view path, std::size_t segments_max, Target& target) {
  if (path == "/") return {};
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const std::size_t end = std::min(path.find('/'), path.size());
    Result<std::string> segment = decode(path.substr(0, end), false);
    if (!segment.has_value()) return fail(std::move(segment.error()));
    if (segment->empty()) return bad("an empty path segment");
    if (*segment == "." || *segment == "..") return bad("a dot segment");
    if (target.path.size() == segments_max) return bad("too many path segments");
    target.path.push_back(std::move(*segment));
    path.remove_prefix(end);
  }
  return {};
}

Result<void> parse_query(std::string_view query, std::size_t parameters_max, Target& target) {
  while (!query.empty()) {
    std::string_view value = take_part(query, '&');
    if (value.empty()) continue;
    const std::string_view name = take_part(value, '=');
    Result<std::string> decoded_name = decode(name, true);
    if (!decoded_name.has_value()) return fail(std::move(decoded_name.error()));
    Result<std::string> decoded_value = decode(value, true);
    if (!decoded_value.has_value()) return fail(std::move(decoded_value.error()));
    if (target.query.size() == parameters_max) return bad("too many query parameters");
    target.query.emplace_back(std::move(*decoded_name), std::move(*decoded_value));
  }
  return {};
}

}  // namespace

const std::string* Target::find(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return &value;
  }
  return nullptr;
}

Result<Target> parse_target(std::string_view target, const TargetLimits& limits) {
  if (target.size() > limits.size_max) {
    return bad("longer than " + std::to_string(limits.size_max) + " bytes");
  }
  if (!target.starts_with('/')) return bad("it must start with a slash");
  std::string_view query = target;
  const std::string_view path = take_part(query, '?');
  Target parsed;
  Result<void> done = parse_path(path, limits.segments_max, parsed);
  if (done.has_value()) done = parse_query(query, limits.parameters_max, parsed);
  if (!done.has_value()) return fail(std::move(done.error()));
  return parsed;
}

void append_percent_encoded(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  for (const char c : text) {
    if (is_unreserved(c)) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
}

}  // namespace berth::inline v0
