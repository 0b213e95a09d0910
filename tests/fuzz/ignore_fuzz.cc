// Any rules give an answer about any path in bounded time; what is quoted matches itself; where
// libgit2 knows the same rule it says the same.
#include <berth/git/handles.h>
#include <berth/git/ignore_rules.h>
#include <berth/git/library.h>
#include <berth/git/wildmatch.h>

#include <git2.h>

#include <algorithm>

#include "folder.h"

namespace {

using namespace berth;
using git::detail::RuleLevel;
using git::detail::RuleList;
using git::detail::Rules;

/// Letters, digits and signs that neither side gives a meaning of its own at the ends of a line.
bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c < 0x7f && c != '\\'; });
}

/// One pattern, without what libgit2 is known to read otherwise: spaces and backslashes (it
/// unescapes them itself), "a**" (git cuts the plain "a" off before it looks whether "**" stands at
/// the beginning), and patterns for which it takes long.
bool is_known_alike(std::string_view rule) {
  if (rule.empty() || rule.size() > 48 || !is_plain(rule)) return false;
  if (rule.front() == '#' || rule.front() == '!') return false;
  if (std::count(rule.begin(), rule.end(), '*') > 6) return false;
  for (std::size_t at = rule.find("**"); at != std::string_view::npos;
       at = rule.find("**", rule.find_first_not_of('*', at))) {
    if (at > 0 && rule[at - 1] != '/') return false;
  }
  return true;
}

/// A path that can be in a worktree and that libgit2's own rules (".git") are not about.
bool is_ordinary(std::string_view path) {
  if (path.empty() || path.size() > 64 || !is_plain(path)) return false;
  while (true) {
    const std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == ".." || part == ".git") return false;
    if (part.size() == path.size()) return true;
    path.remove_prefix(part.size() + 1);
  }
}

bool is_ignored_by_berth(const Rules& rules, std::string_view path, bool is_folder) {
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    if (git::detail::is_ignored(rules, path.substr(0, slash), true)) return true;
  }
  return git::detail::is_ignored(rules, path, is_folder);
}

class LibraryRules {
 public:
  LibraryRules() {
    FUZZ_CHECK(git_repository_init(git::detail::out(repository_), folder_.file("r").c_str(), 0) ==
               0);
  }
  bool is_ignored(const std::string& rule, const std::string& path) {
    FUZZ_CHECK(git_ignore_clear_internal_rules(repository_.get()) == 0);
    FUZZ_CHECK(git_ignore_add_rule(repository_.get(), rule.c_str()) == 0);
    int ignored = 0;
    FUZZ_CHECK(git_ignore_path_is_ignored(&ignored, repository_.get(), path.c_str()) == 0);
    return ignored != 0;
  }

 private:
  fuzz::Folder folder_;
  git::Library library_{git::Library::Options{.user_config = false, .certificates = {}}};
  git::detail::Handle<git_repository> repository_;
};

void check_quoted(std::string_view text) {
  if (text.size() > 1000 || text.find('\0') != std::string_view::npos) return;
  std::string quoted;
  for (const char c : text) quoted.append(1, '\\').append(1, c);
  FUZZ_CHECK(git::detail::wildmatch(quoted, text, false));
  FUZZ_CHECK(git::detail::wildmatch(quoted, text, true));
  FUZZ_CHECK(git::detail::wildmatch("*" + quoted, text, false));
  FUZZ_CHECK(git::detail::wildmatch("**/" + quoted, text, true));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const bool is_folder = (input.byte() & 1) != 0;
  // The rules, an empty byte, the path.
  const std::string_view text = input.rest().substr(0, input.rest().find('\0'));
  const std::string_view path = input.rest().substr(std::min(size - (size > 0), text.size() + 1));

  git::detail::wildmatch(text, path, false);
  git::detail::wildmatch(text, path, true);
  check_quoted(path);
  const auto rules =
      std::make_shared<const RuleLevel>(RuleLevel{RuleList(input.rest(), ""), nullptr});
  git::detail::is_ignored(rules, path, is_folder);

  // libgit2 takes "a*/" for "a*" when it asks about a file below.
  if (!is_known_alike(text) || !is_ordinary(path) || (text.ends_with('/') && !is_folder)) return 0;
  static LibraryRules library;
  const auto rule = std::make_shared<const RuleLevel>(RuleLevel{RuleList(text, ""), nullptr});
  const std::string asked = std::string(path) + (is_folder ? "/" : "");
  FUZZ_CHECK(is_ignored_by_berth(rule, path, is_folder) ==
             library.is_ignored(std::string(text), asked));
  return 0;
}
