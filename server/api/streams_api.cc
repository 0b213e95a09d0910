// Streams of several sessions: their events in one, and how all of a project stand.
#include <berth/server/api/api.h>

#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/multi_stream.h>
#include <berth/server/sessions/rows_json.h>
#include <berth/server/sessions/watch_stream.h>

#include <algorithm>
#include <utility>

namespace berth::server {

/// What a multiplexed stream starts with.
struct Followed {
  std::vector<StreamMember> members;
  std::vector<StreamReset> resets;
  std::optional<StreamCursor> cursor;  ///< Of a client that comes back.
  SessionNo known = 0;                 ///< Sessions with higher numbers are new.
  bool from_now = false;               ///< Only what comes, of sessions that have no place.
};

namespace {

constexpr std::size_t kTypesMax = 64;

/// The parts between commas.
std::vector<std::string> list_of(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return parts;
}

bool is_event_type(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || c == '.' || c == '_';
  });
}

std::string_view last_event_id(const ApiCall& call) {
  const std::string_view header = call.request->header("last-event-id");
  return header.empty() ? call.query("after") : header;
}

}  // namespace

Result<StreamOptions> read_stream_options(const ApiCall& call) {
  StreamOptions options;
  const std::string_view heartbeat = call.query("heartbeat");
  if (!heartbeat.empty() && heartbeat != "comment" && heartbeat != "event") {
    return fail(ErrorKind::invalid, "bad_field", "heartbeat: must be comment or event");
  }
  options.heartbeat_events = heartbeat == "event";
  const std::string_view until = call.query("until");
  if (!until.empty() && until != "turn-end") {
    return fail(ErrorKind::invalid, "bad_field", "until: must be turn-end");
  }
  options.until_turn_end = !until.empty();
  options.types = list_of(call.query("types"));
  if (options.types.size() > kTypesMax ||
      !std::all_of(options.types.begin(), options.types.end(), is_event_type)) {
    return fail(ErrorKind::invalid, "bad_field",
                "types: must be at most 64 types of events with commas between them");
  }
  return options;
}

io::HttpResponse event_stream_head() {
  io::HttpResponse head;
  head.content_type = "text/event-stream";
  head.headers.emplace_back("Cache-Control", "no-store");
  head.headers.emplace_back("X-Accel-Buffering", "no");
  return head;
}

Task<void> Api::multi_events(ApiCall* call) {
  Result<StreamOptions> options = read_stream_options(*call);
  const std::string_view from = call->query("from");
  const bool all = call->query("sessions") == "*";
  Followed followed;
  followed.from_now = from.empty() ? all : from == "now";
  followed.known = directory_.last_no();
  Result<void> ready;
  if (!options.has_value()) {
    ready = fail(options.error());
  } else if (!from.empty() && from != "now" && from != "start") {
    ready = fail(ErrorKind::invalid, "bad_field", "from: must be start or now");
  } else if (const std::string_view last = last_event_id(*call); !last.empty()) {
    Result<StreamCursor> cursor = StreamCursor::parse(last, context_.limits.stream_sessions_max);
    if (cursor.has_value()) {
      followed.cursor = std::move(*cursor);
      if (all) followed.from_now = false;  // what has no place is new to the client
    } else {
      ready = fail(std::move(cursor.error()));
    }
  }
  if (ready.has_value() && all) {
    ready = co_await follow_all(call, &followed);
  } else if (ready.has_value()) {
    ready = co_await follow_named(call, &followed);
  }
  if (!ready.has_value()) {
    Result<void> sent = co_await call->exchange->respond(problem(ready.error()));
    static_cast<void>(sent);
    co_return;
  }
  Result<void> started = co_await call->exchange->start_stream(event_stream_head());
  if (!started.has_value()) co_return;
  MultiStream stream(context_, call->exchange->outlet(), std::move(*options), streams_,
                     call->caller.project, all, followed.known);
  for (StreamMember& member : followed.members) stream.add(std::move(member));
  for (const StreamReset& reset : followed.resets) stream.add(reset);
  co_await stream.run(call->exchange->gone());
}

