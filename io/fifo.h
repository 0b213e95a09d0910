// io/fifo.h — a named pipe that other programs write to: made, held open, and emptied into a file.
#pragma once

#include <berth/core/result.h>
#include <berth/io/fd.h>
#include <berth/io/reactor.h>

#include <cstdint>
#include <memory>
#include <string>

namespace berth::inline v0::io {

/// The reading end of a FIFO, with a writing end of our own: writers may come and go, and what they
/// wrote stays in the pipe. Single-threaded but for take(), which blocks on the file and is for an
/// offload lane; one call at a time.
class Fifo {
 public:
  /// Opens the FIFO at `path`, made with mode 0600 when absent. Errors: `invalid` ("not_a_fifo"),
  /// else those of the errno.
  static Result<std::unique_ptr<Fifo>> open(Reactor& reactor, const std::string& path);
  /// Puts a new FIFO in the place of the one at `path`, atomically. Who opens it for writing then
  /// waits until somebody reads; who had opened the old one is not disturbed.
  static Result<void> renew(const std::string& path);

  Fifo(const Fifo&) = delete;
  Fifo& operator=(const Fifo&) = delete;
  /// No operation is started on handle().
  ~Fifo();

  /// For a PollOp: readable when there is something to take.
  Handle handle() const { return handle_; }

  struct Taken {
    std::string text;  ///< What was moved, read back.
    /// Nobody has it open for writing, and it is empty. Never while we hold our own writing end.
    bool over = false;
  };
  /// Moves what is in the pipe now, up to about `bytes_max`, to `offset` of the file at `path`
  /// (made with mode 0600). The kernel moves it: a process that is killed in the middle leaves each
  /// byte in the pipe or in the file. Errors: those of the errno; then the file may hold more than
  /// was told.
  Result<Taken> take(const std::string& path, std::uint64_t offset, std::uint64_t bytes_max);
  /// Closes our writing end: once the writers are gone too, take() says that it is over.
  void let_writers_end() { writing_.reset(); }
  /// Opens our writing end if it is closed; right after open() it is.
  Result<void> hold();

 private:
  Fifo(Reactor& reactor, std::string path, Fd reading, Handle handle);

  Reactor& reactor_;
  std::string path_;
  Fd reading_;  // the same pipe as handle_, for splice(2)
  Fd writing_;
  Handle handle_;
};

}  // namespace berth::inline v0::io
