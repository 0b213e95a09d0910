// io/stream.h — a byte stream over a pipe, a socket or memory, for coroutines.
#pragma once

#include <berth/core/executor.h>
#include <berth/core/result.h>
#include <berth/core/task.h>
#include <berth/io/reactor.h>

#include <array>
#include <coroutine>
#include <memory>
#include <string>
#include <string_view>

namespace berth::inline v0::io {

/// One end of a connection. Owned by one coroutine on one shard; not thread-safe. Close it (and
/// await that) before it is destroyed: the kernel may still hold its buffers until then.
class ByteStream {
 public:
  virtual ~ByteStream() = default;

  /// `co_await stream.read()` -> Result<std::string_view>: the next bytes, valid until the next
  /// read; empty is the end of the stream and stays so. kReadPadding readable bytes follow. Errors:
  /// `unavailable` when the peer reset, `cancelled` after cancel_read(). Cancellation: total.
  class ReadAwaiter;
  ReadAwaiter read();

  /// `co_await stream.write(bytes)` -> Result<void>: returns when the kernel has taken all of them;
  /// `bytes` must stay until then. One write at a time. Cancellation: partial, and the stream is
  /// then only good for close().
  virtual Task<Result<void>> write(std::string_view bytes) = 0;

  /// Ends a pending read with `cancelled`; later reads too.
  virtual void cancel_read() = 0;
  /// Ends a running write with `cancelled`; the stream is then only good for close().
  virtual void cancel_write() = 0;
  /// No more bytes from us; the peer reads end of stream. Not while a write runs.
  virtual void shutdown_write() = 0;
  /// Ends all operations, waits for the kernel's last word on them and closes. Idempotent.
  virtual Task<void> close() = 0;

 protected:
  /// True when take_read() has an answer now.
  virtual bool read_ready() = 0;
  virtual void read_suspend(std::coroutine_handle<> handle) = 0;
  virtual Result<std::string_view> take_read() = 0;
};

class ByteStream::ReadAwaiter {
 public:
  explicit ReadAwaiter(ByteStream& stream) : stream_(stream) {}
  bool await_ready() const { return stream_.read_ready(); }
  void await_suspend(std::coroutine_handle<> handle) { stream_.read_suspend(handle); }
  Result<std::string_view> await_resume() { return stream_.take_read(); }

 private:
  ByteStream& stream_;
};

inline ByteStream::ReadAwaiter ByteStream::read() {
  return ReadAwaiter(*this);
}

/// A type of its own, so that a number is never taken for a handle.
struct StreamLimits {
  std::size_t inbox_max = 256 * 1024;  ///< Read ahead at most so much, then let the peer wait.
};

/// The stream over a reactor's handle, which it owns. Nothing is read before the first read().
std::unique_ptr<ByteStream> make_stream(Reactor& reactor, Handle handle, StreamLimits limits = {});

/// A stream that reads from one handle and writes to another (stdin and stdout of a program); owns
/// both.
std::unique_ptr<ByteStream> make_duplex_stream(Reactor& reactor, Handle read_handle,
                                               Handle write_handle, StreamLimits limits = {});

}  // namespace berth::inline v0::io
