// io/port.h — one connection's reads and writes as operations: of a socket, or of a stream (TLS) in
// its place.
#pragma once

#include <berth/core/task.h>
#include <berth/io/reactor.h>
#include <berth/io/stream.h>

#include <memory>

namespace berth::inline v0::io {

/// Performs WriteOps with the promises of Reactor::start; their `handle` is of no meaning. One at a
/// time. On the shard's thread.
class Outlet {
 public:
  virtual ~Outlet() = default;
  virtual void start(WriteOp& op) = 0;
  /// As Reactor::cancel; after it the outlet may be good for nothing any more.
  virtual void cancel(WriteOp& op) = 0;
};

/// Both directions of a connection, which it owns. Await close() before it is destroyed; no
/// operation may be started then.
class Port : public Outlet {
 public:
  using Outlet::cancel;
  using Outlet::start;
  /// As the same calls of Reactor. Once cancelled, reading is over for good.
  virtual void start(ReadOp& op) = 0;
  virtual void pause(ReadOp& op) = 0;
  virtual void resume(ReadOp& op) = 0;
  virtual void cancel(ReadOp& op) = 0;
  /// No more bytes from us. Not while a write runs.
  virtual void shutdown_write() = 0;
  virtual Task<void> close() = 0;
};

/// A socket: each call goes straight to the reactor, which outlives it.
std::unique_ptr<Port> make_handle_port(Reactor& reactor, Handle handle);

/// A stream that reads and writes for the operations. Small parts of a write are gathered into one;
/// `written` moves on when the stream has passed a piece on.
std::unique_ptr<Port> make_stream_port(Reactor& reactor, std::unique_ptr<ByteStream> stream);

}  // namespace berth::inline v0::io
