// io/reactor.h — one shard's event loop: the interface that the engines (uring, asio, sim)
// implement.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/executor.h>
#include <berth/core/result.h>

#include <sys/uio.h>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace berth::inline v0::io {

/// An open pipe, socket or process handle of one engine: a file descriptor for `uring`, a slot of
/// the machine for `sim`. Closed by Reactor::close, once, by its owner.
using Handle = int;
inline constexpr Handle kNoHandle = -1;

/// Bytes that a read callback may touch behind the bytes it was given (simdjson reads past the end
/// of a line).
inline constexpr std::size_t kReadPadding = 64;

class Reactor;

/// Base of all operations: intrusive, owned by the caller, who keeps it alive and in place until
/// its last callback. An engine keeps what it needs about an operation in these words, so that
/// starting one never allocates. (Its alignment leaves four bits of its address for the kind.)
class alignas(16) Op : public ListNode {
 public:
  bool started() const { return started_; }

 protected:
  ~Op() { BERTH_ASSERT(!started_); }

 private:
  friend class OpAccess;
  bool started_ = false;
  bool cancelled_ = false;
  bool paused_ = false;
  bool armed_ = false;  // the engine waits for the kernel (or the simulated world) on its behalf
  std::uint64_t engine_word_ = 0;  // free for the engine
};

/// For engines only: the door to an operation's engine state.
class OpAccess {
 public:
  static bool& started(Op& op) { return op.started_; }
  static bool& cancelled(Op& op) { return op.cancelled_; }
  static bool& paused(Op& op) { return op.paused_; }
  static bool& armed(Op& op) { return op.armed_; }
  static std::uint64_t& word(Op& op) { return op.engine_word_; }
};

/// Reads a pipe or a stream socket until it ends. Cancellation: total (bytes read before are
/// delivered before).
class ReadOp : public Op {
 public:
  /// How the bytes come, where the engine has the choice (only `uring` has); the promises are the
  /// same.
  enum class Way : std::uint8_t {
    readiness,  ///< Wait, then read(2): best on pipes.
    buffers,    ///< Sockets only: the kernel receives into buffers that it was given before.
  };

  Handle handle = kNoHandle;
  Way way = Way::readiness;
  /// Most bytes delivered in one turn of the loop, so that one loud writer cannot delay the others.
  std::size_t turn_budget = 64 * 1024;

  /// The next bytes. They live in the reactor's hot segment until this returns; kReadPadding bytes
  /// behind them are readable. The callee may overwrite them. It may pause or cancel this
  /// operation, and start others.
  virtual void on_read(std::span<char> bytes) = 0;
  /// Called once, last: 0 is end of stream, ECANCELED after cancel(), else the errno of the
  /// failure.
  virtual void on_read_end(int error) = 0;
};

/// Writes some spans in order. Cancellation: partial (`bytes` says how many the kernel took).
class WriteOp : public Op {
 public:
  Handle handle = kNoHandle;
  /// What to write; array and bytes belong to the caller and stay unchanged until on_written. The
  /// engine advances `parts` over what is written, the iovecs themselves included.
  std::span<iovec> parts;
  std::size_t written = 0;

  /// Called once: all bytes were taken (error 0), or `written` of them before `error` (an errno,
  /// ECANCELED).
  virtual void on_written(int error) = 0;
};

/// Accepts connections until cancelled. Cancellation: total.
class AcceptOp : public Op {
 public:
  Handle listener = kNoHandle;
  /// A new connection, non-blocking, now the callee's to close.
  virtual void on_accept(Handle connection) = 0;
  /// Called once, last; ECANCELED after cancel(), else why accepting stopped. EMFILE and such are
  /// not the end: the engine waits and goes on.
  virtual void on_accept_end(int error) = 0;
};

/// Waits once until a handle is readable (a pidfd: the process ended). Cancellation: total.
class PollOp : public Op {
 public:
  Handle handle = kNoHandle;
  /// Called once; 0 when ready, ECANCELED after cancel().
  virtual void on_ready(int error) = 0;
};

/// Where to listen or connect: `127.0.0.1:8420`, `[::1]:0` or `unix:/path`.
struct Address {
  std::string text;
};

/// Makes one connection (dial.h tries several addresses). Cancellation: total (a connection that
/// won the race is delivered).
class ConnectOp : public Op {
 public:
  Address address;

  /// Called once: error 0 and a connection, non-blocking, now the callee's to close; or kNoHandle
  /// and an errno (EINVAL: the address cannot be read, ECANCELED).
  virtual void on_connected(Handle connection, int error) = 0;
};

/// Waits until a child of this very process has ended, and does not reap it (the status stays for
/// waitid or wait4). Costs no descriptor on `uring`. Cancellation: total.
class WaitOp : public Op {
 public:
  int pid = 0;

  /// Called once: 0 when it has ended, ECHILD when it is no child of ours (any more), ECANCELED.
  virtual void on_ended(int error) = 0;
};

/// One step with a file: io_uring where there is one, else a thread that may block; the reactor
/// goes on meanwhile. Paths, bytes and the operation stay until on_file. Cancellation: terminal (a
/// step that has begun ends as it ends; its result says what happened).
class FileOp : public Op {
 public:
  enum class Kind : std::uint8_t { open, read, write, fsync, fdatasync, rename, unlink, close };
  Kind kind = Kind::open;
  Handle file = kNoHandle;         ///< All but open, rename and unlink.
  const char* path = nullptr;      ///< open, rename and unlink; absolute.
  const char* new_path = nullptr;  ///< rename: what it is called afterwards.
  int flags = 0;                   ///< open: as open(2); O_CLOEXEC is added.
  unsigned mode = 0600;            ///< open with O_CREAT.
  std::span<char> into;            ///< read: where the bytes go.
  std::span<const char> from;      ///< write: what to write.
  std::uint64_t offset = 0;        ///< read and write: bytes from the start of the file.

