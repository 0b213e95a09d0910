#include <berth/git/folder_size.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <memory>
#include <string_view>

namespace berth::git::detail {
namespace {

constexpr int kDepthMax = 200;

/// Adds up a folder; false when it could not be seen whole.
bool measure(int parent, const char* name, dev_t device, int depth, const Patience& patience,
             FolderSize& sum) {
  if (depth > kDepthMax || patience.exhausted()) return false;
  const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd), ::closedir);
  if (!dir) return false;
  bool whole = true;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view leaf = entry->d_name;
    struct stat st{};
    if (leaf == "." || leaf == ".." ||
        ::fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_dev != device) {
      continue;
    }
    sum.bytes += static_cast<std::uint64_t>(st.st_blocks) * 512;
    ++sum.files;
    if (S_ISDIR(st.st_mode)) {
      whole = measure(fd, entry->d_name, device, depth + 1, patience, sum) && whole;
    }
  }
  return whole;
}

}  // namespace

FolderSize folder_size(const std::string& path, const Patience& patience) {
  FolderSize size;
  struct stat st{};
  if (::lstat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return size;
  size.whole = measure(AT_FDCWD, path.c_str(), st.st_dev, 0, patience, size);
  return size;
}

}  // namespace berth::git::detail
