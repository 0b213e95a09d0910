#include <berth/core/text.h>
#include <berth/git/ignore_rules.h>
#include <berth/git/wildmatch.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace berth::git::detail {
namespace {

constexpr off_t kRuleFileBytesMax = 16 << 20;

bool is_special(char c) {
  return c == '*' || c == '?' || c == '[' || c == '\\';
}

/// Spaces at the end go, unless a backslash stands before them.
std::string_view without_trailing_spaces(std::string_view line) {
  std::size_t end = std::string_view::npos;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == ' ') {
      if (end == std::string_view::npos) end = i;
      continue;
    }
    if (line[i] == '\\' && ++i == line.size()) return line;
    end = std::string_view::npos;
  }
  return line.substr(0, end);
}

}  // namespace

RuleList::RuleList(std::string_view text, std::string folder) : folder_(std::move(folder)) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (line.empty() || line.front() == '#') continue;
    if (line.back() == '\r') line.remove_suffix(1);
    line = without_trailing_spaces(line.substr(0, line.find('\0')));
    Rule rule;
    if (line.starts_with('!')) {
      rule.negative = true;
      line.remove_prefix(1);
    }
    if (line.ends_with('/')) {
      rule.folders_only = true;
      line.remove_suffix(1);
    }
    if (line.empty()) continue;
    rule.name_only = line.find('/') == std::string_view::npos;
    rule.ends_with = line.front() == '*' && std::none_of(line.begin() + 1, line.end(), is_special);
    if (line.front() == '/') line.remove_prefix(1);
    rule.pattern = line;
    rule.plain =
        static_cast<std::size_t>(std::find_if(line.begin(), line.end(), is_special) - line.begin());
    rules_.push_back(std::move(rule));
  }
}

bool RuleList::matches(const Rule& rule, std::string_view below) {
  if (rule.name_only) {
    const std::string_view name = below.substr(below.rfind('/') + 1);
    if (rule.plain == rule.pattern.size()) return name == rule.pattern;
    if (rule.ends_with) return name.ends_with(std::string_view(rule.pattern).substr(1));
    return wildmatch(rule.pattern, name, false);
  }
  std::string_view pattern = rule.pattern;
  if (!below.starts_with(pattern.substr(0, rule.plain))) return false;
  pattern.remove_prefix(rule.plain);
  below.remove_prefix(rule.plain);
  if (pattern.empty() && below.empty()) return true;
  return wildmatch(pattern, below, true);
}

Verdict RuleList::look_up(std::string_view path, bool is_folder) const {
  const std::string_view below = path.substr(folder_.size());
  for (std::size_t i = rules_.size(); i > 0; --i) {
    const Rule& rule = rules_[i - 1];
    if ((rule.folders_only && !is_folder) || !matches(rule, below)) continue;
    return rule.negative ? Verdict::wanted : Verdict::ignored;
  }
  return Verdict::none;
}

bool is_ignored(const Rules& rules, std::string_view path, bool is_folder) {
  for (const RuleLevel* level = rules.get(); level != nullptr; level = level->above.get()) {
    const Verdict verdict = level->list.look_up(path, is_folder);
    if (verdict != Verdict::none) return verdict == Verdict::ignored;
  }
  return false;
}

Rules with_rule_file(Rules above, int fd, const char* name, std::string folder, bool follow) {
  // O_NONBLOCK: a pipe must not hold us.
  const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW);
  const int file = ::openat(fd, name, flags);
  if (file < 0) return above;
  struct stat st{};
  std::string text;
  if (::fstat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= kRuleFileBytesMax) {
    text.resize(static_cast<std::size_t>(st.st_size));
    std::size_t got = 0;
    for (ssize_t n;
         got < text.size() && (n = ::read(file, text.data() + got, text.size() - got)) > 0;) {
      got += static_cast<std::size_t>(n);
    }
    text.resize(got);
  }
  ::close(file);
  RuleList list(text, std::move(folder));
  if (list.empty()) return above;
  return std::make_shared<const RuleLevel>(RuleLevel{std::move(list), std::move(above)});
}

}  // namespace berth::git::detail
