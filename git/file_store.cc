#include <berth/git/failure.h>
#include <berth/git/file_store.h>
#include <berth/git/files.h>

#include <fcntl.h>
#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <set>

namespace berth::git::detail {
namespace {

constexpr std::uint64_t kMemoryBytesMax = 64 << 20;
/// Larger files are left to libgit2, which reads them in pieces.
constexpr std::uint64_t kWholeBytesMax = 16 << 20;

struct FreeFilters {
  void operator()(git_filter_list* filters) const { git_filter_list_free(filters); }
};

/// All of a regular file into `bytes`; false when that cannot be.
bool read_file(const std::string& path, std::string& bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat st{};
  bool fine = ::fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  std::size_t used = 0;
  bytes.resize(fine ? static_cast<std::size_t>(st.st_size) + 1 : 0);
  while (fine) {
    if (used == bytes.size()) bytes.resize(bytes.size() * 2);  // it grows while we read
    const ssize_t n = ::read(fd, bytes.data() + used, bytes.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      fine = n == 0;
      break;
    }
    used += static_cast<std::size_t>(n);
  }
  ::close(fd);
  bytes.resize(used);
  return fine;
}

bool read_link(const std::string& path, std::string& bytes) {
  bytes.resize(PATH_MAX);
  const ssize_t n = ::readlink(path.c_str(), bytes.data(), bytes.size());
  bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return n >= 0;
}

}  // namespace

Result<void> FileStore::begin(const std::vector<Present>& all, const UsersIndex& users) {
  std::uint64_t bytes = 0;
  for (const Present& present : all) bytes += present.size;
  const bool in_memory = options_.only_in_memory && bytes <= kMemoryBytesMax;
  if (Result<void> opened = objects_.open(in_memory); !opened) return opened;
  std::set<std::string> wanted = attributes_of_index(users, options_.root);
  may_convert_ = !wanted.empty() || has_attributes(all) || settings_may_convert(repository_);
  if (may_convert_) {  // whether a file had CRLF before
    for (const Present& present : all) {
      if (!is_attributes_file(present.path)) wanted.insert(present.path);
    }
  }
  return use_part_of_index(repository_, users, wanted);
}

/// True when there is a file of attributes above one of the files.
bool FileStore::has_attributes(const std::vector<Present>& all) const {
  std::set<std::string, std::less<>> seen;
  for (const Present& present : all) {
    if (present.kind != PlaceKind::file) continue;
    std::string folder = present.path;
    while (!folder.empty()) {
      folder.resize(folder.rfind('/', folder.size() - 2) + 1);  // npos + 1: the root
      if (!seen.insert(folder).second) break;
      if (options_.may_have_attributes && !options_.may_have_attributes(folder)) continue;
      const std::string file = options_.root + "/" + folder + ".gitattributes";
      if (kind_of(file) != PathKind::missing) return true;
    }
  }
  return false;
}

Result<std::optional<TreeEdit>> FileStore::put(const Present& present, std::uint32_t old_mode) {
  if (++files_read_ % 16 == 0) {
    Result<void> patient = options_.patience.check("storing the working files");
    if (!patient) return fail(std::move(patient).error());
  }
  options_.patience.note(Step::scan_file);
  if (present.kind == PlaceKind::repository) return put_repository(present.path);
  if (present.kind == PlaceKind::file && present.size > options_.file_bytes_max) {
    return skip(present.path);
  }
  // Between the walk and now a folder may have become a link that leads out.
  if (!has_real_parents(options_.root, present.path)) return TreeEdit{};
  const std::string path = options_.root + "/" + present.path;
  if (present.kind == PlaceKind::link) {
    if (read_link(path, bytes_)) return put_bytes(bytes_, GIT_FILEMODE_LINK);
    return put_as_it_is(present, GIT_FILEMODE_BLOB);
  }
  const bool keeps_mode = !options_.trust_mode && (old_mode & 0170000) == 0100000;
  const bool executable = options_.trust_mode && (present.mode & 0100) != 0;
  const std::uint32_t mode = keeps_mode ? old_mode : executable ? 0100755U : 0100644U;
  if (!may_convert_ && present.size <= kWholeBytesMax) return put_as_it_is(present, mode);
  if (present.size > kWholeBytesMax) {
    git_oid oid;
    const int rc = git_blob_create_from_workdir(&oid, repository_, present.path.c_str());
    if (rc == 0) return TreeEdit{.mode = mode, .id = to_id(oid)};
    Error error = libgit2_error(rc, present.path);
    if (std::strcmp(error.code, "git_write_failed") == 0) return fail(std::move(error));
    return put_as_it_is(present, mode);
  }
  git_filter_list* loaded = nullptr;
  int rc = git_filter_list_load(&loaded, repository_, nullptr, present.path.c_str(),
                                GIT_FILTER_TO_ODB, GIT_FILTER_DEFAULT);
  const std::unique_ptr<git_filter_list, FreeFilters> filters(loaded);
  // Where the conversion of line endings refuses the file (`core.safecrlf`): its bytes.
  if (rc != 0 || !filters || !read_file(path, bytes_)) return put_as_it_is(present, mode);
  git_buf converted = GIT_BUF_INIT;
  rc = git_filter_list_apply_to_buffer(&converted, filters.get(), bytes_.data(), bytes_.size());
  Result<std::optional<TreeEdit>> put =
      rc == 0 ? put_bytes({converted.ptr, converted.size}, mode) : put_as_it_is(present, mode);
  git_buf_dispose(&converted);
  return put;
}

std::optional<TreeEdit> FileStore::skip(std::string path) {
  skipped_.push_back(std::move(path));
  return std::nullopt;
}

/// The bytes of the file, if it is one and can be read.
Result<std::optional<TreeEdit>> FileStore::put_as_it_is(const Present& present,
                                                        std::uint32_t mode) {
  const std::string path = options_.root + "/" + present.path;
  if (read_file(path, bytes_)) return put_bytes(bytes_, mode);
  if (kind_of(path) == PathKind::missing) return TreeEdit{};  // gone while we looked
  return skip(present.path);
}

Result<std::optional<TreeEdit>> FileStore::put_bytes(std::string_view bytes, std::uint32_t mode) {
  Result<ObjectId> id = objects_.put(ObjectKind::blob, bytes);
  if (!id) return fail(std::move(id).error());
  return TreeEdit{.mode = mode, .id = *id};
}

/// A repository inside: recorded as the commit it stands on, as git does. Without a commit it is
/// left out.
std::optional<TreeEdit> FileStore::put_repository(const std::string& path) {
  Handle<git_repository> nested;
  git_oid head;
  int rc = git_repository_open_ext(out(nested), (options_.root + "/" + path).c_str(),
                                   GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr);
  if (rc == 0) rc = git_reference_name_to_id(&head, nested.get(), "HEAD");
  if (rc != 0) return skip(path + "/");
  return TreeEdit{.mode = GIT_FILEMODE_COMMIT, .id = to_id(head)};
}

}  // namespace berth::git::detail
