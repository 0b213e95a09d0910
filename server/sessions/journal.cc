#include <berth/server/sessions/journal.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {
constexpr Duration kRetryFirst = std::chrono::milliseconds(10);
constexpr Duration kRetryMax = std::chrono::seconds(2);
/// Bytes of head and envelope around the data of an event, about.
constexpr std::size_t kFrameOverhead = 200;
/// Updates that are not copied where their line has memory of its own.
constexpr std::size_t kTakenMin = std::size_t{64} << 10U;
/// Rows of the filling batch that add() looks through, newest first: those of one session come
/// close together.
constexpr std::size_t kRowsLookedAt = 16;

bool is_same_row(const SessionRow& a, const SessionRow& b) {
  return a.no == b.no;
}
bool is_same_row(const TurnRow& a, const TurnRow& b) {
  return a.session == b.session && a.number == b.number;
}
bool is_same_row(const BindingRow& a, const BindingRow& b) {
  return a.session == b.session && a.agent == b.agent;
}
bool is_same_row(const InteractionRow& a, const InteractionRow& b) {
  return a.session == b.session && a.id == b.id;
}
bool is_same_row(const ChangeRow& a, const ChangeRow& b) {
  return a.session == b.session;
}
/// Of everything else each is a step of its own.
template <typename A, typename B>
bool is_same_row(const A&, const B&) {
  return false;
}
bool is_same_row(const Record& a, const Record& b) {
  if (a.index() != b.index()) return false;
  return std::visit([](const auto& x, const auto& y) { return is_same_row(x, y); }, a, b);
}
}  // namespace

Journal::Journal(io::Reactor& reactor, io::Offload& offload, Store& store, OwnerEpoch epoch,
                 JournalLimits limits, LogSink& log)
    : reactor_(reactor),
      offload_(offload),
      store_(store),
      epoch_(epoch),
      limits_(limits),
      log_(log),
      filling_(std::make_unique<CommitBatch>()),
      idle_(reactor) {
  filling_->number = 1;
  reactor_.add_turn_hook(*this);
}

Journal::~Journal() {
  BERTH_ASSERT(!job_running_ && !fold_.running());
}

std::string_view Journal::time_text() {
  const WallTime now = reactor_.clock().wall();
  if (now != time_cached_) {
    time_cached_ = now;
    time_text_.clear();
    append_rfc3339(time_text_, now);
  }
  return time_text_;
}

EventRun& Journal::run_of(LogWriter& writer) {
  if (!writer.filling_) {
    writer.filling_ = std::make_shared<EventRun>();
    writer.filling_->session = writer.session_no_;
    writer.filling_->first_seq = writer.last_seq_ + 1;
    filling_->runs.push_back(writer.filling_);
    filling_writers_.push_back(&writer);
    ++writer.uncommitted_runs_;
  }
  return *writer.filling_;
}

/// Numbers an event, for which `append` puts a frame behind those of its session.
template <typename Append>
std::uint64_t Journal::append_event(LogWriter& writer, EventHead head, std::size_t room,
                                    Append append) {
  EventRun& run = run_of(writer);
  if (run.count == 0) run.frames.reserve(std::max(writer.last_run_bytes_, room));
  if (filling_->event_count == 0) filling_since_ = reactor_.clock().now();
  const std::size_t before = run.frames.size();
  head.seq = ++writer.last_seq_;
  head.time = time_text();
  append(run.frames, head);
  writer.chunk_.close();
  ++run.count;
  filling_->event_bytes += run.frames.size() - before;
  if (run.frames.size() >= limits_.run_bytes_max) run_full_ = true;
  ++filling_->event_count;
  return head.seq;
}

std::uint64_t Journal::append(LogWriter& writer, EventHead head, std::string_view data,
                              bool may_hold_cr) {
  return append_event(writer, head, data.size() + kFrameOverhead,
                      [data, may_hold_cr](ByteBuffer& frames, const EventHead& numbered) {
                        append_frame(frames, numbered, data, may_hold_cr);
                      });
}

std::uint64_t Journal::append_update(LogWriter& writer, const EventHead& head,
                                     std::string_view update, bool may_hold_cr, Line* line) {
  if (line != nullptr && line->owned() && update.size() >= kTakenMin) {
    const auto offset = static_cast<std::size_t>(update.data() - line->text().data());
    return append_event(
        writer, head, kFrameOverhead, [&](ByteBuffer& frames, const EventHead& numbered) {
          append_frame_in_place(frames, numbered, line->take(), offset, update.size(), may_hold_cr);
        });
  }
  if (may_hold_cr) return append(writer, head, update, may_hold_cr);
  if (writer.filling_) {
    ByteBuffer& frames = writer.filling_->frames;
    const std::size_t before = frames.size();
    if (writer.chunk_.join(frames, head, update, limits_.joined_text_max)) {
      ++stats_.joined;
      filling_->event_bytes += frames.size() - before;
      if (frames.size() >= limits_.run_bytes_max) run_full_ = true;
      return writer.last_seq_;
    }
  }
  const std::uint64_t seq = append(writer, head, update, false);
  writer.chunk_.open(writer.filling_->frames, update.size());
  return seq;
}

