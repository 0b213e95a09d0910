// Steps with files: by the ring, or by a thread that may block.
#include <berth/io/fd_reactor.h>
#include <berth/io/file_worker.h>
#include <berth/io/op_tags.h>
#include <berth/io/uring_ring.h>

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace berth::inline v0::io {

namespace {

/// Most bytes of one step, so that a worker comes back to the others and a length fits its field.
constexpr std::size_t kStepBytesMax = 64 * 1024 * 1024;

template <typename T>
std::span<T> bounded(std::span<T> bytes) {
  return bytes.first(std::min(bytes.size(), kStepBytesMax));
}

void submit(UringRing& ring, FileOp& op) {
  const std::uint64_t user = user_data(Tag::file, &op);
  switch (op.kind) {
    case FileOp::Kind::open:
      return ring.open(op.path, op.flags | O_CLOEXEC, op.mode, user);
    case FileOp::Kind::read:
      return ring.read(op.file, bounded(op.into), op.offset, user);
    case FileOp::Kind::write:
      return ring.write(op.file, bounded(op.from), op.offset, user);
    case FileOp::Kind::fsync:
      return ring.fsync(op.file, UringRing::Sync::all, user);
    case FileOp::Kind::fdatasync:
      return ring.fsync(op.file, UringRing::Sync::data, user);
    case FileOp::Kind::rename:
      return ring.rename(op.path, op.new_path, user);
    case FileOp::Kind::unlink:
      return ring.unlink(op.path, user);
    case FileOp::Kind::close:
      return ring.close(op.file, user);
  }
}

ssize_t call(FileOp& op) {
  const std::span<char> into = bounded(op.into);
  const std::span<const char> from = bounded(op.from);
  switch (op.kind) {
    case FileOp::Kind::open:
      return ::open(op.path, op.flags | O_CLOEXEC, op.mode);
    case FileOp::Kind::read:
      return ::pread(op.file, into.data(), into.size(), static_cast<off_t>(op.offset));
    case FileOp::Kind::write:
      return ::pwrite(op.file, from.data(), from.size(), static_cast<off_t>(op.offset));
    case FileOp::Kind::fsync:
      return ::fsync(op.file);
    case FileOp::Kind::fdatasync:
      return ::fdatasync(op.file);
    case FileOp::Kind::rename:
      return ::rename(op.path, op.new_path);
    case FileOp::Kind::unlink:
      return ::unlink(op.path);
    case FileOp::Kind::close:
      return ::close(op.file);
  }
  return 0;
}

// An interrupted step did nothing and may be taken again, but for close(2), which did it all.
bool again(const FileOp& op, std::int64_t result) {
  return result == -EINTR && op.kind != FileOp::Kind::close;
}

std::int64_t perform(FileOp& op) {
  for (;;) {
    const ssize_t status = call(op);
    const std::int64_t result = status < 0 ? -errno : status;
    if (!again(op, result)) return result;
  }
}

}  // namespace

void FdReactor::start(FileOp& op) {
  begin(op);
  if (op.kind == FileOp::Kind::close) poller_->forget(op.file);
  if (UringRing* ring = poller_->ring()) {
    OpAccess::armed(op) = true;
    return submit(*ring, op);
  }
  if (file_worker_ == nullptr) {
    file_worker_ = std::make_unique<FileWorker>(*this, files_done_, perform);
  }
  if (const int error = file_worker_->submit(op); error != 0) finish_file(op, -error);
}

void FdReactor::file_event(FileOp& op, const Completion& completion) {
  const bool interrupted = again(op, completion.result);
  if (interrupted && !OpAccess::cancelled(op)) return submit(*poller_->ring(), op);
  OpAccess::armed(op) = false;
  finish_file(op, interrupted ? -ECANCELED : completion.result);
}

void FdReactor::collect_files() {
  file_worker_->take(ended_.files);
}

void FdReactor::finish_file(FileOp& op, std::int64_t result) {
  OpAccess::word(op) = static_cast<std::uint64_t>(result);
  ended_.files.push_back(op);
}

void FdReactor::cancel(FileOp& op) {
  if (!op.started() || OpAccess::cancelled(op)) return;
  if (file_worker_ != nullptr) {
    if (!file_worker_->withdraw(op)) return;
    OpAccess::cancelled(op) = true;
    finish_file(op, -ECANCELED);
  } else if (OpAccess::armed(op)) {
    OpAccess::cancelled(op) = true;
    poller_->cancel(user_data(Tag::file, &op));
  }
  touch();
}

}  // namespace berth::inline v0::io
