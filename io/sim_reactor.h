// io/sim_reactor.h — the reactor engine over a simulated machine: one process's loop, its turns
// chosen by the seed.
#pragma once

#include <berth/io/reactor.h>
#include <berth/io/sim_machine.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::io {

/// Explores what the Reactor contract allows: order between objects, short and partial transfers,
/// cancel races both ways. Handles belong to the reactor that made or adopted them; using another's
/// is an assertion. The machine outlives it; nothing may be started on it when it goes.
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
  void start(ConnectOp&) override { BERTH_ASSERT(false); }
  void start(WaitOp&) override { BERTH_ASSERT(false); }
  void start(FileOp&) override { BERTH_ASSERT(false); }
  void arm(TimerOp& op, TimePoint when) override;
  void disarm(TimerOp& op) override;
  void pause(ReadOp& op) override;
  void resume(ReadOp& op) override;
  void cancel(ReadOp& op) override { request_cancel(op); }
  void cancel(WriteOp& op) override { request_cancel(op); }
  void cancel(AcceptOp& op) override { request_cancel(op); }
  void cancel(PollOp& op) override { request_cancel(op); }
  void cancel(ConnectOp&) override {}
  void cancel(WaitOp&) override {}
  void cancel(FileOp&) override {}
  void close(Handle handle) override;
  void shutdown_write(Handle handle) override;
  Result<Handle> listen(const Address& address) override;
  Result<Address> local_address(Handle handle) override;
  Result<Handle> connect(const Address& address) override;
  Result<Handle> adopt(int fd) override;
  void add_turn_hook(TurnHook& hook) override { hooks_.push_back(hook); }
  void post_remote(Runnable& runnable) override { remote_.push_back(runnable); }
  void post_from(Reactor&, Runnable& runnable) override { post_remote(runnable); }
  Handle hand_over(Handle handle, Reactor&) override { return handle; }
  int wait_fd() override { return kNoHandle; }
  std::optional<TimePoint> next_deadline() override { return ready_at(); }
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
  enum class Kind : std::uint8_t { read, write, accept, poll };
  struct Started {
    Kind kind;
    Op* op;
    Handle handle;
  };
  struct Work;
  class HotSegment;

  void add(Kind kind, Op& op, Handle handle);
  void request_cancel(Op& op);
  TimePoint ready_at(const Started& started) const;
  std::vector<Work> collect();
  bool perform(const Work& work);
  bool fire_timer(std::uint64_t key);
  bool run_posted();

  void perform_read(Started started);
  void perform_write(Started started);
  void perform_accept(Started started);
  void perform_poll(Started started);
  bool deliver(ReadOp& op, SimEndpoint& endpoint, std::size_t& budget);
  int transfer(WriteOp& op, SimEndpoint& endpoint);
  void finish(Op& op);
  void end_read(ReadOp& op, int error);
  void end_write(WriteOp& op, int error);

  SimMachine& machine_;
  std::string name_;
  std::uint64_t id_;
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
  std::unique_ptr<HotSegment> segment_;
};

}  // namespace berth::io
