// git/repository.h — looks at a repository: where it is, what it is, and whether berth can work
// with it.
#pragma once

#include <berth/core/result.h>
#include <berth/git/git_command.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::git {

/// What a path turned out to be. All paths are absolute, without symbolic links and without a
/// trailing slash.
struct RepositoryInfo {
  std::string git_dir;     ///< The worktree's own: `.git`, or `.git/worktrees/<name>`.
  std::string common_dir;  ///< Shared by all worktrees: objects, refs, config.
  std::string work_dir;    ///< Empty in a bare repository.
  std::string head;        ///< Commit id that HEAD stands on; empty when there is no commit yet.
  std::string branch;      ///< Short name such as "main"; empty when HEAD is detached.
  bool bare = false;
  bool empty = false;            ///< HEAD points to a branch without a commit.
  bool linked_worktree = false;  ///< `path` is a linked worktree, not the main one.
  bool shallow = false;          ///< Its history is cut off.
  bool sha256 = false;           ///< Ids have 64 digits.
  bool ignores_case = false;     ///< It was made on a file system that does not tell A from a.
  /// What the calls on it use; keep it and give it to them (WorktreeRef::backend). `libgit2` or
  /// `git_command`.
  Backend backend = Backend::libgit2;
  std::string backend_reason;  ///< Why not libgit2: its error's code, such as "git_sha256".
};

/// Opens the repository that lies exactly at `path` (its working folder, its `.git` or a bare
/// repository) and looks at it. Never searches upwards. Any thread. With `command` also what
/// libgit2 cannot read.
///
/// Errors: `not_found` "path_missing" | "not_a_repository"; `unsupported` with one of "git_sha256",
/// "git_partial_clone", "git_extension", "git_format_version", "git_sparse_checkout" for
/// what libgit2 1.5 cannot read rightly; `invalid` "git_config_broken"; `unavailable`
/// "git_unreadable"; `conflict` "special_file" (a pipe where git expects a file) | "hostile_rules"
/// (ignore rules that would crash git).
Result<RepositoryInfo> inspect_repository(const std::string& path, GitCommand* command = nullptr);

/// The repository that contains `path`, searching upwards on the same file system: for a command
/// line that is used in a subfolder. Returns the path to give to the other calls.
///
/// Errors: as above, and `denied` "dubious_ownership" when its `.git` belongs neither to this user
/// nor to root.
Result<std::string> find_repository(const std::string& path);

/// The commit that `rev` ("HEAD", a branch, a tag, an id, "main~2") names, as 40 hex digits (64
/// with sha256).
///
/// Errors: `not_found` "rev_not_found"; `conflict` "repository_empty" for HEAD without a commit;
/// and as above.
Result<std::string> resolve_commit(const std::string& repository, const std::string& rev,
                                   GitCommand* command = nullptr);

/// What a commit holds that deserves a word to people.
struct RepositoryContents {
  std::uint64_t files = 0;
  /// Paths of submodules: berth leaves them as empty folders.
  std::vector<std::string> submodules;
  /// Files in the store of git-lfs: berth checks their pointers out, not their contents.
  std::vector<std::string> lfs_pointers;
  /// Paths that are the same on a file system that ignores case; only one of each survives there.
  std::vector<std::string> case_collisions;
  std::uint64_t longest_path = 0;  ///< Bytes.
};

/// Looks at all paths of a commit; at most `names_max` names in each list. Any thread.
///
/// Errors: those of inspect_repository and resolve_commit.
Result<RepositoryContents> inspect_contents(const std::string& repository, const std::string& rev,
                                            std::size_t names_max = 100,
                                            GitCommand* command = nullptr);

}  // namespace berth::git
