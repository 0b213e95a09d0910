#include <berth/io/child_stdio.h>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace berth::inline v0::io {

Result<PipeEnds> make_child_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error(errno, "no pipe for a process"));
  return PipeEnds{Fd(ends[0]), Fd(ends[1])};
}

std::size_t bytes_in_pipe(int read_end) {
  int count = 0;
  return ::ioctl(read_end, FIONREAD, &count) == 0 ? static_cast<std::size_t>(count) : 0;
}

ChildStdio::~ChildStdio() {
  for (const Handle handle : handles_) {
    if (handle != kNoHandle) reactor_.close(handle);
  }
}

Result<void> ChildStdio::open() {
  Result<PipeEnds> in = make_child_pipe();
  if (!in.has_value()) return fail(std::move(in.error()));
  Result<void> taken = take(0, std::move(in->write), std::move(in->read));
  if (!taken.has_value()) return taken;
  Result<PipeEnds> out = make_child_pipe();
  if (!out.has_value()) return fail(std::move(out.error()));
  return take(1, std::move(out->read), std::move(out->write));
}

Result<void> ChildStdio::take(std::size_t index, Fd ours, Fd theirs) {
  theirs_[index] = std::move(theirs);
  Result<Handle> handle = reactor_.adopt(ours.get());
  if (!handle.has_value()) return fail(std::move(handle.error()));
  ours.release();
  handles_[index] = *handle;
  return {};
}

void ChildStdio::close_theirs() {
  for (Fd& end : theirs_) end.reset();
}

void ChildStdio::give_to(Process& process) {
  process.stdin_handle = std::exchange(handles_[0], kNoHandle);
  process.stdout_handle = std::exchange(handles_[1], kNoHandle);
}

}  // namespace berth::inline v0::io
