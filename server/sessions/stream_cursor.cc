#include <berth/server/sessions/stream_cursor.h>

#include <charconv>

namespace berth::server {

namespace {

constexpr std::string_view kVersion = "2.";
/// What berth gave before, which clients may still have: base 36 with marks between.
constexpr std::string_view kMarkedVersion = "1.";
constexpr int kMarkedBase = 36;
constexpr std::uint64_t kSeqMax = 1ULL << 58;
constexpr SessionNo kNoMax = 1LL << 60;

/// A digit has five bits of a number, the lowest first; the upper half says that more follow.
constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr unsigned kDigitBits = 5;
constexpr std::uint64_t kMore = 1U << kDigitBits;

void append_number(std::string& out, std::uint64_t number) {
  for (; number >= kMore; number >>= kDigitBits) out += kDigits[kMore | (number % kMore)];
  out += kDigits[number];
}

bool take_number(std::string_view& text, std::uint64_t& number) {
  number = 0;
  for (unsigned shift = 0; !text.empty() && shift < 60; shift += kDigitBits) {
    const std::size_t digit = kDigits.find(text.front());
    if (digit == std::string_view::npos) return false;
    text.remove_prefix(1);
    number |= (digit % kMore) << shift;
    if (digit < kMore) return true;
  }
  return false;
}

bool parse_places(std::string_view text, std::size_t places_max, StreamCursor& cursor) {
  std::uint64_t number = 0;
  if (!take_number(text, number)) return false;
  cursor.known = static_cast<SessionNo>(number);
  SessionNo no = 0;
  while (!text.empty()) {
    std::uint64_t skipped = 0;
    if (!take_number(text, number)) return false;
    if (number % 2 != 0 && !take_number(text, skipped)) return false;
    no += static_cast<SessionNo>(skipped) + 1;
    if (no > kNoMax || number / 2 > kSeqMax || cursor.places.size() == places_max) return false;
    cursor.places.emplace_hint(cursor.places.end(), no, number / 2);
  }
  return true;
}

/// Takes a number that is not negative, and the mark behind it unless the text ends there.
template <typename Number>
bool take_marked(std::string_view& text, char mark, bool may_end, Number& number) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number, kMarkedBase);
  if (parsed.ec != std::errc() || number < Number{0}) return false;
  text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
  if (text.empty()) return may_end;
  if (text.front() != mark || text.size() == 1) return false;
  text.remove_prefix(1);
  return true;
}

bool parse_marked(std::string_view text, std::size_t places_max, StreamCursor& cursor) {
  if (!take_marked(text, '.', true, cursor.known)) return false;
  while (!text.empty()) {
    SessionNo no = 0;
    std::uint64_t seq = 0;
    if (!take_marked(text, '-', false, no) || !take_marked(text, '.', true, seq) || seq > kSeqMax ||
        !cursor.places.emplace(no, seq).second || cursor.places.size() > places_max) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::string StreamCursor::text() const {
  std::string out(kVersion);
  append_number(out, static_cast<std::uint64_t>(known));
  SessionNo next = 1;
  for (const auto& [no, seq] : places) {
    append_number(out, seq * 2 + (no == next ? 0 : 1));
    if (no != next) append_number(out, static_cast<std::uint64_t>(no - next));
    next = no + 1;
  }
  return out;
}

Result<StreamCursor> StreamCursor::parse(std::string_view text, std::size_t places_max) {
  StreamCursor cursor;
  const bool good = text.starts_with(kVersion)
                        ? parse_places(text.substr(kVersion.size()), places_max, cursor)
                        : text.starts_with(kMarkedVersion) &&
                              parse_marked(text.substr(kMarkedVersion.size()), places_max, cursor);
  if (good) return cursor;
  return fail(ErrorKind::invalid, "bad_field",
              "Last-Event-ID: is not one that a stream of several sessions gave");
}

}  // namespace berth::server
