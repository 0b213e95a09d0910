// server/sessions/journal.h — the output gate: gathers a shard's writes, commits them together, and
// only then lets them be seen.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/executor.h>
#include <berth/core/log.h>
#include <berth/core/result.h>
#include <berth/core/sync.h>
#include <berth/io/offload.h>
#include <berth/io/reactor.h>
#include <berth/server/sessions/frames.h>
#include <berth/server/sessions/text_chunk.h>
#include <berth/server/store/store.h>

#include <coroutine>
#include <deque>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace berth::server {

class Journal;

/// A session's log as the journal sees it. Lives as long as the journal holds writes of it (see
/// `busy()`).
class LogWriter {
 public:
  LogWriter(SessionNo no, std::uint64_t last_seq)
      : session_no_(no), last_seq_(last_seq), visible_seq_(last_seq) {}

  SessionNo session_no() const { return session_no_; }
  /// The number given last; what is above visible_seq() is not committed yet and must not be shown
  /// to anybody.
  std::uint64_t last_seq() const { return last_seq_; }
  std::uint64_t visible_seq() const { return visible_seq_; }
  /// Committed runs that are still in memory, oldest first, without gap up to visible_seq().
  std::span<const std::shared_ptr<const EventRun>> tail() const {
    return std::span(tail_).subspan(tail_begin_);
  }
  bool busy() const { return uncommitted_runs_ > 0; }

 protected:
  ~LogWriter() = default;
  /// Everything up to visible_seq() can be shown now. Runs on the shard; may append and add.
  virtual void on_visible() = 0;

 private:
  friend class Journal;
  SessionNo session_no_;
  std::uint64_t last_seq_;
  std::uint64_t visible_seq_;
  std::shared_ptr<EventRun> filling_;  // this session's run in the batch that is being filled
  OpenChunk chunk_;                    // at the end of filling_
  std::size_t last_run_bytes_ = 0;     // a guess for the next run's size
  std::uint32_t uncommitted_runs_ = 0;
  std::vector<std::shared_ptr<const EventRun>> tail_;
  std::size_t tail_begin_ = 0;  // what is before was dropped, and goes when it is half of tail_
};

/// Told when a full journal has room again; then removed.
class RoomListener : public ListNode {
 public:
  virtual void on_room() = 0;

 protected:
  ~RoomListener() = default;
};

struct JournalLimits {
  std::size_t batch_bytes_max = 2 * 1024 * 1024;  ///< Filling and in flight together: twice that.
  std::size_t batch_events_max = 4096;
  /// One session's share of a batch, about; so that one loud session neither fills a batch alone
  /// nor makes runs that a stuck reader would hold on to.
  std::size_t run_bytes_max = 256 * 1024;
  std::size_t tail_bytes_max =
      16 * 1024 * 1024;  ///< Committed runs kept for readers, of all sessions.
  /// A batch with no records and no more than this is offered to the store at once, on the shard's
  /// own thread: it costs less than waking the lane.
  std::size_t at_once_bytes_max = 32 * 1024;
  /// Text of one event that is made of chunks of one message, escaped as in JSON.
  std::size_t joined_text_max = 16 * 1024;
  /// Two commits of the lane begin at least so far apart (the first after a pause begins at once).
  Duration commit_interval_min = std::chrono::microseconds(100);
};

struct JournalStats {
  std::uint64_t commits = 0;
  std::uint64_t at_once = 0;  ///< Of those, without the lane.
  std::uint64_t events = 0;
  std::uint64_t joined = 0;  ///< Updates that became part of the event before them.
  std::uint64_t event_bytes = 0;
  std::uint64_t retries = 0;
};

/// How a batch came into the log.
struct CommitTimes {
  TimePoint first_event;  ///< When its oldest event was appended; as `began` when it has none.
  TimePoint began;        ///< When it was handed to the store the last time.
  TimePoint ended;
  std::size_t events = 0;
  std::size_t bytes = 0;  ///< Of these.
};

/// Told of each commit once it is visible.
class CommitWatcher {
 public:
  virtual void on_commit(const CommitTimes& times) = 0;

 protected:
  ~CommitWatcher() = default;
};

/// One batch fills while one is in flight on the store's lane. Single-threaded; outlives its
/// writers.
class Journal final : private io::TurnHook, private io::OffloadJob, private io::TimerOp {
 public:
  /// `store` is open with `epoch`.
  Journal(io::Reactor& reactor, io::Offload& offload, Store& store, OwnerEpoch epoch,
          JournalLimits limits, LogSink& log);
  ~Journal();

  /// Numbers and encodes an event into the filling batch; `data` is copied. `may_hold_cr` is false
  /// only for data that was scanned and holds no raw CR (which would end a line of the frame).
  /// Returns its number. `head.seq` and `head.time` are filled in here.
  std::uint64_t append(LogWriter& writer, EventHead head, std::string_view data,
                       bool may_hold_cr = true);
  /// The same for an update of an agent. Where it only goes on with the text of the event before it
  /// in the same batch, it becomes part of that one, whose number is returned. A long one in a line
  /// that has memory of its own takes that: `update` is not valid any more then.
  std::uint64_t append_update(LogWriter& writer, const EventHead& head, std::string_view update,
                              bool may_hold_cr, Line* line = nullptr);
  /// Adds a row to the filling batch, behind all of its events.
  void add(Record record);

