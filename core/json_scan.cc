#include <berth/core/assert.h>
#include <berth/core/json_scan.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <string>

// How it works. Stage 1 of simdjson finds the place of each token (brackets, colons, commas, starts
// of strings and scalars) with SIMD, and checks UTF-8, closed strings and control characters in
// them. The walker below goes once over these places: it checks grammar, literals, numbers and
// depth, and notes the slices that route. That is the work of simdjson's stage 2 without building
// its tape, which is why it is faster than a DOM parse and checks as much. Escapes are checked in a
// pass of their own: stage 1 leaves a backslash either inside a string or where the walker finds a
// bad token.

namespace berth::inline v0 {
namespace {

using simdjson::internal::dom_parser_implementation;

static_assert(kLinePadding >= simdjson::SIMDJSON_PADDING);
static_assert(simdjson::DEFAULT_MAX_DEPTH == 1024);

constexpr std::size_t kCapacityMin = std::size_t{64} << 10;
constexpr unsigned kDepthMax = 1024;     // simdjson::DEFAULT_MAX_DEPTH
constexpr std::size_t kRuleKeyMax = 16;  // longest key that routes
constexpr std::size_t kEscapedKeyMax = 6 * kRuleKeyMax;

/// Raw slices of the values that route; a null pointer means absent.
struct Slices {
  std::string_view jsonrpc, id, method, params, result, error;
  std::string_view session_id, update;
  std::string_view update_kind, message_id, tool_call_id;
};

struct ObjectRule;

/// A key to notice in an object, the place for its value, and the keys to notice if that is an
/// object.
struct KeyRule {
  constexpr KeyRule(std::string_view key, std::string_view Slices::* place,
                    const ObjectRule* rule = nullptr)
      : name(key), slot(place), inside(rule) {
    for (std::size_t i = 0; i < std::min<std::size_t>(key.size(), 8); ++i) {
      head |= std::uint64_t{static_cast<unsigned char>(key[i])} << (8 * i);
      head_mask |= std::uint64_t{0xFF} << (8 * i);
    }
  }

  /// Compares by words, which beats memcmp. 8 bytes from the start of `key` on must be readable.
  bool matches(std::string_view key) const {
    std::uint64_t word = 0;
    std::memcpy(&word, key.data(), sizeof word);
    return key.size() == name.size() && (word & head_mask) == head &&
           (name.size() <= 8 || key.substr(8) == name.substr(8));
  }

  std::string_view name;
  std::string_view Slices::* slot;
  const ObjectRule* inside;
  std::uint64_t head = 0;  // the first 8 bytes of the name, little-endian
  std::uint64_t head_mask = 0;
};
static_assert(std::endian::native == std::endian::little);

struct ObjectRule {
  const KeyRule* begin;
  const KeyRule* end;
};

template <std::size_t N>
constexpr ObjectRule rule_of(const KeyRule (&keys)[N]) {
  return {keys, keys + N};
}

constexpr KeyRule kUpdateKeys[] = {{"sessionUpdate", &Slices::update_kind},
                                   {"messageId", &Slices::message_id},
                                   {"toolCallId", &Slices::tool_call_id}};
constexpr ObjectRule kUpdate = rule_of(kUpdateKeys);
constexpr KeyRule kParamsKeys[] = {{"sessionId", &Slices::session_id},
                                   {"update", &Slices::update, &kUpdate}};
constexpr ObjectRule kParams = rule_of(kParamsKeys);
constexpr KeyRule kRootKeys[] = {
    {"jsonrpc", &Slices::jsonrpc},         {"method", &Slices::method}, {"id", &Slices::id},
    {"params", &Slices::params, &kParams}, {"result", &Slices::result}, {"error", &Slices::error}};
constexpr ObjectRule kRoot = rule_of(kRootKeys);

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// What may follow a number or literal.
bool ends_scalar(char c) {
  return is_space(c) || c == ',' || c == '}' || c == ']' || c == ':';
}

/// Value of four hex digits, or -1.
int hex4(const char* p) {
  int value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = p[i];
    int digit = 0;
    if (is_digit(c)) {
      digit = c - '0';
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
      digit = (c | 0x20) - 'a' + 10;
    } else {
      return -1;
    }
    value = value * 16 + digit;
  }
  return value;
}

/// Length of the valid escape at `p`, 0 if it is none. Surrogates must come in pairs.
std::size_t escape_length(const char* p, const char* end) {
  if (end - p < 2) return 0;
  switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
      return 2;
    case 'u':
      break;
    default:
      return 0;
  }
  if (end - p < 6) return 0;
  const int unit = hex4(p + 2);
  if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) return 0;
  if (unit < 0xD800 || unit > 0xDFFF) return 6;
  if (end - p < 12 || p[6] != '\\' || p[7] != 'u') return 0;
  const int low = hex4(p + 8);
  return low >= 0xDC00 && low <= 0xDFFF ? 12 : 0;
}

