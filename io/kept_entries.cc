#include <berth/io/kept_entries.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <utility>

namespace berth::inline v0::io {

void KeptEntries::forget() {
  folders_.clear();
  kept_ = 0;
}

void KeptEntries::begin() {
  if (!mounts_.valid()) {
    forget();
    mounts_.reset(::open("/proc/thread-self/mountinfo", O_RDONLY | O_CLOEXEC));
    return;
  }
  // poll_notify of the kernel's mount namespace: POLLPRI once after each change (proc(5)).
  pollfd changed = {mounts_.get(), POLLPRI, 0};
  if (::poll(&changed, 1, 0) != 0) forget();
}

Result<void> KeptEntries::each(int folder, const std::string& path, const Visit& visit) {
  const int listing = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (listing < 0) return {};
  const Fd closes(listing);
  Folder& entries = folders_[path];
  const std::uint64_t look = ++looks_;
  alignas(dirent64) char bytes[4096];
  for (;;) {
    const ssize_t got = ::getdents64(listing, bytes, sizeof bytes);
    if (got <= 0) break;
    for (ssize_t at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(bytes + at);
      at += entry->d_reclen;
      if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
      if (entry->d_type == DT_LNK) continue;
      Result<void> visited = look_at(listing, entry->d_name, entry->d_ino, entries, visit);
      if (!visited.has_value()) return visited;
    }
  }
  kept_ -= std::erase_if(entries, [look](const auto& entry) { return entry.second.seen < look; });
  return {};
}

Result<void> KeptEntries::look_at(int listing, const char* name, std::uint64_t inode,
                                  Folder& entries, const Visit& visit) {
  const auto known = entries.find(std::string_view(name));
  if (known != entries.end() && known->second.inode == inode) {
    known->second.seen = ++looks_;
    return visit(known->first, known->second.opened.get(), known->second.is_folder);
  }
  Fd opened(::openat(listing, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct statx info = {};
  const bool told =
      opened.valid() && ::statx(opened.get(), "", AT_EMPTY_PATH, STATX_TYPE, &info) == 0;
  if (!told || S_ISLNK(info.stx_mode)) return {};
  const int descriptor = opened.get();
  const bool is_folder = S_ISDIR(info.stx_mode);
  // Who keeps the root of a mount open keeps others from unmounting it.
  const bool may_keep = (info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 &&
                        (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0;
  if (!may_keep) return visit(name, descriptor, is_folder);  // an older one goes when all were seen
  if (known != entries.end()) {
    known->second = Entry{inode, is_folder, ++looks_, std::move(opened)};
  } else if (kept_ < kKeptMax) {
    entries.emplace(name, Entry{inode, is_folder, ++looks_, std::move(opened)});
    ++kept_;
  }
  return visit(name, descriptor, is_folder);
}

}  // namespace berth::inline v0::io