  /// Called once: the new handle (open), how many bytes (read: 0 is the end of the file; write: may
  /// be less than asked), else 0; or minus an errno (-ECANCELED: it was never begun).
  virtual void on_file(std::int64_t result) = 0;
};

/// Fires once at a time. disarm() is immediate: no callback follows it.
class TimerOp : public Op {
 public:
  virtual void on_timer() = 0;
};

/// Called at the end of each turn of the loop in which anything ran: the place to send what the
/// turn gathered.
class TurnHook : public ListNode {
 public:
  virtual void on_turn_end() = 0;

 protected:
  ~TurnHook() = default;
};

/// One thread's loop. Everything is called on its thread but post_remote() and stop(). It belongs
/// to the thread of the first run() or poll(); before that, to whoever made it.
///
/// Callbacks are never run inside the call that starts an operation: completions are collected,
/// then run.
class Reactor : public Executor {
 public:
  /// Read once a turn: within a turn time stands still.
  virtual Clock& clock() = 0;

  /// Begins an operation, inside of callbacks too. Its fields stay as they are until its last
  /// callback, which also tells every failure. Not while it is started.
  virtual void start(ReadOp& op) = 0;
  virtual void start(WriteOp& op) = 0;
  virtual void start(AcceptOp& op) = 0;
  virtual void start(PollOp& op) = 0;
  virtual void start(ConnectOp& op) = 0;
  virtual void start(WaitOp& op) = 0;
  virtual void start(FileOp& op) = 0;
  /// Fires `op` at `when` or at the next turn if that is past. Re-arming an armed timer moves it.
  virtual void arm(TimerOp& op, TimePoint when) = 0;
  virtual void disarm(TimerOp& op) = 0;

  /// Stops delivering to `op` until resume(); what the kernel holds stays there (the writer feels
  /// it).
  virtual void pause(ReadOp& op) = 0;
  virtual void resume(ReadOp& op) = 0;

  /// Asks for the end of an operation that was started. Its last callback comes later, exactly
  /// once, after the last completion of the kernel for it; data that won the race is delivered
  /// first. Asking twice is asking once.
  virtual void cancel(ReadOp& op) = 0;
  virtual void cancel(WriteOp& op) = 0;
  virtual void cancel(AcceptOp& op) = 0;
  virtual void cancel(PollOp& op) = 0;
  virtual void cancel(ConnectOp& op) = 0;
  virtual void cancel(WaitOp& op) = 0;
  virtual void cancel(FileOp& op) = 0;

  /// Closes a handle on which no operation is started.
  virtual void close(Handle handle) = 0;
  /// Half-close: the peer reads end of stream. Sockets only; errors are of no interest to anybody.
  virtual void shutdown_write(Handle handle) = 0;

  /// A listener, the caller's to close. Errors: `invalid` (the address cannot be read), `conflict`
  /// ("address_in_use"), `denied`, `overloaded` (no descriptor is free).
  virtual Result<Handle> listen(const Address& address) = 0;
  /// The address that a listener really has (port 0 resolved), or the peer's text for a connection.
  /// Errors: those of the errno (ENOTSOCK, ...).
  virtual Result<Address> local_address(Handle handle) = 0;
  /// Takes over a descriptor of this process (stdin, an inherited socket): makes it non-blocking.
  /// After an error it is still the caller's.
  virtual Result<Handle> adopt(int fd) = 0;

  /// `hook` is called from now on, in the order of adding, until it is unlinked or destroyed.
  virtual void add_turn_hook(TurnHook& hook) = 0;

  /// Like post(), from any thread; the only other entry that is thread-safe besides stop().
  virtual void post_remote(Runnable& runnable) = 0;
  /// The same for a caller on the thread of `sender`, another reactor: between two `uring` engines
  /// the wake-up then travels with what the sender submits anyway.
  virtual void post_from(Reactor& sender, Runnable& runnable) = 0;
  /// Gives an open handle, on which nothing is started, to another reactor of the same engine;
  /// returns what it is called there. On the thread of either, while the other does not use it.
  virtual Handle hand_over(Handle handle, Reactor& to) = 0;

  /// Runs until stop(). `poll()` runs one turn without waiting and says whether anything happened.
  virtual void run() = 0;
  virtual bool poll() = 0;
  /// From any thread: run() returns when the turn under way is over, or, if nobody runs it now, the
  /// next run() returns at once. Ends no operation.
  virtual void stop() = 0;

  /// For a loop of somebody else's, who then calls poll(): a descriptor that is readable when there
  /// is something to run, and when the next turn is due without it (nullopt: never; now or earlier:
  /// at once). Ask for the deadline again after each poll() and after each start from outside of
  /// it. kNoHandle where there is none (`sim`).
  virtual int wait_fd() = 0;
  virtual std::optional<TimePoint> next_deadline() = 0;

  /// "uring", "asio", "sim": for logs and `berth doctor`.
  virtual std::string_view engine_name() const = 0;
};

}  // namespace berth::inline v0::io
