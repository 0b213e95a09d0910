#include <berth/git/file_lock.h>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace berth::git::detail {

Result<std::optional<FileLock>> FileLock::try_take(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return fail(errno_error(errno, "open " + file));
  FileLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK && errno != EINTR) return fail(errno_error(errno, "lock " + file));
  return std::nullopt;
}

Result<FileLock> FileLock::take(const std::string& file, const Patience& patience) {
  // flock belongs to the open file, so two threads exclude each other too. It has no deadline of
  // its own: ask, wait a little, ask again.
  for (long wait_ns = 200'000;; wait_ns = wait_ns < 10'000'000 ? wait_ns * 2 : wait_ns) {
    Result<std::optional<FileLock>> lock = try_take(file);
    if (!lock) return fail(std::move(lock).error());
    if (*lock) return std::move(**lock);
    if (Result<void> go_on = patience.check("waiting for a lock"); !go_on) {
      return fail(std::move(go_on).error());
    }
    const struct timespec pause{0, wait_ns};
    ::nanosleep(&pause, nullptr);
  }
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace berth::git::detail
