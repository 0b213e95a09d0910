// server/sessions/watch_stream.h — how all sessions of a project stand, as a stream: for lists that
// people look at.
#pragma once

#include <berth/io/member_timer.h>
#include <berth/server/sessions/directory.h>
#include <berth/server/sessions/sse_writer.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// A session as rows_json.h shows it in lists.
std::string session_summary_of(const Session& session);

/// First how the sessions stand (unless the client goes on from where it was), then what changed,
/// no more often than each SessionLimits::watch_interval and then only what is so in the end: a
/// slow reader misses steps in between, and costs one number.
///
/// Events: `reset` (forget what you know), `session` (one, new or changed), `ready` (all that there
/// was has been told). The id is the owner's epoch and the feed's version: good as long as this
/// server runs.
class WatchStream final : public SseWriter, private FeedWatcher {
 public:
  /// `cursor`: the last id that the client knows, or anything else.
  WatchStream(SessionContext& context, Directory& directory, io::Outlet& outlet,
              bool heartbeat_events, StreamStats& stats, std::string project, bool archived,
              std::string_view cursor);

 private:
  void begin() override;
  void leave() override;
  void pump() override;
  void release() override { text_.clear(); }
  std::string place() const override { return "all sessions"; }
  void on_feed_grew() override;
  bool go_on_from(std::string_view cursor);
  void arm();
  void add_event(std::string_view type, std::string_view data);
  void add_id();
  Task<void> load_list();
  Task<void> load_changes();
  void send_what_is_committed(const Result<void>& committed);

  Directory& directory_;
  std::string project_;
  bool archived_;
  bool listed_ = false;  // what there was has been told
  SessionNo list_before_ = 0;
  TimePoint sent_at_{};
  std::string text_;
  io::MemberTimer<&WatchStream::pump> pause_{*this};
};

}  // namespace berth::server
