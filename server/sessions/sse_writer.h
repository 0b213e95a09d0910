// server/sessions/sse_writer.h — the writing half of every stream: one write in flight, heartbeats,
// and the end of readers that are stuck.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/stop.h>
#include <berth/core/sync.h>
#include <berth/io/member_timer.h>
#include <berth/io/port.h>
#include <berth/io/reactor.h>
#include <berth/server/sessions/context.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// Why streams ended, for metrics and logs.
struct StreamStats {
  std::size_t open = 0;
  std::uint64_t client_gone = 0;
  std::uint64_t stalled = 0;
  std::uint64_t finished = 0;
  std::uint64_t failed = 0;
};

/// "Read this session anew": what a client has of it may have gaps.
struct StreamReset {
  std::string session;
  std::string reason;
  std::uint64_t after = 0;  ///< The stream goes on behind this event; 0 if it does not.
};

/// As an event of the stream's own, after which a client that comes back says `id`.
void append_reset(std::string& out, std::string_view id, const StreamReset& reset);

/// What a client may ask of any stream.
struct StreamOptions {
  bool heartbeat_events = false;   ///< `event: heartbeat`, which code in browsers sees.
  bool until_turn_end = false;     ///< The first ending of a turn is the last event.
  std::vector<std::string> types;  ///< Only events of these types; empty = all.

  bool wants(std::string_view type) const;
};

/// Server-sent events to one client. One write is in flight at a time, so a client that reads
/// slowly costs this object and nothing that grows. Lives inside run().
class SseWriter : private io::WriteOp, private StopListener {
 public:
  /// Runs until the client is gone or stuck, or finish() was called.
  Task<void> run(StopToken gone);

 protected:
  enum class End : std::uint8_t { none, client_gone, stalled, finished, failed };

  SseWriter(SessionContext& context, io::Outlet& outlet, bool heartbeat_events, StreamStats& stats);
  ~SseWriter() = default;

  /// Registers with what is followed. The greeting is on its way.
  virtual void begin() = 0;
  /// The same undone; may be called twice.
  virtual void leave() = 0;
  /// Writes what there is now, if ready(). Called whenever a write has ended; derived classes call
  /// it when there is more.
  virtual void pump() = 0;
  /// What was handed to send() is through, or will never be: spans may go.
  virtual void release() = 0;
  /// For the log.
  virtual std::string place() const = 0;

  /// Nothing is being written or loaded, and the stream goes on.
  bool ready() const { return !writing() && !loading_ && end_ == End::none; }
  bool writing() const { return WriteOp::started(); }
  bool ended() const { return end_ != End::none; }
  bool loading() const { return loading_; }

  /// Spans of the next write; what they point into stays until release().
  void add_part(std::string_view bytes);
  std::size_t part_count() const { return iovecs_.size(); }
  /// Writes the spans. With `last` the stream is finished after it. Only when ready().
  void send(bool last = false);
  /// Runs `task` while nothing else is written; it calls loaded() at its end.
  void load(Task<void> task);
  void loaded() { loading_ = false; }
  void finish(End end);

  SessionContext& context_;

 private:
  void on_written(int error) override;
  void on_stop() override { finish(End::client_gone); }
  void on_tick();
  void count_end();

  io::Outlet& outlet_;
  std::string_view heartbeat_;
  StreamStats& stats_;
  std::vector<iovec> iovecs_;
  bool loading_ = false;
  bool last_write_ = false;
  End end_ = End::none;
  TimePoint last_progress_;
  std::size_t written_before_ = 0;
  io::MemberTimer<&SseWriter::on_tick> tick_{*this};
  Event done_;
  Scope scope_;
};

}  // namespace berth::server
