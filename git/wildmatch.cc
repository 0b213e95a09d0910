// After git's wildmatch.c, quirks included: what an agent's git ignores, berth must ignore.
#include <berth/git/wildmatch.h>

#include <cctype>

namespace berth::git::detail {
namespace {

enum class Outcome { match, no_match, abort_all, abort_to_double_star };

// Far beyond what patterns that people write come to; an agent can write others.
constexpr std::size_t kStepsMax = 100'000;  // bytes of pattern and text that are looked at
constexpr int kDepthMax = 500;              // stars within stars, each on the stack

bool in_class(std::string_view name, unsigned char c) {
  if (c >= 0x80) return false;
  const int ch = c;
  if (name == "alnum") return std::isalnum(ch) != 0;
  if (name == "alpha") return std::isalpha(ch) != 0;
  if (name == "blank") return ch == ' ' || ch == '\t';
  if (name == "cntrl") return std::iscntrl(ch) != 0;
  if (name == "digit") return std::isdigit(ch) != 0;
  if (name == "graph") return std::isgraph(ch) != 0;
  if (name == "lower") return std::islower(ch) != 0;
  if (name == "print") return std::isprint(ch) != 0;
  if (name == "punct") return std::ispunct(ch) != 0;
  if (name == "space") return std::isspace(ch) != 0;
  if (name == "upper") return std::isupper(ch) != 0;
  return name == "xdigit" && std::isxdigit(ch) != 0;
}

bool is_class(std::string_view name) {
  for (const char* known : {"alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print",
                            "punct", "space", "upper", "xdigit"}) {
    if (name == known) return true;
  }
  return false;
}

class Matcher {
 public:
  Matcher(std::string_view pattern, std::string_view text, bool pathname)
      : pattern_(pattern), text_(text), pathname_(pathname) {}

  bool run() { return match(0, 0) == Outcome::match; }

 private:
  // Both end in a zero that is not there, as C strings do.
  unsigned char p(std::size_t at) const {
    return at < pattern_.size() ? static_cast<unsigned char>(pattern_[at]) : 0;
  }
  unsigned char t(std::size_t at) const {
    return at < text_.size() ? static_cast<unsigned char>(text_[at]) : 0;
  }
  static bool is_special(unsigned char c) {
    return c == '*' || c == '?' || c == '[' || c == '\\' || c == 0;
  }

  /// Counts what the next loop costs; true when that is too much.
  bool is_spent(std::size_t steps) {
    steps_ += steps;
    return steps_ > kStepsMax;
  }

  Outcome match(std::size_t at, std::size_t in) {
    if (depth_ == kDepthMax) return Outcome::abort_all;
    ++depth_;
    const Outcome outcome = match_from(at, in);
    --depth_;
    return outcome;
  }

  Outcome match_from(std::size_t at, std::size_t in) {
    const std::size_t start = at;
    for (; p(at) != 0; ++in, ++at) {
      if (is_spent(1)) return Outcome::abort_all;
      const unsigned char c = t(in);
      if (c == 0 && p(at) != '*') return Outcome::abort_all;
      switch (p(at)) {
        case '\\':
          if (p(++at) != c) return Outcome::no_match;
          break;
        case '?':
          if (pathname_ && c == '/') return Outcome::no_match;
          break;
        case '*': {
          bool over_a_folder = false;
          const Outcome outcome = star(start, at, in, over_a_folder);
          if (!over_a_folder) return outcome;
          break;
        }
        case '[': {
          bool matched = false;
          if (!set(at, c, matched)) return Outcome::abort_all;
          if (!matched || (pathname_ && c == '/')) return Outcome::no_match;
          break;
        }
        default:
          if (p(at) != c) return Outcome::no_match;
          break;
      }
    }
    return in < text_.size() ? Outcome::no_match : Outcome::match;
  }

  /// At a star. Either the answer, or `over_a_folder`: both places moved onto the next slash.
  Outcome star(std::size_t start, std::size_t& at, std::size_t& in, bool& over_a_folder) {
    bool crosses = !pathname_;
    if (p(++at) == '*') {
      const std::size_t first = at - 1;
      while (p(++at) == '*') {
      }
      if (is_spent(at - first)) return Outcome::abort_all;
      const bool opens = first == start || p(first - 1) == '/';
      const bool closes = p(at) == 0 || p(at) == '/' || (p(at) == '\\' && p(at + 1) == '/');
      if (pathname_ && opens && closes) {
        if (p(at) == '/' && match(at + 1, in) == Outcome::match) return Outcome::match;
        crosses = true;
      }
    }
    if (is_spent(text_.size() - in)) return Outcome::abort_all;
    if (p(at) == 0) {
      const bool more = !crosses && text_.find('/', in) != std::string_view::npos;
      return more ? Outcome::no_match : Outcome::match;
    }
    if (!crosses && p(at) == '/') {
      const std::size_t slash = text_.find('/', in);
      if (slash == std::string_view::npos) return Outcome::no_match;
      in = slash;
      over_a_folder = true;
      return Outcome::match;
    }
    for (unsigned char c = t(in); c != 0; c = t(++in)) {
      if (is_spent(1)) return Outcome::abort_all;
      if (!is_special(p(at))) {
        const std::size_t from = in;
        while ((c = t(in)) != 0 && (crosses || c != '/') && c != p(at)) ++in;
        steps_ += in - from;
        if (c != p(at)) return Outcome::no_match;
      }
      const Outcome rest = match(at, in);
      if (rest != Outcome::no_match) {
        if (!crosses || rest != Outcome::abort_to_double_star) return rest;
      } else if (!crosses && c == '/') {
        return Outcome::abort_to_double_star;
      }
    }
    return Outcome::abort_all;
  }

  /// At "[": moves onto the closing "]". False when there is none, a class is unknown, or it is
  /// too long.
  bool set(std::size_t& at, unsigned char c, bool& matched) {
    unsigned char now = p(++at);
    const bool negated = now == '!' || now == '^';
    if (negated) now = p(++at);
    unsigned char before = 0;
    bool in_set = false;
    do {
      if (now == 0 || is_spent(1)) return false;
      if (now == '\\') {
        now = p(++at);
        if (now == 0) return false;
        in_set = in_set || c == now;
      } else if (now == '-' && before != 0 && p(at + 1) != 0 && p(at + 1) != ']') {
        now = p(++at);
        if (now == '\\') now = p(++at);
        if (now == 0) return false;
        in_set = in_set || (c <= now && c >= before);
        now = 0;  // a range is no start of another
      } else if (now == '[' && p(at + 1) == ':') {
        const std::size_t name = at + 2;
        std::size_t end = name;
        while (p(end) != 0 && p(end) != ']') ++end;
        if (p(end) == 0 || is_spent(end - name)) return false;
        if (end == name || p(end - 1) != ':') {
          in_set = in_set || c == '[';  // no ":]": an ordinary set
        } else {
          const std::string_view word = pattern_.substr(name, end - name - 1);
          if (!is_class(word)) return false;
          in_set = in_set || in_class(word, c);
          at = end;
          now = 0;
        }
      } else {
        in_set = in_set || c == now;
      }
      before = now;
      now = p(++at);
    } while (now != ']');
    matched = in_set != negated;
    return true;
  }

  std::string_view pattern_;
  std::string_view text_;
  bool pathname_;
  std::size_t steps_ = 0;
  int depth_ = 0;
};

}  // namespace

bool wildmatch(std::string_view pattern, std::string_view text, bool pathname) {
  return Matcher(pattern, text, pathname).run();
}

}  // namespace berth::git::detail
