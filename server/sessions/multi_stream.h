// server/sessions/multi_stream.h — one client's places in the logs of several sessions, in one
// stream.
#pragma once

#include <berth/server/sessions/directory.h>
#include <berth/server/sessions/session.h>
#include <berth/server/sessions/sse_writer.h>
#include <berth/server/sessions/stream_cursor.h>

#include <memory>
#include <string>
#include <vector>

namespace berth::server {

/// A session that a stream shall follow from its start on, or one that cannot be.
struct StreamMember {
  SessionUse session;
  std::uint64_t after = 0;
};

/// Writes events of all members in turn: each as in its session's own stream, with "session" in
/// front of its data and the places in all of them as its id. What a slow reader costs is a cursor
/// for each member.
class MultiStream final : public SseWriter, private FeedWatcher {
 public:
  /// With `join_new` sessions of `project` that are opened later become members, up to
  /// SessionLimits::stream_sessions_max; sessions up to `known` are none of those.
  MultiStream(SessionContext& context, io::Outlet& outlet, StreamOptions options,
              StreamStats& stats, std::string project, bool join_new, SessionNo known);
  ~MultiStream();

  // Before run():
  void add(StreamMember member);
  void add(const StreamReset& reset) { resets_.push_back(reset); }
  std::size_t size() const { return members_.size(); }

 private:
  struct Member final : LogReader {
    Member(MultiStream& stream, StreamMember start)
        : owner(stream), session(std::move(start.session)), cursor(start.after) {}
    void on_log_grew() override { owner.pump(); }
    bool has_all() const override;

    MultiStream& owner;
    SessionUse session;
    std::uint64_t cursor;
  };

  void begin() override;
  void leave() override;
  void pump() override;
  void release() override;
  std::string place() const override;
  void on_feed_grew() override;
  void write_opened();
  void write_resets();
  void reset_to(Member& member, std::uint64_t first_seq);
  bool gather_from_tail(Member& member);
  void take(Member& member, std::string_view frames);
  Task<void> load_page(Member* member);

  StreamOptions options_;
  std::string project_;
  bool join_new_;
  StreamCursor cursor_;
  std::vector<std::unique_ptr<Member>> members_;
  std::size_t next_ = 0;  // whose turn it is
  bool greeted_ = false;
  std::vector<StreamReset> resets_;
  std::string text_;  // of the write that is gathered or in flight
};

}  // namespace berth::server
