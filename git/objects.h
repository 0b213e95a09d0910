// git/objects.h — commits, trees and refs looked up and written. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/hardened.h>

#include <cstdint>
#include <string>
#include <vector>

struct git_oid;

namespace berth::git::detail {

std::string hex(const git_oid& id);

/// See resolve_commit; `rev` may be empty for HEAD.
Result<Handle<git_commit>> find_commit(git_repository* repository, const std::string& rev);

/// The tree of a commit or tree given by its full id. Errors: `invalid` "bad_object_id",
/// `not_found` "object_not_found".
Result<Handle<git_tree>> find_tree(git_repository* repository, const std::string& id);

/// The id that a direct ref points to; empty when there is no such ref.
Result<std::string> ref_target(git_repository* repository, const std::string& name);

/// Takes away the lock file of `name` if that is one of berth's own refs and its writer was killed:
/// the file is two seconds old, or stays as it is for so long. True when it is gone. Others' locks
/// are theirs to remove, as with git itself.
bool clear_dead_lock(const std::string& common_dir, const std::string& name);

/// Makes or moves the ref; waits a little for another's lock file, then `busy` "git_locked".
Result<void> set_ref(git_repository* repository, const std::string& name, const std::string& id);

/// Deletes the ref if it still points to `id`; missing is fine.
Result<void> delete_ref(git_repository* repository, const std::string& name, const std::string& id);

/// The highest decimal last part among the refs that start with `prefix` (which ends in "/"); -1 if
/// none.
Result<std::int64_t> highest_number(git_repository* repository, const std::string& prefix);

/// Writes a commit without moving any ref.
Result<std::string> write_commit(git_repository* repository, const git_oid& tree,
                                 const std::vector<std::string>& parents,
                                 const std::string& message, const Author& author);

}  // namespace berth::git::detail
