#include <berth/git/failure.h>
#include <berth/git/file_writer.h>

#include <fcntl.h>
#include <git2.h>
#include <git2/sys/filter.h>
#include <unistd.h>

#include <cerrno>

namespace berth::git::detail {

tl::unexpected<Error> FileWriter::failed(const char* call, const std::string& path) const {
  if (errno == EEXIST || errno == ELOOP || errno == ENOTDIR) {
    return fail(ErrorKind::conflict, "path_occupied", root_ + "/" + path + ": is in the way");
  }
  return fail(errno_error(errno, std::string(call) + " " + root_ + "/" + path));
}

Result<struct stat> FileWriter::write(int folder, const std::string& leaf, const std::string& path,
                                      const git_oid& id, unsigned mode) {
  if (mode != GIT_FILEMODE_COMMIT && mode != GIT_FILEMODE_LINK) {
    return write_file(folder, leaf, path, id, (mode & 0100) != 0);
  }
  if (mode == GIT_FILEMODE_LINK) {
    if (Result<void> done = write_link(folder, leaf, path, id); !done) {
      return fail(std::move(done).error());
    }
  } else if (::mkdirat(folder, leaf.c_str(), 0777) < 0) {
    return failed("mkdir", path);
  }
  struct stat st{};
  if (::fstatat(folder, leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) return failed("stat", path);
  return st;
}

Result<void> FileWriter::write_link(int folder, const std::string& leaf, const std::string& path,
                                    const git_oid& id) {
  Handle<git_odb_object> object;
  const int rc = git_odb_read(out(object), odb_, &id);
  if (rc != 0) return libgit2_fail(rc, path);
  const std::string target(static_cast<const char*>(git_odb_object_data(object.get())),
                           git_odb_object_size(object.get()));
  if (::symlinkat(target.c_str(), folder, leaf.c_str()) < 0) return failed("symlink", path);
  return {};
}

Result<struct stat> FileWriter::write_file(int folder, const std::string& leaf,
                                           const std::string& path, const git_oid& id,
                                           bool executable) {
  git_filter_list* filters = nullptr;
  if (may_convert_) {
    const int rc = git_filter_list_load(&filters, repository_, nullptr, path.c_str(),
                                        GIT_FILTER_TO_WORKTREE, GIT_FILTER_ALLOW_UNSAFE);
    if (rc != 0) return libgit2_fail(rc, path);
  }
  if (filters == nullptr) {
    Handle<git_odb_object> object;
    const int rc = git_odb_read(out(object), odb_, &id);
    if (rc != 0) return libgit2_fail(rc, path);
    return write_bytes(folder, leaf, path, executable,
                       static_cast<const char*>(git_odb_object_data(object.get())),
                       git_odb_object_size(object.get()));
  }
  Handle<git_blob> blob;
  git_buf converted = GIT_BUF_INIT;
  int rc = git_blob_lookup(out(blob), repository_, &id);
  if (rc == 0) rc = git_filter_list_apply_to_blob(&converted, filters, blob.get());
  git_filter_list_free(filters);
  if (rc != 0) return libgit2_fail(rc, path);
  Result<struct stat> written =
      write_bytes(folder, leaf, path, executable, converted.ptr, converted.size);
  git_buf_dispose(&converted);
  return written;
}

Result<struct stat> FileWriter::write_bytes(int folder, const std::string& leaf,
                                            const std::string& path, bool executable,
                                            const char* data, std::size_t size) {
  const mode_t mode = executable ? 0777 : 0666;  // the umask takes its part
  const int fd =
      ::openat(folder, leaf.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (fd < 0) return failed("open", path);
  while (size > 0) {
    const ssize_t n = ::write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      ::close(fd);
      return fail(errno_error(error, "write " + root_ + "/" + path));
    }
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  // Nothing writes to it any more, and by number it costs no walk along the path.
  struct stat st{};
  const int rc = ::fstat(fd, &st);
  const int error = errno;
  ::close(fd);
  if (rc < 0) return fail(errno_error(error, "stat " + root_ + "/" + path));
  return st;
}

}  // namespace berth::git::detail
