// io/http_socket.h — the bytes of one HTTP connection: bounded read-ahead that keeps watching, and
// writes that may not stall.
#pragma once

#include <berth/core/executor.h>
#include <berth/core/result.h>
#include <berth/core/stop.h>
#include <berth/core/sync.h>
#include <berth/core/task.h>
#include <berth/io/member_timer.h>
#include <berth/io/port.h>
#include <berth/io/reactor.h>

#include <array>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace berth::inline v0::io {

/// One connection of a server or a client, which it owns: a socket, or TLS over one. It reads all
/// the time, so that the peer's end is noticed while nobody waits for bytes. Used by one coroutine;
/// await close() before it is destroyed.
class HttpSocket {
 public:
  /// What ended a wait for more input.
  enum class Wake { input, ended, deadline, interrupted };

  /// Holds at most about `read_ahead_max` bytes (plus one turn's read) that nobody consumed.
  HttpSocket(Reactor& reactor, std::unique_ptr<Port> port, std::size_t read_ahead_max);
  ~HttpSocket();
  HttpSocket(const HttpSocket&) = delete;
  HttpSocket& operator=(const HttpSocket&) = delete;

  /// Begins to read. `on_end` (may be null) is asked to stop when the peer has ended or reset.
  void open(StopSource* on_end);
  /// For who writes by itself while no write() runs.
  Outlet& outlet() { return *port_; }

  /// The bytes that have come and were not consumed; valid until the next wait.
  std::string_view input() const { return std::string_view(input_).substr(consumed_); }
  void consume(std::size_t bytes);
  /// True when no more input will come; input() may hold the rest.
  bool ended() const { return ended_; }
  /// errno of the end, 0 for an orderly one.
  int end_error() const { return end_error_; }

  /// `co_await socket.more(deadline)`: waits until input() grew since the last wait, the peer
  /// ended, `deadline` came or interrupt() was called. Cancellation: total.
  class MoreAwaiter;
  MoreAwaiter more(TimePoint deadline = TimePoint::max());
  /// Ends the wait for more input, or the next one if nobody waits now.
  void interrupt();

  /// From now on drops what comes (and what is there), up to `bytes_max`; then the peer has to
  /// wait.
  void discard_input(std::size_t bytes_max);

  /// Writes all `parts`; the array and the bytes stay the caller's and unchanged until it returns.
  /// Errors: `timed_out` when the peer takes nothing for `stall_max`, `unavailable` when it has
  /// gone, `cancelled` after cancel_write().
  Task<Result<void>> write(std::span<iovec> parts, Duration stall_max);
  void cancel_write();
  /// Bytes that the kernel took in the last write().
  std::size_t written() const { return writing_.written; }
  void shutdown_write();

  /// Ends all operations, waits for their last completion and closes. Idempotent.
  Task<void> close();

 private:
  class Reading final : public ReadOp {
   public:
    explicit Reading(HttpSocket& socket) : socket_(socket) {}
    void on_read(std::span<char> bytes) override { socket_.keep(bytes); }
    void on_read_end(int error) override { socket_.read_ended(error); }

   private:
    HttpSocket& socket_;
  };
  class Writing final : public WriteOp {
   public:
    explicit Writing(HttpSocket& socket) : socket_(socket) {}
    void on_written(int error) override { socket_.write_ended(error); }

   private:
    HttpSocket& socket_;
  };
  struct WriteAwaiter {
    HttpSocket& socket;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) { socket.begin_write(handle); }
    int await_resume() const noexcept { return socket.write_error_; }
  };

  void keep(std::span<char> bytes);
  void read_ended(int error);
  void drop(std::size_t bytes);
  void pause_if_full();
  void resume_if_room();
  void wake_reader(Wake why);
  void on_deadline() { wake_reader(Wake::deadline); }
  void begin_write(std::coroutine_handle<> handle);
  void write_ended(int error);
  void check_write_progress();

  Reactor& reactor_;
  std::unique_ptr<Port> port_;
  StopSource* on_end_ = nullptr;
  Event changed_;  // an operation ended: close() looks again

  Reading reading_;
  MemberTimer<&HttpSocket::on_deadline> read_timer_;
  std::size_t read_ahead_max_;
  std::string input_;
  std::size_t consumed_ = 0;
  std::size_t discard_left_ = 0;
  std::coroutine_handle<> reader_;
  ResumeLater resume_reader_;
  Wake why_ = Wake::input;
  int end_error_ = 0;
  bool grown_ = false;
  bool ended_ = false;
  bool paused_ = false;
  bool discarding_ = false;
  bool interrupted_ = false;
  bool closed_ = false;

  Writing writing_;
  MemberTimer<&HttpSocket::check_write_progress> write_timer_;
  Duration stall_max_ = {};
  std::size_t written_before_ = 0;
  std::coroutine_handle<> writer_;
  int write_error_ = 0;
  bool write_stalled_ = false;
};

class HttpSocket::MoreAwaiter {
 public:
  MoreAwaiter(HttpSocket& socket, TimePoint deadline) : socket_(socket), deadline_(deadline) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle);
  Wake await_resume() const noexcept { return socket_.why_; }

 private:
  HttpSocket& socket_;
  TimePoint deadline_;
};

inline HttpSocket::MoreAwaiter HttpSocket::more(TimePoint deadline) {
  return MoreAwaiter(*this, deadline);
}

}  // namespace berth::inline v0::io
