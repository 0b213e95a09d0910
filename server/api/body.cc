#include <berth/server/api/body.h>

#include <berth/server/agents/acp_messages.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <vector>

namespace berth::server {

Result<void> check_members(const JsonView& object, std::string_view at,
                           std::initializer_list<std::string_view> known) {
  std::vector<std::string_view> seen;  // at most as many as are known
  for (const auto& member : object.members()) {
    const std::string name = std::string(at) + std::string(member.first);
    if (std::find(known.begin(), known.end(), member.first) == known.end()) {
      return fail(ErrorKind::invalid, "unknown_field", name + ": unknown field");
    }
    if (std::find(seen.begin(), seen.end(), member.first) != seen.end()) {
      return fail(ErrorKind::invalid, "bad_field", name + ": is there twice");
    }
    seen.push_back(member.first);
  }
  return {};
}

Result<Body> Body::parse(std::string_view text, std::initializer_list<std::string_view> known) {
  Result<JsonDoc> doc = JsonDoc::parse(text.empty() ? std::string_view("{}") : text);
  if (!doc.has_value()) {
    return fail(ErrorKind::invalid, "bad_json",
                "the body is not valid JSON: " + doc.error().message);
  }
  if (!doc->root().is_object())
    return fail(ErrorKind::invalid, "bad_field", "body: must be an object");
  if (Result<void> ok = check_members(doc->root(), "", known); !ok.has_value()) {
    return fail(std::move(ok.error()));
  }
  return Body(std::move(*doc));
}

Result<std::string> Body::text(std::string_view field, std::string_view fallback) const {
  const JsonView value = root().find(field);
  if (!value.present() || value.is_null()) return std::string(fallback);
  if (const auto string = value.as_string()) return std::string(*string);
  return fail(ErrorKind::invalid, "bad_field", std::string(field) + ": must be a string");
}

Result<bool> Body::flag(std::string_view field, bool fallback) const {
  const JsonView value = root().find(field);
  if (!value.present() || value.is_null()) return fallback;
  if (const auto given = value.as_bool()) return *given;
  return fail(ErrorKind::invalid, "bad_field", std::string(field) + ": must be true or false");
}

std::string Body::raw(std::string_view field) const {
  const JsonView value = root().find(field);
  return !value.present() || value.is_null() ? std::string() : value.raw();
}

Result<std::string> prompt_blocks(const JsonView& prompt) {
  if (const auto text = prompt.as_string()) {
    if (text->empty()) return fail(ErrorKind::invalid, "bad_field", "prompt: must not be empty");
    return acp::text_blocks(*text);
  }
  if (!prompt.is_array() || prompt.elements().empty()) {
    return fail(ErrorKind::invalid, "bad_field",
                "prompt: must be a string or an array of content blocks");
  }
  std::size_t index = 0;
  for (const JsonView& block : prompt.elements()) {
    const std::string at = "prompt[" + std::to_string(index++) + "]";
    if (!block.is_object())
      return fail(ErrorKind::invalid, "bad_field", at + ": must be an object");
    const auto type = block.get_string("type");
    if (!type.has_value())
      return fail(ErrorKind::invalid, "bad_field", at + ".type: must be a string");
    const bool has_text = *type == "text" || block.find("text").present();
    if (has_text && !block.get_string("text").has_value()) {
      return fail(ErrorKind::invalid, "bad_field", at + ".text: must be a string");
    }
  }
  return prompt.raw();
}

Result<std::uint64_t> number_of(std::string_view name, std::string_view text,
                                std::uint64_t fallback, std::uint64_t max) {
  if (text.empty()) return fallback;
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value > max) {
    return fail(ErrorKind::invalid, "bad_field",
                std::string(name) + ": must be a number from 0 to " + std::to_string(max));
  }
  return value;
}

namespace {

/// Takes so many digits; -1 when there is something else.
int take_digits(std::string_view& text, std::size_t count) {
  int value = -1;
  if (text.size() < count) return -1;
  const auto parsed = std::from_chars(text.data(), text.data() + count, value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + count) return -1;
  text.remove_prefix(count);
  return value;
}

bool take_mark(std::string_view& text, char mark) {
  if (text.empty() || text.front() != mark) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
  namespace chrono = std::chrono;
  const int year = take_digits(text, 4);
  if (!take_mark(text, '-')) return std::nullopt;
  const int month = take_digits(text, 2);
  if (!take_mark(text, '-')) return std::nullopt;
  const int day = take_digits(text, 2);
  if (!take_mark(text, 'T')) return std::nullopt;
  const int hour = take_digits(text, 2);
  if (!take_mark(text, ':')) return std::nullopt;
  const int minute = take_digits(text, 2);
  if (!take_mark(text, ':')) return std::nullopt;
  const int second = take_digits(text, 2);
  int ms = 0;
  if (take_mark(text, '.')) ms = take_digits(text, 3);
  const bool well = take_mark(text, 'Z') && text.empty() && year >= 1970 && month > 0 && day > 0 &&
                    hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 &&
                    second <= 60 && ms >= 0;
  const chrono::year_month_day date = {chrono::year(year),
                                       chrono::month(static_cast<unsigned>(month)),
                                       chrono::day(static_cast<unsigned>(day))};
  if (!well || !date.ok()) return std::nullopt;
  const auto time = chrono::sys_days(date) + chrono::hours(hour) + chrono::minutes(minute) +
                    chrono::seconds(second) + chrono::milliseconds(ms);
  return chrono::duration_cast<chrono::milliseconds>(time.time_since_epoch()).count();
}

}  // namespace

Result<std::int64_t> time_of(std::string_view name, std::string_view text) {
  if (const std::optional<std::int64_t> time = parse_rfc3339(text)) return *time;
  Result<std::uint64_t> ms = number_of(name, text, 0, 1ULL << 62);
  if (ms.has_value()) return static_cast<std::int64_t>(*ms);
  return fail(ErrorKind::invalid, "bad_field",
              std::string(name) + ": must be a time such as 2026-11-21T05:04:57Z");
}

bool is_yes(std::string_view text) {
  return text == "1" || text == "true";
}

}  // namespace berth::server