/// Place of the first bad escape, or npos. `first` is the first backslash, or the end.
std::size_t find_bad_escape(std::string_view line, std::size_t first) {
  const char* const end = line.data() + line.size();
  const char* p = line.data() + first;
  while (p != nullptr && p != end) {
    const std::size_t length = escape_length(p, end);
    if (length == 0) return static_cast<std::size_t>(p - line.data());
    p += length;
    if (p != end && *p != '\\') {
      p = static_cast<const char*>(std::memchr(p, '\\', static_cast<std::size_t>(end - p)));
    }
  }
  return std::string_view::npos;
}

/// Checks grammar and range of the number at `p`. Never reads at or behind `end`.
class NumberCheck {
 public:
  NumberCheck(const char* p, const char* end) : p_(p), begin_(p), end_(end) {}

  /// `needs_range_check`: the grammar is right, but whether a double holds it is not decided.
  enum class Verdict : std::uint8_t { bad, good, needs_range_check };

  Verdict check() {
    const bool negative = *p_ == '-';
    if (negative) ++p_;
    const char* const digits = p_;
    const std::size_t count = skip_digits();
    if (count == 0 || (count > 1 && *digits == '0') || p_ == end_) return Verdict::bad;
    if (ends_scalar(*p_)) return integer_verdict(digits, count, negative);
    std::size_t fraction = 0;
    if (*p_ == '.') {
      ++p_;
      fraction = skip_digits();
      if (fraction == 0) return Verdict::bad;
    }
    std::size_t exponent = 0;
    if (p_ != end_ && (*p_ == 'e' || *p_ == 'E')) {
      ++p_;
      if (p_ != end_ && (*p_ == '+' || *p_ == '-')) ++p_;
      exponent = skip_digits();
      if (exponent == 0) return Verdict::bad;
    }
    if (p_ == end_ || !ends_scalar(*p_)) return Verdict::bad;
    // At most 100 digits times 10^99 is far below the largest double.
    return count <= 100 && exponent <= 2 ? Verdict::good : Verdict::needs_range_check;
  }

  std::string_view text() const { return {begin_, static_cast<std::size_t>(p_ - begin_)}; }

 private:
  std::size_t skip_digits() {
    const char* const start = p_;
    while (p_ != end_ && is_digit(*p_)) ++p_;
    return static_cast<std::size_t>(p_ - start);
  }

  Verdict integer_verdict(const char* digits, std::size_t count, bool negative) const {
    if (count <= 18) return Verdict::good;
    std::uint64_t value = 0;
    if (std::from_chars(digits, p_, value).ec != std::errc()) return Verdict::bad;
    const std::uint64_t lowest = std::uint64_t{1} << 63;
    return negative && value > lowest ? Verdict::bad : Verdict::good;
  }

  const char* p_;
  const char* begin_;
  const char* end_;
};

ScanError error_of(simdjson::error_code code) {
  switch (code) {
    case simdjson::UTF8_ERROR:
      return {ScanErrorKind::bad_utf8, "invalid UTF-8"};
    case simdjson::UNCLOSED_STRING:
      return {ScanErrorKind::bad_json, "a string is not closed"};
    case simdjson::UNESCAPED_CHARS:
      return {ScanErrorKind::bad_json, "a control character in a string"};
    case simdjson::EMPTY:
      return {ScanErrorKind::bad_json, "an empty line"};
    case simdjson::DEPTH_ERROR:
      return {ScanErrorKind::too_deep, "nested too deeply"};
    default:
      return {ScanErrorKind::bad_json, "not valid JSON"};
  }
}

}  // namespace

