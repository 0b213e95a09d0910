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

/// Opens the entries of folders and keeps the first kKeptMax of them open, for who looks at the
/// same folders again and again. A folder is read each time; an entry is opened again when another
/// inode has its name. One that is open keeps its inode number from being used again; mounts, which
/// inode numbers do not tell of, make it forget everything, and their roots are not kept. Not
/// thread-safe.
class KeptEntries {
 public:
  static constexpr std::size_t kKeptMax = 512;

  /// `opened` is an O_PATH descriptor that is valid during the call.
  using Visit = std::function<Result<void>(const std::string& name, int opened, bool is_folder)>;

  /// To be called before a round of looks.
  void begin();
  /// Each entry of `folder`, an O_PATH descriptor of what is at `path`; links are left out, as is
  /// what cannot be opened. A folder that cannot be read has none. Ends with the first error of
  /// `visit`, which may look into another folder.
  Result<void> each(int folder, const std::string& path, const Visit& visit);

  std::size_t kept() const { return kept_; }

 private:
  struct Entry {
    std::uint64_t inode = 0;  // as its folder has it
    bool is_folder = false;
    std::uint64_t seen = 0;  // the look that saw it last
    Fd opened;
  };
  using Folder = std::map<std::string, Entry, std::less<>>;

  Result<void> look_at(int listing, const char* name, std::uint64_t inode, Folder& entries,
                       const Visit& visit);
  void forget();

  std::map<std::string, Folder, std::less<>> folders_;
  std::size_t kept_ = 0;
  std::uint64_t looks_ = 0;
  Fd mounts_;
};

}  // namespace berth::inline v0::io
