// io/child_stdio.h — the ends of a child's stdin, stdout and stderr: ours and its own.
#pragma once

#include <berth/core/result.h>
#include <berth/io/fd.h>
#include <berth/io/process_host.h>

#include <array>

namespace berth::inline v0::io {

/// What is not taken over closes by itself. `reactor` outlives it; used on its thread.
class ChildStdio {
 public:
  explicit ChildStdio(Reactor& reactor) : reactor_(reactor) {}
  ChildStdio(const ChildStdio&) = delete;
  ChildStdio& operator=(const ChildStdio&) = delete;
  ~ChildStdio();

  /// Error `overloaded` without descriptors.
  Result<void> open(StdioMode mode);
  /// The child's ends, blocking; closed with this object.
  std::array<int, 3> theirs() const {
    return {theirs_[0].get(), theirs_[1].get(), theirs_[theirs_[2].valid() ? 2 : 0].get()};
  }
  /// Once the child has its own.
  void close_theirs();
  void give_to(Process& process);

 private:
  Result<void> take(std::size_t index, Fd ours, Fd theirs);
  Result<void> open_pipe(std::size_t index);
  Result<void> open_socket();

  Reactor& reactor_;
  std::array<Handle, 3> handles_ = {kNoHandle, kNoHandle, kNoHandle};
  std::array<Fd, 3> theirs_;
};

}  // namespace berth::inline v0::io
