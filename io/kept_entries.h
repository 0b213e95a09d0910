// io/kept_entries.h — what lies in folders, opened once for many looks (private to io).
#pragma once

#include <berth/core/result.h>
#include <berth/io/fd.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace berth::inline v0::io {

/// Opens the entries of folders, and keeps folders among them open (at most kKeptMax) for who looks
/// at the same places again and again. What is looked into is read each time; an entry is opened
/// again when another inode has its name, and one that is open keeps its inode number from being
/// used again.
///
/// Not kept is what would be in somebody's way: files, whose space would not be freed, and whatever
/// does not lie on the mount of "/", which could not be unmounted. A change of mounts makes it
/// forget everything. Not thread-safe.
class KeptEntries {
 public:
  static constexpr std::size_t kKeptMax = 512;

  /// `opened` is an O_PATH descriptor that is valid during the call.
  using Visit = std::function<Result<void>(const std::string& name, int opened, bool is_folder)>;

  /// To be called before a round of looks.
  void begin();
  /// Each entry of `folder`, an O_PATH descriptor of what is at `path`; links are left out, as is
  /// what is gone or must not be opened. A folder that cannot be read has none. `visit` may look
  /// into another folder. Errors: the first of `visit`, and those of the errno when there are no
  /// descriptors left.
  Result<void> each(int folder, const std::string& path, const Visit& visit);

  std::size_t kept() const { return kept_; }

 private:
  struct Entry {
    std::uint64_t inode = 0;
    std::uint64_t seen = 0;  // the look that saw it last
    Fd opened;
  };
  struct Folder {
    std::map<std::string, Entry, std::less<>> entries;
    std::uint64_t round = 0;  // that looked at it last
  };

  Result<void> look_at(int listing, const char* name, std::uint64_t inode, Folder& entries,
                       const Visit& visit);
  void forget();

  std::map<std::string, Folder, std::less<>> folders_;
  std::size_t kept_ = 0;
  std::uint64_t looks_ = 0;
  std::uint64_t rounds_ = 0;
  std::uint64_t mount_ = 0;  // of "/"
  Fd mount_changes_;
};

}  // namespace berth::inline v0::io
