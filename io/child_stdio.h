// io/child_stdio.h — the ends of a child's stdin, stdout and stderr: ours and its own.
#pragma once

#include <berth/core/result.h>
#include <berth/io/fd.h>
#include <berth/io/process_host.h>

#include <array>
#include <cstddef>

namespace berth::inline v0::io {

struct PipeEnds {
  Fd read;
  Fd write;
};

/// Both blocking; neither goes on to a child. Error `overloaded` without descriptors.
Result<PipeEnds> make_child_pipe();

/// How many bytes a pipe holds now.
std::size_t bytes_in_pipe(int read_end);

/// The pipes of stdin and stdout; stderr is the host's. What is not taken over closes by itself.
/// `reactor` outlives it; used on its thread.
class ChildStdio {
 public:
  explicit ChildStdio(Reactor& reactor) : reactor_(reactor) {}
  ChildStdio(const ChildStdio&) = delete;
  ChildStdio& operator=(const ChildStdio&) = delete;
  ~ChildStdio();

  /// Error `overloaded` without descriptors.
  Result<void> open();
  /// The child's ends, blocking; closed with this object.
  std::array<int, 2> theirs() const { return {theirs_[0].get(), theirs_[1].get()}; }
  /// Once the child has its own.
  void close_theirs();
  void give_to(Process& process);

 private:
  Result<void> take(std::size_t index, Fd ours, Fd theirs);

  Reactor& reactor_;
  std::array<Handle, 2> handles_ = {kNoHandle, kNoHandle};
  std::array<Fd, 2> theirs_;
};

}  // namespace berth::inline v0::io
