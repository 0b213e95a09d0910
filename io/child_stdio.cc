#include <berth/io/child_stdio.h>

#include <fcntl.h>

#include <cerrno>
#include <utility>

namespace berth::io {

ChildStdio::~ChildStdio() {
  for (const Handle handle : handles_) {
    if (handle != kNoHandle) reactor_.close(handle);
  }
}

Result<void> ChildStdio::open() {
  for (std::size_t i = 0; i < 3; ++i) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error(errno, "no pipe for a process"));
    const bool we_write = i == 0;
    Fd ours(we_write ? ends[1] : ends[0]);
    theirs_[i].reset(we_write ? ends[0] : ends[1]);
    Result<Handle> handle = reactor_.adopt(ours.get());
    if (!handle.has_value()) return fail(std::move(handle.error()));
    ours.release();
    handles_[i] = *handle;
  }
  return {};
}

void ChildStdio::close_theirs() {
  for (Fd& end : theirs_) end.reset();
}

void ChildStdio::give_to(Process& process) {
  process.stdin_handle = std::exchange(handles_[0], kNoHandle);
  process.stdout_handle = std::exchange(handles_[1], kNoHandle);
  process.stderr_handle = std::exchange(handles_[2], kNoHandle);
}

}  // namespace berth::io
