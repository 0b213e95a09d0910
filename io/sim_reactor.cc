#include <berth/io/sim_reactor.h>

#include <algorithm>

namespace berth::inline v0::io {

/// One thing that a turn collected; looked up again when its time comes, as a callback before it
/// may have undone it.
struct SimReactor::Work {
  enum class Kind : std::uint8_t { operation, timer, injected, remote } kind;
  std::uint64_t key = 0;
};

SimReactor::SimReactor(SimMachine& machine, std::string name)
    : machine_(machine),
      name_(std::move(name)),
      id_(machine.add_reactor(*this)),
      process_id_(id_),
      segment_(std::make_unique<SimHotSegment>()) {}

SimReactor::~SimReactor() {
  BERTH_ASSERT(operations_.empty());
  BERTH_ASSERT(timers_.empty());
  close_all();
  machine_.remove_reactor(id_);
}

void SimReactor::freeze() {
  if (frozen_) return;
  frozen_ = true;
  machine_.note("freeze", {static_cast<std::int64_t>(id_)});
  for (auto& [handle, endpoint] : endpoints_) {
    if (endpoint.kind == SimEndpoint::Kind::listener) machine_.unbind(endpoint.address);
    close_endpoint(machine_, endpoint);
  }
}

void SimReactor::interrupt_after(std::uint64_t count, std::function<void()> crash) {
  interrupt_in_ = count;
  interrupt_ = std::move(crash);
}

Handle SimReactor::own(SimEndpoint endpoint) {
  const Handle handle = machine_.next_handle();
  endpoints_.emplace(handle, std::move(endpoint));
  return handle;
}

void SimReactor::close_all() {
  while (!endpoints_.empty()) close(endpoints_.begin()->first);
}

SimEndpoint* SimReactor::find(Handle handle) {
  const auto found = endpoints_.find(handle);
  return found == endpoints_.end() ? nullptr : &found->second;
}

void SimReactor::add(Started started) {
  Op& op = *started.op;
  BERTH_ASSERT(!OpAccess::started(op));
  if (started.handle != kNoHandle) {
    SimEndpoint* endpoint = find(started.handle);
    BERTH_ASSERT(endpoint != nullptr);  // closed, or another process's handle
    const bool several = started.kind == Kind::poll || started.kind == Kind::file;
    for (const auto& [key, other] : operations_) {
      BERTH_ASSERT(other.handle != started.handle || other.kind != started.kind || several);
    }
    ++endpoint->operations;
  }
  OpAccess::started(op) = true;
  OpAccess::cancelled(op) = OpAccess::paused(op) = false;
  OpAccess::word(op) = next_key_;
  operations_.emplace(next_key_++, started);
}

void SimReactor::start(ReadOp& op) {
  if (op.way == ReadOp::Way::buffers) {
    const SimEndpoint* endpoint = find(op.handle);
    BERTH_ASSERT(endpoint != nullptr && endpoint->kind == SimEndpoint::Kind::socket);
  }
  add(Started{Kind::read, &op, op.handle});
}
void SimReactor::start(WriteOp& op) {
  op.written = 0;
  while (!op.parts.empty() && op.parts.front().iov_len == 0) op.parts = op.parts.subspan(1);
  add(Started{Kind::write, &op, op.handle});
}
void SimReactor::start(AcceptOp& op) {
  add(Started{Kind::accept, &op, op.listener});
}
void SimReactor::start(PollOp& op) {
  add(Started{Kind::poll, &op, op.handle});
}
void SimReactor::start(WaitOp& op) {
  add(Started{Kind::wait, &op, kNoHandle});
}

void SimReactor::request_cancel(Op& op) {
  if (OpAccess::started(op)) OpAccess::cancelled(op) = true;
}

void SimReactor::pause(ReadOp& op) {
  BERTH_ASSERT(OpAccess::started(op));
  OpAccess::paused(op) = true;
}

void SimReactor::resume(ReadOp& op) {
  BERTH_ASSERT(OpAccess::started(op));
  OpAccess::paused(op) = false;
}

void SimReactor::arm(TimerOp& op, TimePoint when) {
  disarm(op);
  OpAccess::started(op) = true;
  OpAccess::word(op) = next_key_;
  timers_.emplace(next_key_++, std::make_pair(when, &op));
}

void SimReactor::disarm(TimerOp& op) {
  if (!OpAccess::started(op)) return;
  OpAccess::started(op) = false;
  timers_.erase(OpAccess::word(op));
}

void SimReactor::close(Handle handle) {
  SimEndpoint* endpoint = find(handle);
  BERTH_ASSERT(endpoint != nullptr);
  BERTH_ASSERT(endpoint->operations == 0);
  machine_.note("close", {static_cast<std::int64_t>(id_), handle});
  if (!frozen_) {
    if (endpoint->kind == SimEndpoint::Kind::listener) machine_.unbind(endpoint->address);
    close_endpoint(machine_, *endpoint);
  }
  endpoints_.erase(handle);
}

void SimReactor::shutdown_write(Handle handle) {
  SimEndpoint* endpoint = find(handle);
  BERTH_ASSERT(endpoint != nullptr);
  if (endpoint->out != nullptr) end_writing(machine_, *endpoint->out);
}

Result<Handle> SimReactor::listen(const Address& address) {
  if (frozen_) return fail(errno_error(ECANCELED, "listen " + address.text));
  const Handle handle = machine_.next_handle();
  Result<std::string> bound = machine_.bind(address.text, *this, handle);
  if (!bound.has_value()) return fail(std::move(bound.error()));
  SimEndpoint endpoint;
  endpoint.kind = SimEndpoint::Kind::listener;
  endpoint.address = *bound;
  endpoints_.emplace(handle, std::move(endpoint));
  return handle;
}

Result<Address> SimReactor::local_address(Handle handle) {
  SimEndpoint* endpoint = find(handle);
  BERTH_ASSERT(endpoint != nullptr);
  return Address{endpoint->address};
}

Handle SimReactor::hand_over(Handle handle, Reactor& to) {
  BERTH_ASSERT(to.engine_name() == engine_name());
  SimReactor& other = static_cast<SimReactor&>(to);
  BERTH_ASSERT(&other.machine_ == &machine_);
  const auto found = endpoints_.find(handle);
  BERTH_ASSERT(found != endpoints_.end() && found->second.operations == 0);
  SimEndpoint endpoint = std::move(found->second);
  endpoints_.erase(found);
  if (other.frozen_ && !frozen_) close_endpoint(machine_, endpoint);
  if (endpoint.kind == SimEndpoint::Kind::listener && !frozen_) {
    if (other.frozen_) {
      machine_.unbind(endpoint.address);
    } else {
      machine_.move_listener(endpoint.address, other);
    }
  }
  other.endpoints_.emplace(handle, std::move(endpoint));
  machine_.note("hand_over",
                {static_cast<std::int64_t>(id_), static_cast<std::int64_t>(other.id_), handle});
  return handle;
}

std::optional<TimePoint> SimReactor::next_deadline() {
  const TimePoint next = ready_at();
  if (next == kSimNever) return std::nullopt;
  return next;
}

Result<Handle> SimReactor::adopt(int fd) {
  SimEndpoint endpoint;
  if (!machine_.take_unowned(fd, endpoint)) return fail(errno_error(EBADF, "adopt"));
  endpoints_.emplace(fd, std::move(endpoint));
  return fd;
}

void SimReactor::run() {
  while (!stop_) {
    const bool alive = machine_.step();
    BERTH_ASSERT(alive);  // the program waits for something that can never happen
  }
  stop_ = false;
}

TimePoint SimReactor::ready_at(const Started& started) const {
  if (frozen_ || (OpAccess::cancelled(*started.op) && !started.begun)) return TimePoint{};
  switch (started.kind) {
    case Kind::connect:
    case Kind::file:
      return started.due;
    case Kind::wait: {
      const SimMachine::Child* child =
          machine_.find_child(static_cast<const WaitOp*>(started.op)->pid);
      if (child == nullptr || child->parent != process_id_) return TimePoint{};
      return child->ended ? child->known_at : kSimNever;
    }
    case Kind::write:
      if (static_cast<const WriteOp*>(started.op)->parts.empty()) return TimePoint{};
      return endpoints_.at(started.handle).writable_at();
    case Kind::read:
      if (OpAccess::paused(*started.op)) return kSimNever;
      [[fallthrough]];
    case Kind::accept:
    case Kind::poll:
      return endpoints_.at(started.handle).readable_at();
  }
  return kSimNever;
}

TimePoint SimReactor::ready_at() const {
  if (!injected_.empty() || !remote_.empty() || !posted_.empty()) return TimePoint{};
  TimePoint first = kSimNever;
  for (const auto& [key, timer] : timers_) first = std::min(first, timer.first);
  for (const auto& [key, started] : operations_) first = std::min(first, ready_at(started));
  return first;
}

std::vector<SimReactor::Work> SimReactor::collect() {
  std::vector<Work> work;
  for (const auto& [key, started] : operations_) {
    if (ready_at(started) <= machine_.now()) work.push_back(Work{Work::Kind::operation, key});
  }
  for (std::size_t i = 0; i < injected_.size(); ++i) work.push_back(Work{Work::Kind::injected});
  if (!remote_.empty()) work.push_back(Work{Work::Kind::remote});
  Random& random = machine_.random();
  for (std::size_t i = work.size(); i > 1; --i) {
    const std::size_t other = random.below(i);
    if (other != i - 1) machine_.count(Fault::reorder);
    std::swap(work[i - 1], work[other]);
  }
  // What the loop has not noticed yet waits for a later turn.
  if (work.size() > 1) work.resize(1 + random.below(work.size()));

  // All timers that are due fire in this turn, in the order of their times, between the others.
  std::vector<std::pair<TimePoint, std::uint64_t>> due;
  for (const auto& [key, timer] : timers_) {
    if (timer.first <= machine_.now()) due.emplace_back(timer.first, key);
  }
  std::sort(due.begin(), due.end());
  std::size_t at = 0;
  for (const auto& [when, key] : due) {
    at += random.below(work.size() - at + 1);
    work.insert(work.begin() + static_cast<std::ptrdiff_t>(at), Work{Work::Kind::timer, key});
    ++at;
  }
  return work;
}

bool SimReactor::turn() {
  machine_.note("turn", {static_cast<std::int64_t>(id_)});
  Random& random = machine_.random();
  const std::vector<Work> collected = collect();
  bool ran = false;
  if (random.one_in(2)) ran |= run_posted();
  for (const Work& work : collected) {
    ran |= perform(work);
    if (random.one_in(4)) ran |= run_posted();
  }
  ran |= run_posted();
  if (ran) hooks_.for_each([](TurnHook& hook) { hook.on_turn_end(); });
  return ran;
}

bool SimReactor::run_posted() {
  // Posts of posts run in this turn too, up to a bound: who posts for ever does not stop the world.
  static constexpr int kMost = 1000;
  int count = 0;
  for (; count < kMost && !posted_.empty(); ++count) posted_.pop_front()->run();
  return count > 0;
}

bool SimReactor::perform(const Work& work) {
  switch (work.kind) {
    case Work::Kind::timer:
      return fire_timer(work.key);
    case Work::Kind::remote:
      posted_.splice_back(remote_);
      return true;
    case Work::Kind::injected: {
      const std::function<void()> fn = std::move(injected_.front());
      injected_.erase(injected_.begin());
      fn();
      return true;
    }
    case Work::Kind::operation:
      break;
  }
  const auto found = operations_.find(work.key);
  if (found == operations_.end()) return false;
  if (ready_at(found->second) > machine_.now()) return false;
  if (!frozen_ && interrupt_in_ > 0 && --interrupt_in_ == 0) std::exchange(interrupt_, nullptr)();
  perform_operation(found->second);
  return true;
}

void SimReactor::perform_operation(Started& started) {
  switch (started.kind) {
    case Kind::read:
      return perform_read(started);
    case Kind::write:
      return perform_write(started);
    case Kind::accept:
      return perform_accept(started);
    case Kind::poll:
      return perform_poll(started);
    case Kind::connect:
      return perform_connect(started);
    case Kind::wait:
      return perform_wait(started);
    case Kind::file:
      return perform_file(started);
  }
}

bool SimReactor::fire_timer(std::uint64_t key) {
  const auto found = timers_.find(key);
  if (found == timers_.end()) return false;
  TimerOp& op = *found->second.second;
  timers_.erase(found);
  OpAccess::started(op) = false;
  machine_.note("timer", {static_cast<std::int64_t>(id_), static_cast<std::int64_t>(key)});
  op.on_timer();
  return true;
}

}  // namespace berth::inline v0::io
