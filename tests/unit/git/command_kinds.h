// tests/unit/git/command_kinds.h — what makes a repository one that libgit2 1.5 does not read.
#pragma once

namespace berth::git::test {

struct Kind {
  const char* name;
  const char* reason;
  const char* commands;  ///< Make the repository of a test one of this kind.
};

inline constexpr Kind kSha256 = {
    "Sha256", "git_sha256",
    "rm -rf .git && git init -q -b main --object-format=sha256 && git add -A && git commit -q -m "
    "first"};
inline constexpr Kind kPartialClone = {
    "PartialClone", "git_partial_clone",
    "git config uploadpack.allowFilter true && cd .. && mv repo source && git clone -q "
    "--filter=blob:none file://$PWD/source repo"};
inline constexpr Kind kWorktreeConfig = {
    "WorktreeConfig", "git_extension",
    "git config core.repositoryformatversion 1 && git config extensions.worktreeConfig true"};
/// Only "dir" is checked out.
inline constexpr Kind kSparseCheckout = {
    "SparseCheckout", "git_sparse_checkout",
    "git config core.sparseCheckout true && mkdir -p .git/info && echo /dir > "
    ".git/info/sparse-checkout && git read-tree -mu HEAD"};
inline constexpr Kind kSparseIndex = {"SparseIndex", "git_extension",
                                      "git sparse-checkout set --cone --sparse-index dir"};

}  // namespace berth::git::test
