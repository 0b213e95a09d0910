#include <berth/io/child_stdio.h>

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace berth::inline v0::io {

ChildStdio::~ChildStdio() {
  for (const Handle handle : handles_) {
    if (handle != kNoHandle) reactor_.close(handle);
  }
}

Result<void> ChildStdio::open(StdioMode mode) {
  Result<void> done = mode == StdioMode::two_handles ? open_socket() : open_pipe(0);
  if (done.has_value()) done = open_pipe(1);
  if (done.has_value() && mode == StdioMode::pipes) done = open_pipe(2);
  return done;
}

Result<void> ChildStdio::take(std::size_t index, Fd ours, Fd theirs) {
  theirs_[index] = std::move(theirs);
  Result<Handle> handle = reactor_.adopt(ours.get());
  if (!handle.has_value()) return fail(std::move(handle.error()));
  ours.release();
  handles_[index] = *handle;
  return {};
}

Result<void> ChildStdio::open_pipe(std::size_t index) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error(errno, "no pipe for a process"));
  const bool we_write = index == 0;
  return take(index, Fd(ends[we_write ? 1 : 0]), Fd(ends[we_write ? 0 : 1]));
}

Result<void> ChildStdio::open_socket() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail(errno_error(errno, "no socket for a process"));
  }
  return take(0, Fd(ends[0]), Fd(ends[1]));
}

void ChildStdio::close_theirs() {
  for (Fd& end : theirs_) end.reset();
}

void ChildStdio::give_to(Process& process) {
  process.stdin_handle = std::exchange(handles_[0], kNoHandle);
  process.stdout_handle = std::exchange(handles_[1], kNoHandle);
  process.stderr_handle = std::exchange(handles_[2], kNoHandle);
  if (process.stderr_handle == kNoHandle) process.stderr_handle = process.stdin_handle;
}

}  // namespace berth::inline v0::io