struct JsonScanner::Impl {
  std::unique_ptr<dom_parser_implementation> parser;
  std::string scratch;  // unescaped texts of the last line
  std::array<std::uint64_t, kDepthMax / 64> object_levels{};

  void reserve(std::size_t size);
  ScanResult scan(std::string_view line);
  ScanResult route(std::string_view line, const Slices& slices, const char* first_backslash);
  bool text_of(std::string_view raw, const char* first_backslash, std::string_view& text);
};

namespace {

/// Goes over the tokens of one line, which must be an object.
///
/// A `Token` is a place in the list of stage 1. Each function takes the token where its part starts
/// and returns the one behind it, or null after an error. (As a member the token would go through
/// memory at every step: 20 % slower.)
class Walker {
 public:
  using Token = const std::uint32_t*;

  Walker(std::string_view line, const dom_parser_implementation& parser, std::uint64_t* levels,
         const char* first_backslash)
      : line_(line.data()),
        line_end_(line.data() + line.size()),
        parser_(parser),
        end_(parser.structural_indexes.get() + parser.n_structural_indexes),
        levels_(levels),
        first_backslash_(first_backslash) {}

  bool root(Slices& slices) {
    const Token behind = object(kRoot, parser_.structural_indexes.get() + 1, 1, slices);
    return behind == end_ ||
           (behind != nullptr && fail(behind, "text behind the object") != nullptr);
  }

  const ScanError& error() const { return error_; }

 private:
  Token fail(Token at, const char* message, ScanErrorKind kind = ScanErrorKind::bad_json) {
    error_ = {kind, message, at < end_ ? *at : static_cast<std::size_t>(line_end_ - line_)};
    return nullptr;
  }

  /// The character of a token; NUL, which starts no token, behind the last one.
  char at(Token token) const { return token < end_ ? line_[*token] : '\0'; }

  /// End of the value or key before `token`: there, less the white space. (All other control
  /// characters would be tokens. Behind the last token stands the length of the line.)
  const char* end_before(Token token) const {
    const char* end = line_ + *token;
    while (static_cast<unsigned char>(end[-1]) <= ' ') --end;
    return end;
  }

  Token object(const ObjectRule& rule, Token token, unsigned depth, Slices& slices);
  static const KeyRule* find(const ObjectRule& rule, std::string_view name);
  const KeyRule* match(const ObjectRule& rule, const char* key, Token colon) const;
  Token container(Token token, unsigned outer);
  Token scalar(Token token, char first) {
    // A string's content is checked by stage 1 and find_bad_escape.
    return first == '"' ? token + 1 : number_or_word(token, first);
  }
  Token number_or_word(Token token, char first);
  Token literal(Token token, std::string_view word);
  Token number(Token token);

