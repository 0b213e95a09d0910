#include <berth/server/sessions/watch_stream.h>

#include <berth/server/sessions/rows_json.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace berth::server {

namespace {
constexpr int kListPage = 200;
}  // namespace

std::string session_summary_of(const Session& session) {
  return session_summary_json(session.row(), {session.first_seq(),
                                              session.visible_seq(),
                                              session.current_turn(),
                                              session.queue().size(),
                                              session.stalled(),
                                              session.questions().open_count(),
                                              {}});
}

WatchStream::WatchStream(SessionContext& context, Directory& directory, io::Outlet& outlet,
                         bool heartbeat_events, StreamStats& stats, std::string project,
                         bool archived, std::string_view cursor)
    : SseWriter(context, outlet, heartbeat_events, stats),
      directory_(directory),
      project_(std::move(project)),
      archived_(archived) {
  listed_ = go_on_from(cursor);
  if (!listed_) seen = context_.feed.version();
}

/// False when it is no id of this life of the server, or what came after it is not in memory.
bool WatchStream::go_on_from(std::string_view cursor) {
  const std::string life = std::to_string(context_.journal.epoch()) + "-";
  if (!cursor.starts_with(life)) return false;
  cursor.remove_prefix(life.size());
  const auto parsed = std::from_chars(cursor.data(), cursor.data() + cursor.size(), seen);
  return parsed.ec == std::errc() && parsed.ptr == cursor.data() + cursor.size() &&
         seen >= context_.feed.forgotten() && seen <= context_.feed.version();
}

void WatchStream::begin() {
  context_.feed.add(*this);
}

void WatchStream::leave() {
  FeedWatcher::unlink();
  context_.reactor().disarm(pause_);
}

/// Inside of a change: what comes of it is looked at later, together with what else changes.
void WatchStream::on_feed_grew() {
  if (ready() && listed_) arm();
}

void WatchStream::arm() {
  if (pause_.started()) return;
  const TimePoint now = context_.reactor().clock().now();
  context_.reactor().arm(pause_, std::max(now, sent_at_ + context_.limits.watch_interval));
}

void WatchStream::pump() {
  if (!ready()) return;
  if (!listed_) return load(load_list());
  if (seen >= context_.feed.version()) return;
  if (context_.reactor().clock().now() < sent_at_ + context_.limits.watch_interval) return arm();
  load(load_changes());
}

void WatchStream::add_event(std::string_view type, std::string_view data) {
  text_ += "event: ";
  text_ += type;
  text_ += "\ndata: ";
  text_ += data;
  text_ += "\n\n";
}

/// The next event completes what there is to tell up to `seen`. (The others have no id: who comes
/// back is told them again, which changes nothing.)
void WatchStream::add_id() {
  text_ += "id: " + std::to_string(context_.journal.epoch()) + "-" + std::to_string(seen) + "\n";
}

Task<void> WatchStream::load_list() {
  if (list_before_ == 0) {
    // What changed up to `seen` must be in the store before it is listed from there.
    Result<void> in_log = co_await context_.journal.committed();
    if (!in_log.has_value()) {
      loaded();
      if (!ended()) finish(End::failed);
      co_return;
    }
    add_event("reset", "{}");
  }
  SessionQuery query;
  query.project = project_;
  query.include_archived = archived_;
  query.before_no = list_before_;
  query.limit = kListPage;
  Result<std::vector<SessionRow>> rows =
      co_await context_.read([query](Store& store) { return store.list_sessions(query); });
  if (!rows.has_value()) {
    loaded();
    if (!ended()) finish(End::failed);
    co_return;
  }
  for (const SessionRow& row : *rows) {
    list_before_ = row.no;
    const Session* live = directory_.loaded(row.no);
    add_event("session",
              live != nullptr ? session_summary_of(*live) : session_summary_json(row, {}));
  }
  if (rows->size() < static_cast<std::size_t>(kListPage)) {
    listed_ = true;
    add_id();
    add_event("ready", "{}");
  }
  Result<void> committed = co_await context_.journal.committed();
  send_what_is_committed(committed);
}

Task<void> WatchStream::load_changes() {
  const std::uint64_t version = context_.feed.version();
  std::vector<std::string> changed;
  context_.feed.for_each_after(seen, [this, &changed](Session& session) {
    if (session.row().project == project_) changed.push_back(session_summary_of(session));
  });
  // Nothing is shown before it is in the log; what it says now will be there then.
  Result<void> committed = co_await context_.journal.committed();
  seen = version;
  for (std::size_t i = 0; i < changed.size(); ++i) {
    if (i + 1 == changed.size()) add_id();
    add_event("session", changed[i]);
  }
  send_what_is_committed(committed);
}

void WatchStream::send_what_is_committed(const Result<void>& committed) {
  loaded();
  if (ended()) return;
  if (!committed.has_value()) return finish(End::failed);
  if (text_.empty()) return pump();
  sent_at_ = context_.reactor().clock().now();
  add_part(text_);
  send();
}

}  // namespace berth::server
