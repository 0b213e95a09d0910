// server/sessions/event_stream.h — one client's place in one session's log: a cursor, not a queue.
#pragma once

#include <berth/server/sessions/session.h>
#include <berth/server/sessions/sse_writer.h>

#include <memory>
#include <string>
#include <vector>

namespace berth::server {

/// Writes a session's log to a socket as server-sent events: what is old from the store, what is
/// new from the tail, all that became visible together in one write.
class EventStream final : public SseWriter, private LogReader {
 public:
  EventStream(SessionContext& context, Session& session, io::Outlet& outlet, std::uint64_t after,
              StreamOptions options, StreamStats& stats);

 private:
  void on_log_grew() override { pump(); }
  bool has_all() const override;
  void begin() override { session_.add_reader(*this); }
  void leave() override { LogReader::unlink(); }
  void pump() override;
  void release() override;
  std::string place() const override;
  bool gather_from_tail();
  void take(std::string_view part);
  void reset_to(std::uint64_t first_seq);
  Task<void> load_page();

  Session& session_;
  std::uint64_t cursor_;  // the last event that was handed to the socket
  StreamOptions options_;
  std::vector<std::shared_ptr<const EventRun>> held_;  // what the parts point into
  std::string page_;                                   // or that
  std::string chosen_;                                 // or that, when not all types are wanted
  std::size_t bytes_ = 0;                              // of the parts
  bool last_ = false;
};

}  // namespace berth::server
