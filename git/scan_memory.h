// git/scan_memory.h — the little that a scan leaves behind for the next one that is told what
// changed: what has to be looked at every time, and what would make hints worthless. Private to
// this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/ignore_rules.h>
#include <berth/git/index_entries.h>
#include <berth/git/opened.h>

#include <set>
#include <string>

namespace berth::git::detail {

/// Lies beside the private index, as "<private index>.memory".
struct ScanMemory {
  std::string tree;         ///< What the working files were, hex.
  std::string rules;        ///< See OutsideRules::signature.
  std::string users_index;  ///< Times and size of the user's index.
  /// Repositories inside: their commit changes without a file of the worktree changing.
  std::set<std::string> links;
  std::set<std::string> skipped;
  /// Tracked by the user's index alone, against the ignore rules.
  std::set<std::string> forced;
  /// Files of attributes in the user's index of `users_index`.
  std::set<std::string> attributes;

  /// Of a checkout whose index this is: what a first look at it would find.
  static ScanMemory of_checkout(const IndexFile& index);

  /// Nothing is remembered when the file is missing or broken.
  static ScanMemory load(const std::string& private_index);
  Result<void> save(const std::string& private_index) const;
  static std::string file(const std::string& private_index) { return private_index + ".memory"; }
};

/// What rules outside of the worktree say: info/exclude, core.excludesFile, configuration.
struct OutsideRules {
  Rules rules;
  bool trust_mode = true;  ///< core.fileMode
  /// Differs when one of the files behind it is another or was changed.
  std::string signature;

  static Result<OutsideRules> read(const OpenedWorktree& worktree);
};

/// Times and size of a file as text; "-" when there is none.
std::string stat_text(const std::string& path);

}  // namespace berth::git::detail
