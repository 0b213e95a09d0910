// server/sessions/event_stream.h — one client's place in one session's log: a cursor, not a queue.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/stop.h>
#include <berth/core/sync.h>
#include <berth/io/port.h>
#include <berth/io/reactor.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/session.h>

#include <memory>
#include <string>
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

/// Writes a session's log to a socket as server-sent events: what is old from the store, what is
/// new from the tail, all that became visible together in one write. One write is in flight at a
/// time, so a client that reads slowly costs this object and nothing that grows. Lives inside
/// run().
class EventStream final : private LogReader, private io::WriteOp, private StopListener {
 public:
  EventStream(SessionContext& context, Session& session, io::Outlet& outlet, std::uint64_t after,
              bool until_turn_end, StreamStats& stats);

  /// Runs until the client is gone or stuck, the turn has ended (if asked for), or the store fails.
  Task<void> run(StopToken gone);

 private:
  class Tick final : public io::TimerOp {
   public:
    explicit Tick(EventStream& owner) : owner_(owner) {}
    void on_timer() override { owner_.on_tick(); }

   private:
    EventStream& owner_;
  };
  enum class End : std::uint8_t { none, client_gone, stalled, finished, failed };

  void on_log_grew() override { pump(); }
  bool has_all() const override;
  void on_written(int error) override;
  void on_stop() override { finish(End::client_gone); }
  void on_tick();
  void pump();
  bool gather_from_tail();
  void add_part(std::string_view bytes);
  std::string_view cut_at_turn_end(std::string_view part);
  Task<void> load_page();
  void start_write();
  void finish(End end);

  SessionContext& context_;
  Session& session_;
  io::Outlet& outlet_;
  std::uint64_t cursor_;  // the last event that was handed to the socket
  bool until_turn_end_;
  StreamStats& stats_;
  std::vector<iovec> iovecs_;
  std::vector<std::shared_ptr<const EventRun>> held_;  // what iovecs_ points into
  std::string page_;                                   // or that
  bool loading_ = false;
  bool last_write_ = false;
  End end_ = End::none;
  TimePoint last_progress_;
  std::size_t written_before_ = 0;
  Tick tick_{*this};
  Event done_;
  Scope scope_;
};

}  // namespace berth::server
