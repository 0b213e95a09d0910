#include <berth/io/fifo.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <utility>

namespace berth::inline v0::io {

namespace {

constexpr std::uint64_t kMove = std::uint64_t{1} << 20;

}  // namespace

Fifo::Fifo(Reactor& reactor, std::string path, Fd reading, Handle handle)
    : reactor_(reactor), path_(std::move(path)), reading_(std::move(reading)), handle_(handle) {}

Fifo::~Fifo() {
  reactor_.close(handle_);
}

Result<std::unique_ptr<Fifo>> Fifo::open(Reactor& reactor, const std::string& path) {
  if (::mkfifo(path.c_str(), 0600) != 0 && errno != EEXIST) return fail(errno_error(errno, path));
  Fd reading(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!reading.valid()) return fail(errno_error(errno, path));
  struct stat status = {};
  if (::fstat(reading.get(), &status) != 0) return fail(errno_error(errno, path));
  if (!S_ISFIFO(status.st_mode)) {
    return fail(ErrorKind::invalid, "not_a_fifo", path + " is there and is no FIFO");
  }
  Fd same(::fcntl(reading.get(), F_DUPFD_CLOEXEC, 0));
  if (!same.valid()) return fail(errno_error(errno, path));
  Result<Handle> handle = reactor.adopt(same.get());
  if (!handle.has_value()) return fail(std::move(handle.error()));
  same.release();
  return std::unique_ptr<Fifo>(new Fifo(reactor, path, std::move(reading), *handle));
}

Result<void> Fifo::renew(const std::string& path) {
  const std::string fresh = path + ".next";
  if (::unlink(fresh.c_str()) != 0 && errno != ENOENT) return fail(errno_error(errno, fresh));
  if (::mkfifo(fresh.c_str(), 0600) != 0) return fail(errno_error(errno, fresh));
  if (::rename(fresh.c_str(), path.c_str()) != 0) return fail(errno_error(errno, path));
  return {};
}

Result<void> Fifo::hold() {
  if (writing_.valid()) return {};
  // By way of our own descriptor: another FIFO may stand at the path by now.
  const std::string self = "/proc/self/fd/" + std::to_string(reading_.get());
  writing_.reset(::open(self.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  if (!writing_.valid()) return fail(errno_error(errno, path_));
  return {};
}

Result<Fifo::Taken> Fifo::take(const std::string& path, std::uint64_t offset,
                               std::uint64_t bytes_max) {
  // Not O_APPEND: splice(2) refuses it.
  const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid()) return fail(errno_error(errno, path));
  Taken taken;
  std::uint64_t bytes = 0;
  while (bytes < bytes_max) {
    auto place = static_cast<loff_t>(offset + bytes);
    const auto wanted = static_cast<std::size_t>(std::min(kMove, bytes_max - bytes));
    const ssize_t moved =
        ::splice(reading_.get(), nullptr, file.get(), &place, wanted, SPLICE_F_NONBLOCK);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0 && errno == EAGAIN) break;  // empty, with writers
    // ENOSPC and the like: what was moved before counts, and the next call says it again.
    if (moved < 0 && bytes > 0) break;
    if (moved < 0) return fail(errno_error(errno, "from a FIFO to " + path));
    bytes += static_cast<std::uint64_t>(moved);
    taken.over = moved == 0;
    if (taken.over) break;
  }
  taken.text.resize(bytes);
  for (std::uint64_t read = 0; read < bytes;) {
    const ssize_t got = ::pread(file.get(), taken.text.data() + read, bytes - read,
                                static_cast<off_t>(offset + read));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return fail(errno_error(got == 0 ? EIO : errno, "reading " + path));
    read += static_cast<std::uint64_t>(got);
  }
  return taken;
}

}  // namespace berth::inline v0::io