  const char* line_;
  const char* line_end_;
  const dom_parser_implementation& parser_;
  Token end_;
  std::uint64_t* levels_;
  const char* first_backslash_;
  ScanError error_;
};

/// The rest of an object behind its '{'; it is on level `depth`.
Walker::Token Walker::object(const ObjectRule& rule, Token token, unsigned depth, Slices& slices) {
  if (at(token) == '}') return token + 1;
  while (true) {
    if (at(token) != '"') return fail(token, "a key is missing");
    const char* const key = line_ + *token + 1;
    if (at(++token) != ':') return fail(token, "a colon is missing");
    const KeyRule* const noticed = match(rule, key, token);
    if (noticed != nullptr && (slices.*noticed->slot).data() != nullptr) {
      return fail(token, "a key stands twice", ScanErrorKind::duplicate_key);
    }
    const char first = at(++token);
    const char* const value = line_ + *token;
    if (first == '{' && noticed != nullptr && noticed->inside != nullptr) {
      token = object(*noticed->inside, token + 1, depth + 1, slices);
    } else if (first == '{' || first == '[') {
      token = container(token, depth);
    } else {
      token = scalar(token, first);
    }
    if (token == nullptr) return nullptr;
    if (noticed != nullptr) {
      slices.*noticed->slot = {value, static_cast<std::size_t>(end_before(token) - value)};
    }
    const char separator = at(token);
    if (separator == '}') return token + 1;
    if (separator != ',') return fail(token, "a comma or brace is missing");
    ++token;
  }
}

const KeyRule* Walker::find(const ObjectRule& rule, std::string_view name) {
  for (const KeyRule* candidate = rule.begin; candidate != rule.end; ++candidate) {
    if (candidate->matches(name)) return candidate;
  }
  return nullptr;
}

/// The rule for the key that starts at `key`.
const KeyRule* Walker::match(const ObjectRule& rule, const char* key, Token colon) const {
  const std::string_view raw(key, static_cast<std::size_t>(end_before(colon) - 1 - key));
  const KeyRule* const found = find(rule, raw);
  if (found != nullptr || raw.data() + raw.size() <= first_backslash_) return found;
  if (raw.size() > kEscapedKeyMax || raw.find('\\') == std::string_view::npos) return nullptr;
  std::uint8_t unescaped[kEscapedKeyMax + simdjson::SIMDJSON_PADDING];
  const std::uint8_t* const end =
      parser_.parse_string(reinterpret_cast<const std::uint8_t*>(key), unescaped);
  BERTH_ASSERT(end != nullptr);  // all escapes have been checked
  return find(
      rule, {reinterpret_cast<const char*>(unescaped), static_cast<std::size_t>(end - unescaped)});
}

/// A value that starts with a bracket, in a container on level `outer`, with all that is in it. A
/// loop, not a recursion: the line decides how deep it goes.
Walker::Token Walker::container(Token token, unsigned outer) {
  unsigned depth = outer;
  const auto in_object = [&] { return ((levels_[depth / 64] >> (depth % 64)) & 1) != 0; };
  while (true) {
    // A container opens here.
    const bool is_object = line_[*token] == '{';
    ++token;
    bool value_done = at(token) == (is_object ? '}' : ']');
    bool object_here = is_object;
    if (value_done) {
      ++token;
      object_here = in_object();
    } else {
      if (++depth >= kDepthMax) {
        return fail(token, "nested too deeply", ScanErrorKind::too_deep);
      }
      const std::uint64_t bit = std::uint64_t{1} << (depth % 64);
      levels_[depth / 64] = is_object ? levels_[depth / 64] | bit : levels_[depth / 64] & ~bit;
    }
    // Members until another container opens.
    while (true) {
      while (value_done) {
        if (depth == outer) return token;
        const char separator = at(token);
        if (separator == ',') {
          value_done = false;
        } else if (separator == (object_here ? '}' : ']')) {
          --depth;
          object_here = in_object();
        } else {
          return fail(token, "a comma or bracket is missing");
        }
        ++token;
      }
      if (object_here) {
        if (at(token) != '"') return fail(token, "a key is missing");
        if (at(++token) != ':') return fail(token, "a colon is missing");
        ++token;
      }
      const char first = at(token);
      if (first == '{' || first == '[') break;
      token = scalar(token, first);
      if (token == nullptr) return nullptr;
      value_done = true;
    }
  }
}

/// A number or literal that starts with `first`.
Walker::Token Walker::number_or_word(Token token, char first) {
  // Tests in a row are predicted better than one jump through a table.
  if (is_digit(first) || first == '-') return number(token);
  if (first == 't') return literal(token, "true");
  if (first == 'f') return literal(token, "false");
  if (first == 'n') return literal(token, "null");
  return fail(token, "a value is missing");
}

Walker::Token Walker::literal(Token token, std::string_view word) {
  const char* const start = line_ + *token;
  const auto left = static_cast<std::size_t>(line_end_ - start);
  if (left <= word.size() || std::memcmp(start, word.data(), word.size()) != 0 ||
      !ends_scalar(start[word.size()])) {
    return fail(token, "an unknown word");
  }
  return token + 1;
}

Walker::Token Walker::number(Token token) {
  NumberCheck check(line_ + *token, line_end_);
  switch (check.check()) {
    case NumberCheck::Verdict::good:
      break;
    case NumberCheck::Verdict::bad:
      return fail(token, "a bad number");
    case NumberCheck::Verdict::needs_range_check: {
      // Rare. The DOM parser decides, so that both always agree.
      simdjson::dom::parser dom;
      const std::string_view text = check.text();
      if (dom.parse(text.data(), text.size()).error() != simdjson::SUCCESS) {
        return fail(token, "a number out of range");
      }
      break;
    }
  }
  return token + 1;
}

/// A line that is not an object: is it JSON at all?
ScanError not_an_object(std::string_view line, std::size_t first) {
  constexpr std::string_view kStarts = "[\"-0123456789tfn";
  if (kStarts.find(line[first]) == std::string_view::npos) {
    return {ScanErrorKind::bad_json, "not valid JSON", first};
  }
  simdjson::dom::parser dom;
  const simdjson::error_code code = dom.parse(line.data(), line.size()).error();
  if (code != simdjson::SUCCESS) return error_of(code);
  return {ScanErrorKind::not_an_object, "a message must be an object", first};
}

bool is_string(std::string_view raw) {
  return raw.starts_with('"');
}

}  // namespace

