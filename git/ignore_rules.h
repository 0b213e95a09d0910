// git/ignore_rules.h — which paths git's ignore rules leave out. Private to this folder.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::git::detail {

enum class Verdict { none, ignored, wanted };

/// The rules of one file. Format: gitignore(5), and git's dir.c where that is silent.
class RuleList {
 public:
  RuleList() = default;
  /// `folder` is where the file lies: "" or "a/b/". Its rules are about paths below it.
  RuleList(std::string_view text, std::string folder);

  /// What the last rule that matches says; `path` is relative to the worktree and below `folder`.
  Verdict look_up(std::string_view path, bool is_folder) const;
  bool empty() const { return rules_.empty(); }

 private:
  struct Rule {
    std::string pattern;
    std::size_t plain = 0;  // so many bytes of it are no wildcards
    bool negative = false;
    bool folders_only = false;
    bool name_only = false;  // no slash in it: matched with the last part of the path
    bool ends_with = false;  // a star and plain text
  };
  static bool matches(const Rule& rule, std::string_view below);

  std::vector<Rule> rules_;
  std::string folder_;
};

/// The rules of a folder on top of those of the folders above it. Immutable, shared by threads.
struct RuleLevel {
  RuleList list;
  std::shared_ptr<const RuleLevel> above;
};
using Rules = std::shared_ptr<const RuleLevel>;

/// True when the nearest rule that matches ignores `path`. The folders above it must have been
/// asked before: below an ignored folder everything is ignored.
bool is_ignored(const Rules& rules, std::string_view path, bool is_folder);

/// Adds the rule file `name` in the open folder `fd` (AT_FDCWD: an absolute name); `above` itself
/// when there is none. Links and special files are passed over, as git does with links in a
/// worktree. `follow` is for files outside of it.
Rules with_rule_file(Rules above, int fd, const char* name, std::string folder, bool follow);

}  // namespace berth::git::detail
