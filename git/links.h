// git/links.h — the files that tie a worktree's folder to its registration. Private to this folder.
#pragma once

#include <berth/core/result.h>

#include <string>

namespace berth::git::detail {

/// An absolute path for a new worktree, links in its parent folders resolved; makes those. Error
/// `invalid` "bad_path".
Result<std::string> usable_path(const std::string& path);

/// Does the registration carry the mark of a creation that did not get to its end?
bool is_half_made(const std::string& registration);

/// Does `path` hold a `.git` file that names `registration`, whether or not that is whole?
bool points_to(const std::string& path, const std::string& registration);

/// Clears what a creation left that did not get to its end, wherever its folder was to be (`path`
/// unless the registration says otherwise). A folder is taken away only while its registration
/// carries our mark: one whose registration somebody pruned may hold work.
Result<void> clear_leftovers(const std::string& path, const std::string& registration);

/// Deletes the registration's folder.
Result<void> clear_registration(const std::string& registration);

/// Takes the registration's folder: the moment from which a second creation of the key is refused.
Result<void> claim_registration(const std::string& registration);

/// Writes the registration of `key`, locked with our mark until somebody says that it is whole.
Result<void> make_registration(const std::string& path, const std::string& registration,
                               const std::string& key);

/// The content of a `.git` file that points to a registration.
std::string git_file_of(const std::string& registration);

/// Makes the folder with its `.git` file.
Result<void> make_linked_folder(const std::string& path, const std::string& registration);

}  // namespace berth::git::detail
