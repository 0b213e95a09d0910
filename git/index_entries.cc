// Source of the format: gitformat-index(5).
#include <berth/git/files.h>
#include <berth/git/index_entries.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

namespace berth::git::detail {
namespace {

constexpr std::size_t kHeaderBytes = 12;
constexpr std::size_t kFixedBytes = 62;  // of an entry, before its path
constexpr std::size_t kChecksumBytes = 20;
constexpr std::size_t kPathBytesMax = std::size_t{256} << 20;  // a small file can say more
constexpr std::size_t kFileBytesMax = std::size_t{1} << 30;    // some 10 million files
constexpr std::uint32_t kExtended = 0x4000;
constexpr std::uint32_t kNameMask = 0x0fff;

std::uint32_t be32(const char* at) {
  const auto* b = reinterpret_cast<const unsigned char*>(at);
  return static_cast<std::uint32_t>(b[0]) << 24 | static_cast<std::uint32_t>(b[1]) << 16 |
         static_cast<std::uint32_t>(b[2]) << 8 | b[3];
}

void put32(char*& at, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) *at++ = static_cast<char>(value >> shift & 0xff);
}

tl::unexpected<Error> broken(const std::string& path, const char* what) {
  return fail(ErrorKind::invalid, "index_broken", path + ": " + what);
}

}  // namespace

StatData StatData::of(const struct stat& st) {
  return {.ctime_s = static_cast<std::uint32_t>(st.st_ctim.tv_sec),
          .ctime_ns = static_cast<std::uint32_t>(st.st_ctim.tv_nsec),
          .mtime_s = static_cast<std::uint32_t>(st.st_mtim.tv_sec),
          .mtime_ns = static_cast<std::uint32_t>(st.st_mtim.tv_nsec),
          .inode = static_cast<std::uint32_t>(st.st_ino),
          .size = static_cast<std::uint32_t>(st.st_size)};
}

Result<IndexFile> IndexFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return fail(ErrorKind::not_found, "no_index", path + ": cannot be opened");
  IndexFile index;
  struct stat st{};
  const bool regular = ::fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  index.size_ = regular ? static_cast<std::size_t>(st.st_size) : 0;
  if (index.size_ < kHeaderBytes + kChecksumBytes) {
    ::close(fd);
    return broken(path, "too short");
  }
  if (index.size_ > kFileBytesMax) {
    ::close(fd);
    return fail(ErrorKind::invalid, "index_too_large", path + ": larger than 1 GiB");
  }
  // A copy, not a view of the file: a file that another program cuts short would end this one.
  index.bytes_.reset(new (std::nothrow) char[index.size_]);
  if (!index.bytes_) {
    ::close(fd);
    return fail(errno_error(ENOMEM, path));
  }
  std::size_t got = 0;
  char* const bytes = index.bytes_.get();
  for (ssize_t n; got < index.size_ && (n = ::read(fd, bytes + got, index.size_ - got)) > 0;) {
    got += static_cast<std::size_t>(n);
  }
  ::close(fd);
  if (got < index.size_) return broken(path, "cut short");
  index.stat_ = StatData::of(st);
  index.written_s_ = index.stat_.mtime_s;
  index.written_ns_ = index.stat_.mtime_ns;
  if (Result<void> parsed = index.parse(path); !parsed) return fail(std::move(parsed).error());
  return index;
}

Result<void> IndexFile::parse(const std::string& path) {
  const std::uint32_t version = be32(bytes_.get() + 4);
  const std::uint32_t count = be32(bytes_.get() + 8);
  if (std::memcmp(bytes_.get(), "DIRC", 4) != 0) return broken(path, "not an index");
  if (version < 2 || version > 4) {
    return fail(ErrorKind::unsupported, "git_index_unsupported", path + ": unknown version");
  }
  if (count > size_ / kFixedBytes) return broken(path, "too many entries");
  const char* at = bytes_.get() + kHeaderBytes;
  if (!parse_entries(version, count, at)) return broken(path, "an entry");
  return parse_extensions(path, at, bytes_.get() + size_ - kChecksumBytes);
}

