// io/sim_reactor.h — the reactor engine over a simulated machine: one process's loop, its turns
// chosen by the seed.
#pragma once

#include <berth/io/reactor.h>
#include <berth/io/sim_hot_segment.h>
#include <berth/io/sim_machine.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

/// Explores what the Reactor contract allows: order between objects, short and partial transfers,
/// interrupted calls, lacks that pass, cancel races both ways. Handles belong to the reactor that
/// made or adopted them, or that they were handed over to; using another's is an assertion. The
/// machine outlives it; nothing may be started on it when it goes.
class SimReactor final : public Reactor {
 public:
  /// `name` appears in traces only.
  SimReactor(SimMachine& machine, std::string name);
  ~SimReactor() override;

  /// Its process died: handles are closed as the kernel would, and every operation, started or to
  /// come, answers ECANCELED; timers and posts go on, so that coroutines can end.
  void freeze();
  bool frozen() const { return frozen_; }
  /// Calls `crash` just before the `count`-th operation from now makes progress (1 is the next).
  void interrupt_after(std::uint64_t count, std::function<void()> crash);

  std::size_t open_handles() const { return endpoints_.size(); }
  std::size_t started_operations() const { return operations_.size(); }
  std::size_t armed_timers() const { return timers_.size(); }
  SimMachine& machine() { return machine_; }
  /// Which simulated process this loop belongs to, for who may wait for whose children. Each has
  /// its own, unless it is told to share another's, as shards do.
  std::uint64_t process_id() const { return process_id_; }
  void share_process_of(const SimReactor& other) { process_id_ = other.process_id_; }
  const std::string& name() const { return name_; }

  /// Runs `fn` in one of the next turns, in order of injection: completions from outside of the
  /// loop.
  void inject(std::function<void()> fn) { injected_.push_back(std::move(fn)); }
  /// Takes over an end of the machine.
  Handle own(SimEndpoint endpoint);
  /// Closes whatever is still open; nothing may be started.
  void close_all();

  void post(Runnable& runnable) override { posted_.push_back(runnable); }
  Clock& clock() override { return machine_.clock(); }
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
  void cancel(ReadOp& op) override { request_cancel(op); }
  void cancel(WriteOp& op) override { request_cancel(op); }
  void cancel(AcceptOp& op) override { request_cancel(op); }
  void cancel(PollOp& op) override { request_cancel(op); }
  void cancel(ConnectOp& op) override { request_cancel(op); }
  void cancel(WaitOp& op) override { request_cancel(op); }
  void cancel(FileOp& op) override { request_cancel(op); }
  void close(Handle handle) override;
  void shutdown_write(Handle handle) override;
  Result<Handle> listen(const Address& address) override;
  Result<Address> local_address(Handle handle) override;
  Result<Handle> adopt(int fd) override;
  void add_turn_hook(TurnHook& hook) override { hooks_.push_back(hook); }
  void post_remote(Runnable& runnable) override { remote_.push_back(runnable); }
  void post_from(Reactor&, Runnable& runnable) override { post_remote(runnable); }
  /// `to` is another SimReactor of the same machine; the handle keeps its number.
  Handle hand_over(Handle handle, Reactor& to) override;
  int wait_fd() override { return kNoHandle; }
  std::optional<TimePoint> next_deadline() override;
  void run() override;
  bool poll() override { return machine_.poll(*this); }
  void stop() override { stop_ = true; }
  std::string_view engine_name() const override { return "sim"; }

  // --- for the machine ---

  /// The earliest time at which a turn would do something; at or before now: it can run.
  TimePoint ready_at() const;
  /// One turn; says whether anything ran.
  bool turn();
  SimEndpoint* find(Handle handle);

 private:
  enum class Kind : std::uint8_t { read, write, accept, poll, connect, wait, file };
  struct Started {
    Kind kind;
    Op* op;
    Handle handle;       // kNoHandle where there is none
    TimePoint due{};     // connect, file: nothing happens before
    bool begun = false;  // file: the step cannot be taken back any more
    bool done = false;   // file: `result` is known
    std::int64_t result = 0;
  };
  struct Work;

  void add(Started started);
  void request_cancel(Op& op);
  TimePoint ready_at(const Started& started) const;
  std::vector<Work> collect();
  bool perform(const Work& work);
  void perform_operation(Started& started);
  bool fire_timer(std::uint64_t key);
  bool run_posted();

  // The operations (sim_ops.cc).
  bool cancel_wins(Op& op, bool ready);
  void perform_read(Started started);
  void perform_write(Started started);
  void perform_accept(Started started);
  void perform_poll(Started started);
  void perform_connect(Started started);
  void perform_wait(Started started);
  bool deliver(ReadOp& op, SimEndpoint& endpoint, std::size_t& budget);
  int transfer(WriteOp& op, SimEndpoint& endpoint);
  int make_connection(const ConnectOp& op, Handle& connection);
  bool child_ended(const WaitOp& op, int& error) const;
  void finish(Op& op);
  void end_read(ReadOp& op, int error);
  void end_write(WriteOp& op, int error);
  void end_connect(ConnectOp& op, Handle connection, int error);

  // Steps with files (sim_file_ops.cc).
  void perform_file(Started& started);
  std::int64_t file_step(FileOp& op);
  std::int64_t open_file(const FileOp& op);
  std::int64_t read_file(const FileOp& op, const SimEndpoint& endpoint);
  std::int64_t write_file(const FileOp& op, SimEndpoint& endpoint);
  void end_file(FileOp& op, std::int64_t result);

  SimMachine& machine_;
  std::string name_;
  std::uint64_t id_;
  std::uint64_t process_id_;
  bool frozen_ = false;
  bool stop_ = false;
  std::uint64_t interrupt_in_ = 0;
  std::function<void()> interrupt_;

  std::map<Handle, SimEndpoint> endpoints_;
  std::uint64_t next_key_ = 1;
  std::map<std::uint64_t, Started> operations_;  // by the order of starting
  std::map<std::uint64_t, std::pair<TimePoint, TimerOp*>> timers_;
  std::vector<std::function<void()>> injected_;
  IntrusiveList<Runnable> remote_;
  IntrusiveList<Runnable> posted_;
  IntrusiveList<TurnHook> hooks_;
  std::unique_ptr<SimHotSegment> segment_;
};

}  // namespace berth::inline v0::io
