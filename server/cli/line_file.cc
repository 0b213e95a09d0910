#include <berth/server/cli/line_file.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace berth::server {

namespace {

/// The name of a new file is on the disk, too.
void sync_folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const io::Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) ::fsync(fd.get());
}

}  // namespace

Result<LineFile> LineFile::open(std::string path) {
  io::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd.valid()) return fail(errno_error(errno, "open " + path));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(errno_error(errno, "lock " + path));
    return fail(ErrorKind::conflict, "in_use", path + ": another process is writing it");
  }
  LineFile file(std::move(path), std::move(fd));
  Result<void> read = file.read();
  if (!read.has_value()) return fail(std::move(read.error()));
  sync_folder_of(file.path_);
  return file;
}

Result<void> LineFile::read() {
  std::array<char, 64 * 1024> piece;
  for (;;) {
    const ssize_t got =
        ::pread(fd_.get(), piece.data(), piece.size(), static_cast<off_t>(text_.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, "read " + path_));
    if (got == 0) break;
    text_.append(piece.data(), static_cast<std::size_t>(got));
  }
  const std::size_t end = text_.rfind('\n');
  size_ = end == std::string::npos ? 0 : end + 1;
  const bool torn = text_.size() > size_;
  text_.resize(size_);
  if (torn && ::ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0) {
    return fail(errno_error(errno, "cut " + path_));
  }
  return {};
}

Result<void> LineFile::append(std::string_view line) {
  std::string bytes(line);
  bytes += '\n';
  std::string_view left = bytes;
  int error = 0;
  while (!left.empty() && error == 0) {
    const ssize_t wrote = ::write(fd_.get(), left.data(), left.size());
    if (wrote >= 0) {
      left.remove_prefix(static_cast<std::size_t>(wrote));
    } else if (errno != EINTR) {
      error = errno;  // ENOSPC, EDQUOT, EIO: half a line may be there
    }
  }
  if (error == 0 && ::fdatasync(fd_.get()) != 0) error = errno;
  if (error != 0) {
    // Where this fails, too, the next open() cuts off what is half a line.
    static_cast<void>(::ftruncate(fd_.get(), static_cast<off_t>(size_)) == 0);
    return fail(errno_error(error, "write " + path_));
  }
  size_ += bytes.size();
  return {};
}

}  // namespace berth::server