void JsonScanner::Impl::reserve(std::size_t size) {
  if (parser == nullptr) {
    const auto error = simdjson::get_active_implementation()->create_dom_parser_implementation(
        kCapacityMin, 1, parser);
    if (error != simdjson::SUCCESS) throw std::bad_alloc();
  }
  if (size > parser->capacity() && parser->set_capacity(std::bit_ceil(size)) != simdjson::SUCCESS) {
    throw std::bad_alloc();
  }
}

ScanResult JsonScanner::Impl::scan(std::string_view line) {
  if (line.empty()) return tl::unexpected(error_of(simdjson::EMPTY));
  if (line.size() > simdjson::SIMDJSON_MAXSIZE_BYTES / 2) {
    return tl::unexpected(ScanError{ScanErrorKind::bad_json, "the line is too long"});
  }
  reserve(line.size());
  const auto code = parser->stage1(reinterpret_cast<const std::uint8_t*>(line.data()), line.size(),
                                   simdjson::stage1_mode::regular);
  if (code != simdjson::SUCCESS) return tl::unexpected(error_of(code));
  const std::size_t first = parser->structural_indexes[0];
  if (line[first] != '{') return tl::unexpected(not_an_object(line, first));
  const std::size_t backslash = std::min(line.find('\\'), line.size());
  const std::size_t bad = find_bad_escape(line, backslash);
  if (bad != std::string_view::npos) {
    return tl::unexpected(ScanError{ScanErrorKind::bad_json, "a bad escape", bad});
  }
  const char* const first_backslash = line.data() + backslash;
  Slices slices;
  Walker walker(line, *parser, object_levels.data(), first_backslash);
  if (!walker.root(slices)) return tl::unexpected(walker.error());
  return route(line, slices, first_backslash);
}

/// Sets `text` to the text of a raw string; false if `raw` is no string.
bool JsonScanner::Impl::text_of(std::string_view raw, const char* first_backslash,
                                std::string_view& text) {
  if (!is_string(raw)) return false;
  text = raw.substr(1, raw.size() - 2);
  if (text.data() + text.size() <= first_backslash) return true;
  if (text.find('\\') == std::string_view::npos) return true;
  // `route` has made room for all texts, so that none moves when the next is added.
  const std::size_t start = scratch.size();
  BERTH_ASSERT(scratch.capacity() >= start + text.size() + simdjson::SIMDJSON_PADDING);
  scratch.resize(start + text.size() + simdjson::SIMDJSON_PADDING);
  auto* const target = reinterpret_cast<std::uint8_t*>(scratch.data() + start);
  const std::uint8_t* const end =
      parser->parse_string(reinterpret_cast<const std::uint8_t*>(text.data()), target);
  BERTH_ASSERT(end != nullptr);
  const auto size = static_cast<std::size_t>(end - target);
  scratch.resize(start + size);
  text = {scratch.data() + start, size};
  return true;
}

namespace {

ScanError not_json_rpc(const char* message) {
  return {ScanErrorKind::not_json_rpc, message};
}

/// Reads an id; false if it is of no allowed type.
bool read_id(std::string_view raw, MessageId& id) {
  if (raw.data() == nullptr) return true;
  id.json = raw;
  if (is_string(raw)) {
    id.kind = IdKind::string;
    return true;
  }
  if (raw == "null") {
    id.kind = IdKind::null;
    return true;
  }
  const auto parsed = std::from_chars(raw.data(), raw.data() + raw.size(), id.integer);
  id.kind = IdKind::integer;
  return parsed.ec == std::errc() && parsed.ptr == raw.data() + raw.size();
}

std::string_view unless_null(std::string_view raw) {
  return raw == "null" ? std::string_view() : raw;
}

}  // namespace