// In place of an earlier state of the same row, which is then never written.
void Journal::add(Record record) {
  std::vector<Record>& records = filling_->records;
  const std::size_t last = records.size() - std::min(records.size(), kRowsLookedAt);
  for (std::size_t i = records.size(); i > last; --i) {
    Record& earlier = records[i - 1];
    if (std::holds_alternative<Erasure>(earlier)) break;
    if (!is_same_row(earlier, record)) continue;
    earlier = std::move(record);
    return;
  }
  records.push_back(std::move(record));
}

bool Journal::full() const {
  return filling_->event_bytes >= limits_.batch_bytes_max ||
         filling_->event_count >= limits_.batch_events_max;
}

bool Journal::full_for(const LogWriter& writer) const {
  return full() || (writer.filling_ && writer.filling_->frames.size() >= limits_.run_bytes_max);
}

void Journal::on_turn_end() {
  // What becomes visible may lead to more: that is the next one.
  while (commit_at_once()) {
  }
  if (job_running_ || stopped_ || filling_->empty() || TimerOp::started()) return;
  const TimePoint now = reactor_.clock().now();
  // A burst shares commits; a lone event does not wait.
  const TimePoint earliest = last_submit_ + limits_.commit_interval_min;
  if (now < earliest && !ripe()) {
    reactor_.arm(*this, earliest);
    return;
  }
  submit();
}

void Journal::on_timer() {
  if (job_running_ || stopped_) return;
  if (in_flight_ || !filling_->empty()) submit();
}

/// Of what is small: true when it is in the log and was shown.
bool Journal::commit_at_once() {
  if (job_running_ || stopped_ || in_flight_ || filling_->runs.empty()) return false;
  if (!filling_->records.empty() || filling_->event_bytes > limits_.at_once_bytes_max) return false;
  const TimePoint now = reactor_.clock().now();
  const Taken taken = store_.commit_now(*filling_, epoch_);
  if (taken == Taken::no) return false;
  ++stats_.at_once;
  if (taken == Taken::yes_fold && !fold_.running()) fold_.start();
  seal();
  in_flight_began_ = now;
  publish();
  return true;
}

void Journal::Fold::start() {
  running_ = journal_.offload_.submit(io::Lane::store, journal_.reactor_, *this).has_value();
}

void Journal::Fold::work() {
  // When it fails, the commits of the lane meet the same trouble, and tell it.
  static_cast<void>(journal_.store_.fold());
}

void Journal::Fold::on_done() {
  running_ = false;
  if (journal_.stopped_) journal_.stop();
}

void Journal::seal() {
  in_flight_ = std::exchange(filling_, std::make_unique<CommitBatch>());
  filling_->number = in_flight_->number + 1;
  in_flight_since_ = filling_since_;
  in_flight_writers_ = std::exchange(filling_writers_, {});
  run_full_ = false;
  for (LogWriter* writer : in_flight_writers_) {
    writer->last_run_bytes_ = std::min<std::size_t>(writer->filling_->frames.size(), 64 * 1024);
    writer->filling_.reset();
    writer->chunk_.close();
  }
}

void Journal::submit() {
  if (!in_flight_) seal();
  last_submit_ = in_flight_began_ = reactor_.clock().now();
  job_running_ = true;
  Result<void> queued = offload_.submit(io::Lane::store, reactor_, *this);
  if (!queued.has_value()) {
    job_running_ = false;
    answer_ = {CommitOutcome::unknown, std::move(queued.error())};
    retry_delay_ = std::clamp(retry_delay_ * 2, kRetryFirst, kRetryMax);
    reactor_.arm(*this, reactor_.clock().now() + retry_delay_);
  }
}

void Journal::work() {
  answer_ = store_.commit(*in_flight_, epoch_);
}

void Journal::on_done() {
  job_running_ = false;
  switch (answer_.outcome) {
    case CommitOutcome::committed:
      if (failing_) log_.write(LogLevel::info, "journal", "the store takes commits again");
      failing_ = false;
      retry_delay_ = {};
      publish();
      return;
    case CommitOutcome::stale_epoch:
      log_.write(LogLevel::error, "journal", "another node owns the store: nothing more is shown");
      stop();
      return;
    case CommitOutcome::unknown:
      if (stopped_ || closing_) {
        stop();
        return;
      }
      if (!failing_) {
        log_.write(LogLevel::error, "journal",
                   "commit failed, will repeat it: " + answer_.error.message);
      }
      failing_ = true;
      refusal_code_ = answer_.error.code;
      ++stats_.retries;
      retry_delay_ = std::clamp(retry_delay_ * 2, kRetryFirst, kRetryMax);
      reactor_.arm(*this, reactor_.clock().now() + retry_delay_);
      return;
  }
}