  /// True when what comes from agents must wait; answers, endings and commands are taken still.
  bool full() const;
  /// The same for one session: it may have had its share.
  bool full_for(const LogWriter& writer) const;
  /// `watcher` outlives the journal.
  void set_watcher(CommitWatcher& watcher) { watcher_ = &watcher; }
  void call_when_room(RoomListener& listener) { room_waiters_.push_back(listener); }

  /// `co_await journal.committed()` -> Result<void>: waits until everything appended and added so
  /// far is in the log. Errors: `unavailable` ("store_unavailable") when the journal stops before,
  /// or another owner took over.
  class Committed;
  Committed committed();
  /// The same for those who only read: while the store refuses commits they are not kept waiting,
  /// but get refusal().
  Committed committed_or_refused();

  /// Nothing of these is kept in memory any more: they go. None is busy().
  void forget(const std::set<const LogWriter*>& writers);

  /// Commits once more what is there, but does not repeat a commit that fails: for the end of the
  /// server.
  void close();
  /// Takes no more; a commit in flight is let end; who waits gets an error.
  void stop();
  bool stopped() const { return stopped_; }
  /// After stop(): waits until the lane has let go of the batch in flight.
  auto idle() { return idle_.wait(); }
  /// True while the store refuses commits (disk full, read-only): intake answers refusal().
  bool failing() const { return failing_; }
  /// Why, for those who wanted something: `unavailable` with "store_full", "store_read_only" or
  /// "store_unavailable".
  Error refusal() const;
  const JournalStats& stats() const { return stats_; }
  /// Whose log it is: another number in each life of the server.
  OwnerEpoch epoch() const { return epoch_; }

 private:
  friend class Committed;
  struct Waiter : ListNode {
    std::uint64_t batch = 0;
    bool ok = false;
    std::coroutine_handle<> handle;
    ResumeLater resume;
  };

  /// Carries over what was committed at once, beside the commits.
  class Fold final : public io::OffloadJob {
   public:
    explicit Fold(Journal& journal) : journal_(journal) {}
    void start();
    bool running() const { return running_; }

   private:
    void work() override;
    void on_done() override;
    Journal& journal_;
    bool running_ = false;
  };

  void on_turn_end() override;
  bool commit_at_once();
  void seal();
  void on_timer() override;
  void submit();
  void work() override;
  void on_done() override;
  void publish();
  void keep_in_tail(LogWriter& writer, std::shared_ptr<const EventRun> run);
  static void drop_oldest(LogWriter& writer);
  void wake_waiters(std::uint64_t batch, bool ok);
  EventRun& run_of(LogWriter& writer);
  template <typename Append>
  std::uint64_t append_event(LogWriter& writer, EventHead head, std::size_t room, Append append);
  bool ripe() const { return full() || run_full_; }
  std::string_view time_text();

  io::Reactor& reactor_;
  io::Offload& offload_;
  Store& store_;
  OwnerEpoch epoch_;
  JournalLimits limits_;
  LogSink& log_;

  std::unique_ptr<CommitBatch> filling_;
  std::vector<LogWriter*> filling_writers_;  // parallel to filling_->runs
  bool run_full_ = false;                    // one of filling_->runs has reached run_bytes_max
  std::unique_ptr<CommitBatch> in_flight_;
  std::vector<LogWriter*> in_flight_writers_;
  CommitAnswer answer_;  // written by the lane, read after on_done
  TimePoint last_submit_{};
  Duration retry_delay_{};
  bool failing_ = false;
  const char* refusal_code_ = "";  // the store's, of the last commit that failed
  bool closing_ = false;
  bool stopped_ = false;
  bool job_running_ = false;
  Fold fold_{*this};
  Event idle_;

  struct TailEntry {
    LogWriter* writer;
    std::size_t bytes;
  };
  std::deque<TailEntry> tail_order_;
  std::size_t tail_bytes_ = 0;

  IntrusiveList<Waiter> waiters_;
  IntrusiveList<RoomListener> room_waiters_;
  WallTime time_cached_{-1};
  std::string time_text_;
  JournalStats stats_;
  CommitWatcher* watcher_ = nullptr;
  TimePoint filling_since_{};  // when the first event of the batch came
  TimePoint in_flight_since_{};
  TimePoint in_flight_began_{};  // when the store got it; last_submit_ is of the lane alone
};

class Journal::Committed {
 public:
  Committed(Journal& journal, bool patient) : journal_(journal), patient_(patient) {}
  bool await_ready();
  void await_suspend(std::coroutine_handle<> handle);
  Result<void> await_resume();

 private:
  Journal& journal_;
  const bool patient_;
  bool refused_ = false;
  Waiter waiter_;
};

inline Journal::Committed Journal::committed() {
  return Committed(*this, true);
}

inline Journal::Committed Journal::committed_or_refused() {
  return Committed(*this, false);
}

}  // namespace berth::server
