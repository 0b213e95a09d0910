#include <berth/io/kept_entries.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace berth::inline v0::io {

namespace {

/// Folders that so many rounds did not look at are forgotten.
constexpr std::uint64_t kRoundsKept = 64;

// From the kernel's include/uapi/linux/stat.h (5.8); Debian 12's libc knows it, older ones do not.
constexpr unsigned kMountId = 0x1000U;

/// All zero when it cannot be told.
struct statx look(int folder, const char* name, int flags) {
  struct statx info = {};
  if (::statx(folder, name, flags, STATX_TYPE | STATX_INO | kMountId, &info) != 0) info = {};
  return info;
}

}  // namespace

void KeptEntries::forget() {
  folders_.clear();
  kept_ = 0;
}

void KeptEntries::begin() {
  ++rounds_;
  std::erase_if(folders_, [this](const auto& folder) {
    if (folder.second.round + kRoundsKept >= rounds_) return false;
    kept_ -= folder.second.entries.size();
    return true;
  });
  // A change of the mounts is told once by POLLPRI (proc(5)).
  pollfd changed = {mount_changes_.get(), POLLPRI, 0};
  if (mount_changes_.valid() && ::poll(&changed, 1, 0) == 0) return;
  forget();
  if (!mount_changes_.valid()) {
    mount_changes_.reset(::open("/proc/thread-self/mountinfo", O_RDONLY | O_CLOEXEC));
  }
  const struct statx root = look(AT_FDCWD, "/", 0);
  mount_ = (root.stx_mask & kMountId) != 0 ? root.stx_mnt_id : 0;
}

Result<void> KeptEntries::each(int folder, const std::string& path, const Visit& visit) {
  const Fd listing(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!listing.valid()) {
    if (errno == EMFILE || errno == ENFILE) return fail(errno_error(errno, path));
    return {};
  }
  Folder& known = folders_[path];
  known.round = rounds_;
  const std::uint64_t begin = ++looks_;
  alignas(dirent64) char bytes[4096];
  for (;;) {
    const ssize_t got = ::getdents64(listing.get(), bytes, sizeof bytes);
    if (got <= 0) break;
    for (ssize_t at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(bytes + at);
      at += entry->d_reclen;
      if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
      if (entry->d_type == DT_LNK) continue;
      Result<void> visited = look_at(listing.get(), entry->d_name, entry->d_ino, known, visit);
      if (!visited.has_value()) return visited;
    }
  }
  kept_ -= std::erase_if(known.entries,
                         [begin](const auto& entry) { return entry.second.seen < begin; });
  return {};
}

Result<void> KeptEntries::look_at(int listing, const char* name, std::uint64_t inode,
                                  Folder& folder, const Visit& visit) {
  const auto known = folder.entries.find(std::string_view(name));
  if (known != folder.entries.end() && known->second.inode == inode) {
    known->second.seen = ++looks_;
    return visit(known->first, known->second.opened.get(), true);
  }
  Fd opened(::openat(listing, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!opened.valid()) {
    if (errno == EMFILE || errno == ENFILE) return fail(errno_error(errno, name));
    return {};
  }
  const struct statx info = look(opened.get(), "", AT_EMPTY_PATH);
  if (info.stx_mask == 0 || S_ISLNK(info.stx_mode)) return {};
  const bool is_folder = S_ISDIR(info.stx_mode);
  const int descriptor = opened.get();
  // Another number than its folder says: the root of a mount, or a file system without numbers.
  const bool may_keep = is_folder && info.stx_ino == inode && (info.stx_mask & kMountId) != 0 &&
                        info.stx_mnt_id == mount_ && kept_ < kKeptMax;
  if (may_keep && known == folder.entries.end()) {
    folder.entries.emplace(name, Entry{inode, ++looks_, std::move(opened)});
    ++kept_;
  }
  // Of another inode than known, it is kept from the next look on: this one takes the old one out.
  return visit(name, descriptor, is_folder);
}

}  // namespace berth::inline v0::io
