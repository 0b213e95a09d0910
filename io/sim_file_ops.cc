// Steps with the files of a simulated disk.
#include <berth/io/sim_reactor.h>

#include <fcntl.h>
#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

void SimReactor::start(FileOp& op) {
  const bool by_path = op.kind == FileOp::Kind::open || op.kind == FileOp::Kind::rename ||
                       op.kind == FileOp::Kind::unlink;
  Started started{Kind::file, &op, by_path ? kNoHandle : op.file};
  started.due = machine_.now() + machine_.pick_delay(kSimDelayMost);
  add(started);
}

/// In two turns: the step begins, then its result comes. What it does to the disk happens in either
/// of them, so that a crash between the two may or may not find it done.
void SimReactor::perform_file(Started& started) {
  FileOp& op = *static_cast<FileOp*>(started.op);
  if (frozen_) return end_file(op, -ECANCELED);
  if (!started.begun) {
    if (cancel_wins(op, started.due <= machine_.now())) return end_file(op, -ECANCELED);
    if (machine_.roll(Fault::interrupted)) return;
    started.begun = true;
    started.due = machine_.now() + machine_.pick_delay(kSimDelayMost);
    // What is read is read last: whoever frees its buffer too early must not get away with it.
    started.done = op.kind != FileOp::Kind::read && machine_.random().one_in(2);
    if (started.done) started.result = file_step(op);
    return;
  }
  const std::int64_t result = started.done ? started.result : file_step(op);
  end_file(op, result);
}

void SimReactor::end_file(FileOp& op, std::int64_t result) {
  machine_.note("file", {static_cast<std::int64_t>(id_), static_cast<std::int64_t>(op.kind),
                         op.file, result});
  finish(op);
  if (op.kind == FileOp::Kind::close && result == 0) close(op.file);
  op.on_file(result);
}

std::int64_t SimReactor::file_step(FileOp& op) {
  SimDisk& disk = machine_.disk();
  switch (op.kind) {
    case FileOp::Kind::open:
      return open_file(op);
    case FileOp::Kind::rename:
      if (machine_.roll(Fault::disk_full)) return -ENOSPC;
      return -disk.rename(op.path, op.new_path);
    case FileOp::Kind::unlink:
      return -disk.unlink(op.path);
    case FileOp::Kind::read:
      return read_file(op, endpoints_.at(op.file));
    case FileOp::Kind::write:
      return write_file(op, endpoints_.at(op.file));
    case FileOp::Kind::fsync:
    case FileOp::Kind::fdatasync:
      return endpoints_.at(op.file).kind == SimEndpoint::Kind::file ? 0 : -EINVAL;
    case FileOp::Kind::close:
      BERTH_ASSERT(endpoints_.at(op.file).operations == 1);  // others are started on it
      return 0;
  }
  return -EINVAL;
}

std::int64_t SimReactor::open_file(const FileOp& op) {
  if (machine_.roll(Fault::no_descriptor)) return -EMFILE;
  if ((op.flags & O_CREAT) != 0 && machine_.roll(Fault::disk_full)) return -ENOSPC;
  SimEndpoint endpoint;
  endpoint.kind = SimEndpoint::Kind::file;
  endpoint.address = op.path;
  endpoint.flags = op.flags;
  const int error = machine_.disk().open(op.path, op.flags, op.mode, endpoint.file);
  if (error != 0) return -error;
  return own(std::move(endpoint));
}

std::int64_t SimReactor::read_file(const FileOp& op, const SimEndpoint& endpoint) {
  if (endpoint.kind != SimEndpoint::Kind::file) return -ESPIPE;
  if ((endpoint.flags & O_ACCMODE) == O_WRONLY) return -EBADF;
  if (endpoint.file->folder) return -EISDIR;
  const std::string& content = endpoint.file->content;
  if (op.offset >= content.size()) return 0;
  std::size_t count = std::min(op.into.size(), content.size() - op.offset);
  if (count > 1 && machine_.roll(Fault::short_read)) count = 1 + machine_.random().below(count);
  content.copy(op.into.data(), count, op.offset);
  return static_cast<std::int64_t>(count);
}

std::int64_t SimReactor::write_file(const FileOp& op, SimEndpoint& endpoint) {
  if (endpoint.kind != SimEndpoint::Kind::file) return -ESPIPE;
  if ((endpoint.flags & O_ACCMODE) == O_RDONLY) return -EBADF;
  if (machine_.roll(Fault::disk_full)) return -ENOSPC;
  std::string& content = endpoint.file->content;
  std::size_t count = op.from.size();
  if (count > 1 && machine_.roll(Fault::partial_write)) count = 1 + machine_.random().below(count);
  const bool appends = (endpoint.flags & O_APPEND) != 0;
  const std::size_t offset = appends ? content.size() : op.offset;
  if (content.size() < offset + count) content.resize(offset + count);
  content.replace(offset, count, op.from.data(), count);
  return static_cast<std::int64_t>(count);
}

}  // namespace berth::inline v0::io
