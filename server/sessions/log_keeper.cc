#include <berth/server/sessions/log_keeper.h>

#include <utility>

namespace berth::server {

namespace {

constexpr int kSessionsAtOnce = 100;
constexpr int kTurnsAtOnce = 1000;
constexpr int kStepsAtOnce = 1000;
constexpr std::size_t kErasedAtOnce = std::size_t{1} << 20;

/// The store takes nothing more. Other errors are of one session, whose log may be damaged.
bool is_over(const Result<void>& done) {
  return !done.has_value() && done.error().kind == ErrorKind::unavailable;
}

}  // namespace

Task<Result<void>> LogKeeper::pass(StopToken stop) {
  // Nor is a store that is damaged rewritten.
  if (!context_.takes_work().has_value()) co_return Result<void>();
  const std::int64_t began_ms = context_.now_ms();
  if (began_ms < last_pass_ms_) last_pass_ms_ = 0;  // the clock was set back
  // So that what says that it changed before is in the store.
  Result<void> done = co_await context_.journal.committed_or_refused();
  if (done.has_value()) done = co_await look_at_all(stop);
  if (is_over(done)) co_return done;
  if (done.has_value() && !stop.stop_requested()) last_pass_ms_ = began_ms;
  Result<void> erased = co_await erase(stop);
  co_return done.has_value() ? erased : done;
}

Task<Result<void>> LogKeeper::look_at_all(StopToken stop) {
  SessionQuery query;
  query.every_project = query.include_deleted = query.include_archived = true;
  query.limit = kSessionsAtOnce;
  // What has not grown can only have become too old.
  const bool ages = context_.limits.log.events_age_max.count() > 0;
  if (!ages) query.updated_since_ms = last_pass_ms_;
  for (bool more = true; more && !stop.stop_requested();) {
    Result<std::vector<SessionRow>> rows =
        co_await context_.read([query](Store& store) { return store.list_sessions(query); });
    if (!rows.has_value()) co_return fail(std::move(rows.error()));
    more = rows->size() == static_cast<std::size_t>(kSessionsAtOnce);
    for (const SessionRow& row : *rows) {
      query.before_no = row.no;
      if (is_ending(row.state)) continue;
      Result<void> done = co_await look_at(&row);
      if (is_over(done)) co_return done;
      if (!done.has_value()) {
        context_.log.write(LogLevel::warning, "tidy",
                           "session " + row.id + " is not cut: " + done.error().message);
      }
      if (stop.stop_requested()) co_return Result<void>();
    }
  }
  co_return Result<void>();
}

Task<Result<void>> LogKeeper::look_at(const SessionRow* row) {
  const SessionNo no = row->no;
  for (std::uint64_t began = 0;;) {
    Result<LogExtent> log =
        co_await context_.read([no](Store& store) { return store.measure_log(no, kTurnsAtOnce); });
    if (!log.has_value()) co_return fail(std::move(log.error()));
    if (log->turns.size() <= kTurnsKept || log->first_seq == began) co_return Result<void>();
    began = log->first_seq;  // a cut that did not come to be is not tried for ever
    Result<std::uint64_t> fits = std::uint64_t{0};
    if (row->updated_ms >= last_pass_ms_) fits = co_await fits_from(no, &*log);
    if (!fits.has_value()) co_return fail(std::move(fits.error()));
    const std::optional<LogCutPoint> at =
        where_to_cut(context_.limits.log, *log, *fits, context_.now_ms());
    if (!at) co_return Result<void>();
    Result<void> done = co_await cut(row, &*log, *at);
    if (!done.has_value()) co_return done;
  }
}

/// 0: all of it is within the limit.
Task<Result<std::uint64_t>> LogKeeper::fits_from(SessionNo session, const LogExtent* log) {
  const std::size_t bytes_max = context_.limits.log.events_bytes_max;
  if (bytes_max == 0) co_return std::uint64_t{0};
  std::uint64_t below = log->last_seq + 1;
  for (std::size_t bytes = 0; below > log->first_seq;) {
    const std::size_t left = bytes_max - bytes;
    Result<LogStretch> stretch = co_await context_.read([session, below, left](Store& store) {
      return store.weigh_log(session, below, left, kStepsAtOnce);
    });
    if (!stretch.has_value()) co_return fail(std::move(stretch.error()));
    bytes += stretch->bytes;
    if (stretch->first_seq != 0) below = stretch->first_seq;
    if (stretch->over) co_return below;
    if (stretch->first_seq == 0) break;
  }
  co_return std::uint64_t{0};
}

Task<Result<void>> LogKeeper::cut(const SessionRow* row, const LogExtent* log, LogCutPoint at) {
  LogCutRow cut;
  cut.session = row->no;
  cut.first_seq = at.first_seq;
  cut.first_turn = at.first_turn;
  Result<std::string> head = co_await head_of(row->no, log->first_seq, at.first_seq);
  if (!head.has_value()) co_return fail(std::move(head.error()));
  cut.head = std::move(*head);
  // In memory, so that its readers hear of it in one moment with the log.
  Result<SessionUse> session = co_await directory_.find({row->project, row->id});
  if (!session.has_value() && session.error().kind != ErrorKind::not_found) {
    co_return fail(std::move(session.error()));
  }
  if (session.has_value() && is_ending((*session)->row().state)) co_return Result<void>();
  if (!session.has_value()) {
    // It was deleted, maybe just now; of one that was purged nothing comes back.
    const SessionNo no = row->no;
    Result<void> deleted = co_await context_.journal.committed();
    if (!deleted.has_value()) co_return deleted;
    Result<LogExtent> left =
        co_await context_.read([no](Store& store) { return store.measure_log(no, 1); });
    if (!left.has_value()) co_return fail(std::move(left.error()));
    if (left->turns.empty()) co_return Result<void>();
  }
  cut.cut_ms = context_.now_ms();
  context_.journal.add(std::move(cut));
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return committed;
  if (session.has_value()) (*session)->log_begins_at(at.first_seq);
  ++context_.log_cuts.cuts;
  context_.log_cuts.events += at.first_seq - log->first_seq;
  co_return Result<void>();
}

Task<Result<std::string>> LogKeeper::head_of(SessionNo session, std::uint64_t from,
                                             std::uint64_t end) {
  Result<std::optional<LogCutRow>> before =
      co_await context_.read([session](Store& store) { return store.find_log_cut(session); });
  if (!before.has_value()) co_return fail(std::move(before.error()));
  LogHead head(before->has_value() ? std::string_view((*before)->head) : std::string_view());
  const std::size_t page_bytes = context_.limits.page_bytes;
  for (std::uint64_t after = from - 1; after + 1 < end;) {
    Result<EventPage> page = co_await context_.read([session, after, page_bytes](Store& store) {
      return store.read_events(session, after, page_bytes);
    });
    if (!page.has_value()) co_return fail(std::move(page.error()));
    if (page->first_seq == 0) break;
    std::string_view frames = page->frames;
    for (Frame frame; next_frame(frames, frame) && frame.seq < end;) head.take(frame);
    after = page->last_seq;
  }
  co_return head.text();
}

Task<Result<void>> LogKeeper::erase(StopToken stop) {
  for (bool more = true; more && !stop.stop_requested();) {
    Result<ErasedLog> erased =
        co_await context_.read([](Store& store) { return store.erase_cut(kErasedAtOnce); });
    if (!erased.has_value()) co_return fail(std::move(erased.error()));
    context_.log_cuts.bytes += erased->bytes;
    more = erased->more;
  }
  co_return Result<void>();
}

}  // namespace berth::server