Task<Result<void>> Api::follow_named(ApiCall* call, Followed* followed) {
  std::vector<std::string> ids = list_of(call->query("sessions"));
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if (ids.empty()) {
    co_return fail(ErrorKind::invalid, "bad_field",
                   "sessions: must be ids with commas between them, or *");
  }
  if (ids.size() > context_.limits.stream_sessions_max) {
    co_return fail(ErrorKind::invalid, "too_many_sessions",
                   "sessions: are more than the limit stream_sessions_max, which is " +
                       std::to_string(context_.limits.stream_sessions_max));
  }
  for (const std::string& id : ids) {
    Result<void> done = co_await follow(call, followed, id);
    if (!done.has_value()) co_return done;
  }
  co_return Result<void>();
}

/// From the place that the cursor says, else as the client asked.
Task<Result<void>> Api::follow(ApiCall* call, Followed* followed, std::string id) {
  Result<SessionUse> session = co_await directory_.find({call->caller.project, id});
  if (!session.has_value()) {
    // One who comes back with a place has to hear it in the stream: an EventSource gives up at 404.
    if (!followed->cursor || session.error().kind != ErrorKind::not_found) {
      co_return fail(std::move(session.error()));
    }
    followed->resets.push_back({std::move(id), "session_not_found", 0});
    co_return Result<void>();
  }
  const std::uint64_t end = (*session)->visible_seq();
  std::uint64_t after = followed->from_now ? end : 0;
  if (followed->cursor) {
    const auto place = followed->cursor->places.find((*session)->session_no());
    if (place != followed->cursor->places.end()) after = place->second;
  }
  if (after > end) {
    // Its log is not the one that the client knows: the store was put back to an older state.
    after = end;
    followed->resets.push_back({std::move(id), "cursor_ahead", after});
  }
  followed->members.push_back({std::move(*session), after});
  co_return Result<void>();
}

Task<Result<void>> Api::follow_all(ApiCall* call, Followed* followed) {
  // What was opened up to `known` must be in the store before it is listed from there.
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return in_log;
  const std::size_t room_max = context_.limits.stream_sessions_max;
  if (followed->cursor) {
    Result<void> done = co_await follow_places(call, followed);
    if (!done.has_value()) co_return done;
  }
  SessionQuery query;
  query.project = call->caller.project;
  query.limit = static_cast<int>(room_max);
  if (followed->cursor) {
    query.include_archived = true;  // what it never heard of may have ended since
  } else {
    query.state = SessionState::open;
  }
  Result<std::vector<SessionRow>> rows =
      co_await context_.read([query](Store& store) { return store.list_sessions(query); });
  if (!rows.has_value()) co_return fail(std::move(rows.error()));
  for (const SessionRow& row : *rows) {
    if (followed->cursor && row.no <= followed->cursor->known) break;
    if (followed->members.size() >= room_max) {
      followed->resets.push_back({row.id, "stream_sessions_max", 0});
      continue;
    }
    Result<void> done = co_await follow(call, followed, row.id);
    // One that went in between has nothing to tell.
    if (!done.has_value() && done.error().kind != ErrorKind::not_found) co_return done;
  }
  co_return Result<void>();
}

/// The sessions of the cursor, each from its place on.
Task<Result<void>> Api::follow_places(ApiCall* call, Followed* followed) {
  std::vector<SessionNo> numbers;
  for (const auto& [no, seq] : followed->cursor->places) numbers.push_back(no);
  for (const SessionNo no : numbers) {
    SessionQuery query;
    query.project = call->caller.project;
    query.include_archived = query.include_deleted = true;
    query.before_no = no + 1;
    query.limit = 1;
    Result<std::vector<SessionRow>> rows =
        co_await context_.read([query](Store& store) { return store.list_sessions(query); });
    if (!rows.has_value()) co_return fail(std::move(rows.error()));
    if (rows->empty() || rows->front().no != no) continue;  // never one of this project
    Result<void> done = co_await follow(call, followed, rows->front().id);
    if (!done.has_value()) co_return done;
  }
  co_return Result<void>();
}

Task<void> Api::watch(ApiCall* call) {
  Result<StreamOptions> options = read_stream_options(*call);
  if (!options.has_value()) {
    Result<void> sent = co_await call->exchange->respond(problem(options.error()));
    static_cast<void>(sent);
    co_return;
  }
  const std::string cursor(last_event_id(*call));
  Result<void> started = co_await call->exchange->start_stream(event_stream_head());
  if (!started.has_value()) co_return;
  WatchStream stream(context_, directory_, call->exchange->outlet(), options->heartbeat_events,
                     streams_, call->caller.project, is_yes(call->query("archived")), cursor);
  co_await stream.run(call->exchange->gone());
}

}  // namespace berth::server
