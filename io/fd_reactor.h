// io/fd_reactor.h — the engines on real descriptors: bytes by read(2) and write(2), readiness from
// a Poller.
#pragma once

#include <berth/io/loop_host.h>
#include <berth/io/member_timer.h>
#include <berth/io/poller.h>
#include <berth/io/reactor.h>
#include <berth/io/timer_heap.h>
#include <berth/io/uring_buffers.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

namespace berth::inline v0::io {

class FileWorker;
class RemoteInbox;

struct FdReactorStats {
  std::uint64_t turns = 0;
  std::uint64_t completions = 0;
  std::uint64_t reads = 0;          ///< read(2) calls.
  std::uint64_t polls_rearmed = 0;  ///< Multishot polls that the kernel ended and we started again.
  /// Readable handles that had been quiet although nothing said so.
  std::uint64_t watchdog_finds = 0;
};

/// A turn of the loop: one enter() of the poller (submits and waits), then all completions are
/// collected, then callbacks run: timers, connections, reads, ends, posted runnables, turn hooks.
/// Time stands still within a turn.
///
/// Each operation is a file of its own (op_read.cc, op_write.cc, ...), which also decides what a
/// ring does for it and what plain system calls do. Reading: poll events are edges. An operation
/// whose handle may hold more stays on the ready list, without a new event, until a short read or
/// EAGAIN; after a hang-up until the end of the stream.
///
/// May be constructed on any thread; the first run() or poll() binds it to its thread. No operation
/// may be started when it is destroyed.
class FdReactor final : public Reactor {
 public:
  /// `name` is a literal, for logs. Error `overloaded` when no descriptor is left for the wake-up.
  static Result<std::unique_ptr<FdReactor>> create(std::string_view name,
                                                   std::unique_ptr<Poller> poller);
  ~FdReactor() override;

  Clock& clock() override { return clock_; }

  void start(ReadOp& op) override;
  void start(WriteOp& op) override;
  void start(AcceptOp& op) override;
  void start(PollOp& op) override;
  void start(ConnectOp& op) override;
  void start(WaitOp& op) override;
  void start(FileOp& op) override;
  void arm(TimerOp& op, TimePoint when) override;
  void disarm(TimerOp& op) override;
  void pause(ReadOp& op) override;
  void resume(ReadOp& op) override;
  void cancel(ReadOp& op) override;
  void cancel(WriteOp& op) override;
  void cancel(AcceptOp& op) override;
  void cancel(PollOp& op) override;
  void cancel(ConnectOp& op) override;
  void cancel(WaitOp& op) override;
  void cancel(FileOp& op) override;
  void close(Handle handle) override;
  void shutdown_write(Handle handle) override;
  Result<Handle> listen(const Address& address) override;
  Result<Address> local_address(Handle handle) override;
  Result<Handle> adopt(int fd) override;
  void add_turn_hook(TurnHook& hook) override { hooks_.push_back(hook); }
  void post(Runnable& runnable) override;
  void post_remote(Runnable& runnable) override;
  void post_from(Reactor& sender, Runnable& runnable) override;
  Handle hand_over(Handle handle, Reactor& to) override;
  int wait_fd() override;
  std::optional<TimePoint> next_deadline() override;
  void run() override;
  bool poll() override;
  void stop() override;
  std::string_view engine_name() const override { return name_; }

  /// From now on `host` runs the turns, and run() runs the host. Before the first turn, once. It is
  /// destroyed first when the reactor is.
  void attach(std::unique_ptr<LoopHost> host);
  /// Nothing is started, armed or posted: only another thread could give it something to do.
  bool idle() const;
  /// Something from another thread, or stop(), waits for the next turn. On any thread.
  bool has_remote();

  const FdReactorStats& stats() const { return stats_; }

 private:
  /// Monotonic and wall time, each read at most once per turn.
  class TurnClock final : public Clock {
   public:
    void start_turn();
    TimePoint now() const override { return now_; }
    WallTime wall() const override;

   private:
    TimePoint now_ = {};
    mutable std::optional<WallTime> wall_;
  };
  /// Internal timers: members that call back into the reactor.
  class FilesDone final : public Runnable {
   public:
    explicit FilesDone(FdReactor& reactor) : reactor_(reactor) {}
    void run() override { reactor_.collect_files(); }

   private:
    FdReactor& reactor_;
  };
  /// Operations whose last callback is due.
  struct Ended {
    IntrusiveList<ReadOp> reads;
    IntrusiveList<WriteOp> writes;
    IntrusiveList<AcceptOp> accepts;
    IntrusiveList<PollOp> polls;
    IntrusiveList<ConnectOp> connects;
    IntrusiveList<WaitOp> waits;
    IntrusiveList<FileOp> files;

    bool empty() const;
    void splice_back(Ended& other);
  };
  /// A reactor that this one has sent messages to.
  struct Peer {
    std::shared_ptr<RemoteInbox> inbox;
    std::uint64_t submission = 0;  // of our ring, that its last message went with
    bool messaged = false;
  };
  struct Receiving {
    ReadOp* op;
    Received received;
  };
  struct Connection {
    AcceptOp* op;
    Handle handle;
  };