bool IndexFile::parse_entries(std::uint32_t version, std::uint32_t count, const char*& at) {
  const char* const end = bytes_.get() + size_ - kChecksumBytes;
  entries_.reserve(count);
  std::string_view before;
  std::size_t path_bytes = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (static_cast<std::size_t>(end - at) < kFixedBytes + 2) return false;
    IndexEntry entry;
    entry.stat = {.ctime_s = be32(at),
                  .ctime_ns = be32(at + 4),
                  .mtime_s = be32(at + 8),
                  .mtime_ns = be32(at + 12),
                  .inode = be32(at + 20),
                  .size = be32(at + 36)};
    entry.mode = be32(at + 24);
    std::memcpy(entry.id.data(), at + 40, entry.id.size());
    const std::uint32_t flags = be32(at + 58) & 0xffff;
    const char* name = at + kFixedBytes + ((flags & kExtended) != 0 ? 2 : 0);
    std::size_t cut = 0;
    if (version == 4) {
      auto byte = static_cast<unsigned char>(*name++);
      cut = byte & 0x7f;
      while ((byte & 0x80) != 0 && name < end) {
        byte = static_cast<unsigned char>(*name++);
        cut = ((cut + 1) << 7) | (byte & 0x7f);
      }
      if (cut > before.size()) return false;
    }
    const auto* zero =
        name < end
            ? static_cast<const char*>(std::memchr(name, 0, static_cast<std::size_t>(end - name)))
            : nullptr;
    if (zero == nullptr) return false;
    const auto length = static_cast<std::size_t>(zero - name);
    if (version == 4) {
      path_bytes += before.size() - cut + length;
      if (path_bytes > kPathBytesMax) return false;
      std::string whole(before.substr(0, before.size() - cut));
      entry.path = paths_.emplace_back(whole.append(name, length));
      at = zero + 1;
    } else {
      if ((flags & kNameMask) != kNameMask && (flags & kNameMask) != length) return false;
      entry.path = std::string_view(name, length);
      const auto used = static_cast<std::size_t>(zero - at);
      at += (used + 8) & ~std::size_t{7};
      if (at > end) return false;
    }
    if (entry.path.empty()) continue;  // of a split index, which its extension tells
    if (entry.path < before) return false;
    if (entry.path != before) entries_.push_back(entry);
    before = entry.path;
  }
  return true;
}

Result<void> IndexFile::parse_extensions(const std::string& path, const char* at, const char* end) {
  while (end - at >= 8) {
    const std::string_view name(at, 4);
    const std::uint32_t size = be32(at + 4);
    at += 8;
    if (size > static_cast<std::size_t>(end - at)) return broken(path, "an extension");
    if (name == "link" || name == "sdir" || (name[0] >= 'a' && name[0] <= 'z')) {
      return fail(ErrorKind::unsupported, "git_index_unsupported",
                  path + ": extension " + std::string(name));
    }
    // TREE: the root comes first: "\0<entries> <subtrees>\n<id>", -1 entries when it is not valid.
    if (name == "TREE" && size > 24 && at[0] == '\0' && at[1] != '-') {
      const auto* line = static_cast<const char*>(std::memchr(at, '\n', size));
      if (line != nullptr && at + size - line > 20) {
        tree_.emplace();
        std::memcpy(tree_->data(), line + 1, tree_->size());
      }
    }
    at += size;
  }
  return {};
}

Result<void> write_index(const std::string& path, const std::vector<IndexEntry>& entries,
                         const ObjectId& tree) {
  const std::string root = std::string(1, '\0') + std::to_string(entries.size()) + " 0\n" +
                           std::string(reinterpret_cast<const char*>(tree.data()), tree.size());
  std::size_t size = kHeaderBytes + 8 + root.size() + kChecksumBytes;
  for (const IndexEntry& entry : entries) size += (kFixedBytes + entry.path.size() + 8) & ~7U;
  std::string out(size, '\0');
  char* at = out.data();
  std::memcpy(at, "DIRC", 4);
  at += 4;
  put32(at, 2);
  put32(at, static_cast<std::uint32_t>(entries.size()));
  for (const IndexEntry& entry : entries) {
    char* const start = at;
    put32(at, entry.stat.ctime_s);
    put32(at, entry.stat.ctime_ns);
    put32(at, entry.stat.mtime_s);
    put32(at, entry.stat.mtime_ns);
    put32(at, 0);  // the device: differs after a move to another machine, and says nothing
    put32(at, entry.stat.inode);
    put32(at, entry.mode);
    at += 8;  // owner and group
    put32(at, entry.stat.size);
    std::memcpy(at, entry.id.data(), entry.id.size());
    at += entry.id.size();
    const std::size_t length = std::min<std::size_t>(entry.path.size(), kNameMask);
    *at++ = static_cast<char>(length >> 8);
    *at++ = static_cast<char>(length & 0xff);
    std::memcpy(at, entry.path.data(), entry.path.size());
    at = start + ((kFixedBytes + entry.path.size() + 8) & ~std::size_t{7});
  }
  std::memcpy(at, "TREE", 4);
  at += 4;
  put32(at, static_cast<std::uint32_t>(root.size()));
  std::memcpy(at, root.data(), root.size());
  return write_file(path, out);
}

const IndexEntry* find_entry(const std::vector<IndexEntry>& entries, std::string_view path) {
  const auto at = std::lower_bound(
      entries.begin(), entries.end(), path,
      [](const IndexEntry& entry, std::string_view wanted) { return entry.path < wanted; });
  return at != entries.end() && at->path == path ? &*at : nullptr;
}

}  // namespace berth::git::detail