/// Decides which message a valid object is.
ScanResult JsonScanner::Impl::route(std::string_view line, const Slices& slices,
                                    const char* first_backslash) {
  RoutedLine routed;
  if (first_backslash != line.data() + line.size()) {
    scratch.clear();
    const std::string_view* const texts[] = {&slices.jsonrpc,    &slices.method,
                                             &slices.session_id, &slices.update_kind,
                                             &slices.message_id, &slices.tool_call_id};
    std::size_t size = simdjson::SIMDJSON_PADDING;
    for (const std::string_view* raw : texts) size += raw->size();
    scratch.reserve(size);
  }
  std::string_view version;
  const bool has_version = slices.jsonrpc.data() != nullptr;
  if (has_version && (!text_of(slices.jsonrpc, first_backslash, version) || version != "2.0")) {
    return tl::unexpected(not_json_rpc("jsonrpc is not \"2.0\""));
  }
  if (!read_id(slices.id, routed.id)) {
    return tl::unexpected(not_json_rpc("id is neither an integer, a string nor null"));
  }
  const bool has_method = slices.method.data() != nullptr;
  if (has_method && !text_of(slices.method, first_backslash, routed.method)) {
    return tl::unexpected(not_json_rpc("method is not a string"));
  }
  routed.result = slices.result;
  routed.error = unless_null(slices.error);
  routed.params = unless_null(slices.params);
  const bool has_answer = !slices.result.empty() || !slices.error.empty();
  if (has_method && has_answer) return tl::unexpected(not_json_rpc("both a method and an answer"));
  if (has_method) {
    routed.kind = routed.id.kind == IdKind::none ? MessageKind::notification : MessageKind::request;
  } else if (routed.id.kind == IdKind::none || (!has_answer && !has_version)) {
    return tl::unexpected(not_json_rpc("neither a method nor an answer with an id"));
  } else if (!routed.error.empty()) {
    if (!unless_null(slices.result).empty()) {
      return tl::unexpected(not_json_rpc("both a result and an error"));
    }
    routed.kind = MessageKind::error_response;
  } else {
    routed.kind = MessageKind::response;
  }
  if (!routed.params.empty() && routed.params[0] != '{' && routed.params[0] != '[') {
    return tl::unexpected(not_json_rpc("params is neither an object nor an array"));
  }
  text_of(slices.session_id, first_backslash, routed.session_id);
  if (slices.update.starts_with('{')) routed.update = slices.update;
  text_of(slices.update_kind, first_backslash, routed.update_kind);
  text_of(slices.message_id, first_backslash, routed.message_id);
  text_of(slices.tool_call_id, first_backslash, routed.tool_call_id);
  routed.has_raw_cr = line.find('\r') != std::string_view::npos;  // none can be inside a string
  return routed;
}

LineBuffer replace_lone_surrogates(std::string_view line) {
  std::string copy;
  std::size_t place = find_bad_escape(line, std::min(line.find('\\'), line.size()));
  while (place != std::string_view::npos) {
    const std::string_view escape = line.substr(place, 6);
    const int unit = escape.size() == 6 && escape[1] == 'u' ? hex4(escape.data() + 2) : -1;
    if (unit < 0xD800 || unit > 0xDFFF) return {};
    if (copy.empty()) copy = line;
    copy.replace(place, 6, "\\ufffd");
    const std::size_t next = std::min(line.find('\\', place + 6), line.size());
    place = find_bad_escape(line, next);
  }
  return copy.empty() ? LineBuffer() : LineBuffer::copy_of(copy);
}

JsonScanner::JsonScanner() : impl_(std::make_unique<Impl>()) {}
JsonScanner::~JsonScanner() = default;
JsonScanner::JsonScanner(JsonScanner&&) noexcept = default;
JsonScanner& JsonScanner::operator=(JsonScanner&&) noexcept = default;

ScanResult JsonScanner::scan_line(std::string_view line) {
  if (impl_->scratch.capacity() > kKeepMax) std::string().swap(impl_->scratch);
  ScanResult result = impl_->scan(line);
  if (capacity() > kKeepMax) impl_->parser.reset();
  return result;
}

std::size_t JsonScanner::capacity() const {
  return impl_->parser == nullptr ? 0 : impl_->parser->capacity();
}

}  // namespace berth::inline v0
