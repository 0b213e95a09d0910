// io/sse_stream.h — the server's side of one client's event stream: events, signs of life, retry.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/sse.h>
#include <berth/core/stop.h>
#include <berth/core/sync.h>
#include <berth/core/task.h>
#include <berth/io/http_server.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace berth::inline v0::io {

struct SseStreamOptions {
  Duration heartbeat = std::chrono::seconds(15);  ///< A comment after so long a silence.
  Duration stall_max = std::chrono::seconds(30);  ///< A client that takes nothing for so long ends.
  /// What the client is told to wait before it connects again.
  std::optional<std::chrono::milliseconds> retry;
};

/// Answers a request with an event stream; for handlers of HttpServer. Used by the one coroutine
/// that is the handler, and lives in its frame. One write is in flight at a time, so send() is
/// where a slow client is felt. Await close() before the handler returns.
class SseStream final : private WriteOp, private TimerOp, private StopListener {
 public:
  explicit SseStream(Reactor& reactor, HttpExchange& exchange, SseStreamOptions options = {})
      : reactor_(reactor), exchange_(exchange), options_(options), written_(reactor) {}
  ~SseStream() { BERTH_ASSERT(!WriteOp::started() && !TimerOp::started()); }

  /// Sends the head of the answer. Errors: `unavailable` when the client is gone, `cancelled` for
  /// HEAD; then nothing may be sent.
  Task<Result<void>> start();

  /// Returns when the kernel has taken the event. Errors: `invalid` (see append_sse_message; the
  /// stream goes on), `unavailable` (the client is gone, or the server stops), `timed_out` (it
  /// takes nothing for stall_max).
  Task<Result<void>> send(SseMessage message);
  Task<Result<void>> comment(std::string_view text);

  /// Where the client is: what it sent as Last-Event-ID, empty for a new one.
  std::string_view last_event_id() const { return exchange_.request().header("last-event-id"); }

  /// Ends what is in flight. Idempotent.
  Task<void> close();

 private:
  void on_written(int error) override;
  void on_timer() override;
  void on_stop() override;
  void begin();
  Task<Result<void>> write_out();
  Result<void> outcome() const;

  Reactor& reactor_;
  HttpExchange& exchange_;
  SseStreamOptions options_;
  Event written_;
  std::string out_;
  iovec part_ = {};
  std::size_t written_before_ = 0;
  TimePoint last_progress_ = {};
  int error_ = 0;
  bool started_ = false;
  bool stalled_ = false;
  bool gone_ = false;
};

}  // namespace berth::inline v0::io
