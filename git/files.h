// git/files.h — the few file operations that libgit2 does not do, none of which follows a planted
// symbolic link. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>

#include <string>
#include <string_view>
#include <utility>

namespace berth::git::detail {

/// A descriptor that is closed at the end of its scope; negative: none.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

enum class PathKind { missing, file, directory, link, other, unreadable };

/// What is at `path` itself (a link is a link).
PathKind kind_of(const std::string& path);

/// `path` without links, "." and ".."; empty when it does not exist or cannot be read.
std::string canonical(const std::string& path);
/// The same for something that may not exist yet: its parent folder must.
std::string canonical_parent(const std::string& path);

std::string parent_of(const std::string& path);
std::string name_of(const std::string& path);

/// A regular file of at most `bytes_max`, trailing white space cut; a link is refused. Errors by
/// errno.
Result<std::string> read_line_file(const std::string& path, std::size_t bytes_max = 16384);

/// Writes through a temporary file and a rename: never half there.
Result<void> write_file(const std::string& path, std::string_view content);
Result<void> copy_file(const std::string& from, const std::string& to);
/// `to` becomes a second name of `from`, or a copy where that cannot be. Only for files that are
/// never written in place.
Result<void> link_or_copy_file(const std::string& from, const std::string& to);
Result<void> remove_file_if_exists(const std::string& path);

/// mkdir -p.
Result<void> make_folders(const std::string& path);

/// True for an existing folder with nothing in it.
bool is_empty_folder(const std::string& path);

/// Deletes a file or a whole tree; opens folders up that forbid it; never follows links. Missing is
/// fine. Returns false when patience ended it before the end.
Result<bool> delete_tree(const std::string& path, const Patience& patience);

/// Renames `path` into the folder `trash` (made when missing) under a name that is free there;
/// returns the new path.
Result<std::string> move_to_trash(const std::string& path, const std::string& trash);

/// A path as git stores it that stays inside its worktree: relative, no empty, "." or ".." part and
/// no ".git".
bool is_safe_relative(std::string_view path);

/// True when every folder on the way to `root`/`relative` is a real folder, no link.
bool has_real_parents(const std::string& root, std::string_view relative);

}  // namespace berth::git::detail
