// git/tree_difference.h — two trees cut down to what differs. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/patience.h>

namespace berth::git::detail {

struct TreeDifference {
  Handle<git_tree> before;
  Handle<git_tree> after;
};

/// The same trees without the entries that both have alike, but for a few: libgit2 compares trees
/// by reading every folder of both, whether its id differs or not. What is left differs in the same
/// files. The new trees are in memory, visible through the handle of `repository` alone.
///
/// Errors: `internal` "git_failed" or `not_found` "object_not_found" when a tree on the way is
/// missing or broken; those of Patience.
Result<TreeDifference> only_what_differs(git_repository* repository, git_tree* before,
                                         git_tree* after, const Patience& patience);

}  // namespace berth::git::detail
