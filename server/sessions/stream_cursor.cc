#include <berth/server/sessions/stream_cursor.h>

#include <charconv>

namespace berth::server {

namespace {

constexpr int kBase = 36;
constexpr std::string_view kVersion = "1.";

template <typename Number>
void append_number(std::string& out, Number number) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, number, kBase).ptr;
  out.append(digits, static_cast<std::size_t>(end - digits));
}

/// Takes a number that is not negative, and the mark behind it unless the text ends there.
template <typename Number>
bool take_number(std::string_view& text, char mark, bool may_end, Number& number) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number, kBase);
  if (parsed.ec != std::errc() || number < Number{0}) return false;
  text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
  if (text.empty()) return may_end;
  if (text.front() != mark || text.size() == 1) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::string StreamCursor::text() const {
  std::string out(kVersion);
  append_number(out, known);
  for (const auto& [no, seq] : places) {
    out += '.';
    append_number(out, no);
    out += '-';
    append_number(out, seq);
  }
  return out;
}

Result<StreamCursor> StreamCursor::parse(std::string_view text, std::size_t places_max) {
  StreamCursor cursor;
  bool good = text.starts_with(kVersion);
  if (good) text.remove_prefix(kVersion.size());
  good = good && take_number(text, '.', true, cursor.known);
  while (good && !text.empty()) {
    SessionNo no = 0;
    std::uint64_t seq = 0;
    good = take_number(text, '-', false, no) && take_number(text, '.', true, seq) &&
           seq <= (1ULL << 62) && cursor.places.emplace(no, seq).second &&
           cursor.places.size() <= places_max;
  }
  if (good) return cursor;
  return fail(ErrorKind::invalid, "bad_field",
              "Last-Event-ID: is not one that a stream of several sessions gave");
}

}  // namespace berth::server