  FdReactor(std::string_view name, std::unique_ptr<Poller> poller,
            std::shared_ptr<RemoteInbox> inbox);

  // The turn (fd_reactor.cc).
  bool turn(bool may_wait);
  bool has_work() const;
  void enter(bool may_wait);
  void collect_completions();
  void dispatch(const Completion& completion);
  void run_timers();
  void run_rounds();
  void open_inbox();
  void wake();
  void touch();

  void begin(Op& op);
  void ended(Op& op);
  bool run_ends();
  void run_other_ends(Ended& due);

  // op_read.cc
  void begin_read(ReadOp& op);
  void poll_read(ReadOp& op);
  void read_event(ReadOp& op, const Completion& completion);
  void mark_ready(ReadOp& op);
  void run_ready_reads();
  std::size_t read_turn(ReadOp& op);
  void wait_for_more(ReadOp& op);
  void end_read(ReadOp& op, int error);
  void forget_read(ReadOp& op);
  void look_for_lost_events();
  // op_receive.cc
  bool start_receive(ReadOp& op);
  Received& received_of(ReadOp& op);
  void receive_more(ReadOp& op);
  void receive_event(ReadOp& op, const Completion& completion);
  void forget_receive(ReadOp& op);
  void read_instead(ReadOp& op);
  std::size_t receive_turn(ReadOp& op);
  std::size_t receive_by_read(ReadOp& op, std::size_t budget);
  void quench(ReadOp& op);
  void settle_receive(ReadOp& op);
  void pause_receive(ReadOp& op);
  void resume_receive(ReadOp& op);
  void cancel_receive(ReadOp& op);
  void free_buffers();
  // op_write.cc
  void write_more(WriteOp& op);
  void write_event(WriteOp& op, const Completion& completion);
  void finish_write(WriteOp& op, int error);
  // op_accept.cc
  void poll_accept(AcceptOp& op);
  void accept_event(AcceptOp& op, const Completion& completion);
  int accept_waiting(AcceptOp& op);
  void retry_accepts();
  void run_connections();
  // op_poll.cc
  void poll_event(PollOp& op, const Completion& completion);
  // op_connect.cc
  void try_connect(ConnectOp& op);
  void retry_connects();
  void connect_event(ConnectOp& op, const Completion& completion);
  void finish_connect(ConnectOp& op, int error);
  // op_wait.cc
  void wait_for_end(WaitOp& op);
  void wait_event(WaitOp& op, const Completion& completion);
  void finish_wait(WaitOp& op, int error);
  // op_post.cc
  Peer* peer_of(const std::shared_ptr<RemoteInbox>& inbox);
  void send_message(Peer& peer, int ring_fd);
  void undelivered_event(std::uint64_t index);
  void submit_messages();
  // op_file.cc
  void file_event(FileOp& op, const Completion& completion);
  void collect_files();
  void finish_file(FileOp& op, std::int64_t result);

  const std::string_view name_;
  const std::unique_ptr<Poller> poller_;
  const std::shared_ptr<RemoteInbox> inbox_;
  TurnClock clock_;
  TimerHeap timers_;
  std::vector<Completion> completions_;  // room for the next ones
  std::vector<char> hot_;                // where every read lands; touched once, then always warm
  std::vector<ReadOp*> reads_;           // all other started reads, for the watchdog
  std::vector<Receiving> receiving_;     // all started reads in the way `buffers`
  std::size_t next_checked_ = 0;         // the watchdog's place in reads_
  std::vector<Connection> accepted_;     // of this turn

  IntrusiveList<ReadOp> ready_;
  IntrusiveList<ReadOp> reading_;  // what is served next
  IntrusiveList<ReadOp> held_;     // paused ones in the way `buffers`
  Ended ended_;
  IntrusiveList<AcceptOp> starved_accepts_;    // no descriptor was free
  IntrusiveList<ConnectOp> starved_connects_;  // the listener's queue was full
  IntrusiveList<TimerOp> due_;
  IntrusiveList<Runnable> posted_;
  IntrusiveList<Runnable> running_;  // the part of posted_ that this round runs
  IntrusiveList<TurnHook> hooks_;

  MemberTimer<&FdReactor::look_for_lost_events> watchdog_{*this};
  MemberTimer<&FdReactor::retry_accepts> accept_retry_{*this};
  MemberTimer<&FdReactor::retry_connects> connect_retry_{*this};
  FilesDone files_done_{*this};
  std::size_t started_ = 0;  // operations, timers not counted
  bool ran_ = false;         // something ran in this turn
  std::thread::id thread_;   // bound by the first turn
  FdReactorStats stats_;

  std::vector<Peer> peers_;
  bool in_turn_ = false;
  bool open_ = false;        // others may send messages to our ring
  bool told_guest_ = false;  // wake() writes to what wait_fd() returned
  std::atomic<bool> stop_requested_ = false;

  std::unique_ptr<FileWorker> file_worker_;  // without a ring, from the first step with a file on
  std::unique_ptr<LoopHost> host_;           // null: run() waits in the poller
};

}  // namespace berth::inline v0::io