Error Journal::refusal() const {
  const std::string_view code = refusal_code_;
  if (code == "store_full") {
    return make_error(ErrorKind::unavailable, "store_full",
                      "the store's disk is full: nothing is taken in until there is room");
  }
  if (code == "store_read_only") {
    return make_error(ErrorKind::unavailable, "store_read_only",
                      "the store's disk is read-only: nothing is taken in until it is not");
  }
  return make_error(ErrorKind::unavailable, "store_unavailable", "the store refuses writes now");
}

void Journal::publish() {
  const auto batch = std::exchange(in_flight_, nullptr);
  const auto writers = std::exchange(in_flight_writers_, {});
  ++stats_.commits;
  stats_.events += batch->event_count;
  stats_.event_bytes += batch->event_bytes;
  for (std::size_t i = 0; i < writers.size(); ++i) {
    LogWriter& writer = *writers[i];
    --writer.uncommitted_runs_;
    writer.visible_seq_ = batch->runs[i]->last_seq();
    keep_in_tail(writer, std::move(batch->runs[i]));
  }
  for (LogWriter* writer : writers) writer->on_visible();
  wake_waiters(batch->number, true);
  if (watcher_ != nullptr) {
    const TimePoint first = batch->event_count == 0 ? in_flight_began_ : in_flight_since_;
    watcher_->on_commit(
        {first, in_flight_began_, reactor_.clock().now(), batch->event_count, batch->event_bytes});
  }
  if (stopped_) {
    stop();
    return;
  }
  // A full batch follows at once: the interval is for small ones. Then there is room again.
  if (!filling_->empty() && ripe()) submit();
  while (RoomListener* listener = full() ? nullptr : room_waiters_.pop_front()) listener->on_room();
}

void Journal::keep_in_tail(LogWriter& writer, std::shared_ptr<const EventRun> run) {
  const std::size_t bytes = run->frames.capacity() + sizeof(EventRun);
  writer.tail_.push_back(std::move(run));
  tail_order_.push_back({&writer, bytes});
  tail_bytes_ += bytes;
  while (tail_bytes_ > limits_.tail_bytes_max && tail_order_.size() > 1) {
    const TailEntry oldest = tail_order_.front();
    tail_order_.pop_front();
    tail_bytes_ -= oldest.bytes;
    drop_oldest(*oldest.writer);
  }
}

void Journal::forget(const std::set<const LogWriter*>& writers) {
  std::erase_if(tail_order_, [&](const TailEntry& entry) {
    if (!writers.contains(entry.writer)) return false;
    tail_bytes_ -= entry.bytes;
    return true;
  });
}

void Journal::drop_oldest(LogWriter& writer) {
  auto& tail = writer.tail_;
  tail[writer.tail_begin_++].reset();
  if (writer.tail_begin_ * 2 < tail.size()) return;
  tail.erase(tail.begin(), tail.begin() + static_cast<std::ptrdiff_t>(writer.tail_begin_));
  writer.tail_begin_ = 0;
  if (tail.empty()) tail.shrink_to_fit();
}

void Journal::wake_waiters(std::uint64_t batch, bool ok) {
  while (Waiter* waiter = waiters_.front()) {
    if (waiter->batch > batch) return;
    waiter->unlink();
    waiter->ok = ok;
    waiter->resume.arm(reactor_, waiter->handle);
  }
}

void Journal::close() {
  closing_ = true;
  if (failing_) stop();
}

void Journal::stop() {
  stopped_ = true;
  reactor_.disarm(*this);
  if (job_running_ || fold_.running()) return;  // on_done comes back here
  wake_waiters(~std::uint64_t{0}, false);
  // Nothing of these will be shown; their writers may go.
  in_flight_.reset();
  for (LogWriter* writer : in_flight_writers_) --writer->uncommitted_runs_;
  for (LogWriter* writer : filling_writers_) {
    --writer->uncommitted_runs_;
    writer->filling_.reset();
  }
  in_flight_writers_.clear();
  filling_writers_.clear();
  filling_ = std::make_unique<CommitBatch>();
  idle_.set();
}

bool Journal::Committed::await_ready() {
  // What is in flight counts as well: records of an earlier batch may be what the caller waits for.
  // A journal that stopped is empty because it dropped what it could not commit.
  waiter_.ok = !journal_.stopped_ && journal_.filling_->empty() && !journal_.in_flight_;
  refused_ = !waiter_.ok && !patient_ && journal_.failing_;
  return waiter_.ok || refused_ || journal_.stopped_;
}

void Journal::Committed::await_suspend(std::coroutine_handle<> handle) {
  waiter_.handle = handle;
  waiter_.batch =
      journal_.filling_->empty() ? journal_.in_flight_->number : journal_.filling_->number;
  journal_.waiters_.push_back(waiter_);
}

Result<void> Journal::Committed::await_resume() {
  if (waiter_.ok) return {};
  if (refused_) return fail(journal_.refusal());
  return fail(ErrorKind::unavailable, "store_unavailable", "the store takes no writes now");
}

}  // namespace berth::server
