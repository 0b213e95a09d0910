#include <berth/io/sim_reactor.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) (static_cast<void>(address), (void)(size))
#endif

namespace berth::io {

namespace {

std::size_t left_of(const WriteOp& op) {
  std::size_t left = 0;
  for (const iovec& part : op.parts) left += part.iov_len;
  return left;
}

/// Takes up to `count` bytes from the front of the operation's parts.
void move_bytes(WriteOp& op, std::size_t count, SimPipe* to) {
  while (count > 0) {
    iovec& part = op.parts.front();
    const std::size_t taken = std::min(count, part.iov_len);
    if (to != nullptr) to->append({static_cast<const char*>(part.iov_base), taken});
    part.iov_base = static_cast<char*>(part.iov_base) + taken;
    part.iov_len -= taken;
    op.written += taken;
    count -= taken;
    if (part.iov_len == 0) op.parts = op.parts.subspan(1);
  }
}

}  // namespace

/// Where read bytes live during the callback, and only then: before and after it, the memory is
/// scribbled over and, under the address sanitizer, out of bounds.
class SimReactor::HotSegment {
 public:
  HotSegment() { forbid(); }
  ~HotSegment() { ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size()); }

  static constexpr std::size_t kBytes = 64 * 1024;

  /// Space for `count` bytes, at an alignment chosen by the seed, with scribbled padding behind.
  char* allow(std::size_t count, std::size_t offset) {
    ASAN_UNPOISON_MEMORY_REGION(memory_.data() + offset, count + kReadPadding);
    return memory_.data() + offset;
  }
  void forbid() {
    ASAN_UNPOISON_MEMORY_REGION(memory_.data(), used_);
    std::memset(memory_.data(), kScribble, used_);
    ASAN_POISON_MEMORY_REGION(memory_.data(), memory_.size());
  }
  void uses(std::size_t bytes) { used_ = bytes; }
  static constexpr std::size_t kAlignments = 64;

 private:
  static constexpr int kScribble = 0xDB;  // no ASCII, no UTF-8: parsers choke on it
  std::array<char, kBytes + kReadPadding + kAlignments> memory_{};
  std::size_t used_ = sizeof(memory_);
};

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
      segment_(std::make_unique<HotSegment>()) {}

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

void SimReactor::add(Kind kind, Op& op, Handle handle) {
  SimEndpoint* endpoint = find(handle);
  BERTH_ASSERT(endpoint != nullptr);  // closed, or another process's handle
  BERTH_ASSERT(!OpAccess::started(op));
  for (const auto& [key, other] : operations_) {
    BERTH_ASSERT(other.handle != handle || other.kind != kind || kind == Kind::poll);
  }
  OpAccess::started(op) = true;
  OpAccess::cancelled(op) = OpAccess::paused(op) = false;
  OpAccess::word(op) = next_key_;
  operations_.emplace(next_key_++, Started{kind, &op, handle});
  ++endpoint->operations;
}

void SimReactor::start(ReadOp& op) {
  add(Kind::read, op, op.handle);
}
void SimReactor::start(WriteOp& op) {
  op.written = 0;
  add(Kind::write, op, op.handle);
}
void SimReactor::start(AcceptOp& op) {
  add(Kind::accept, op, op.listener);
}
void SimReactor::start(PollOp& op) {
  add(Kind::poll, op, op.handle);
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
  if (endpoint->out != nullptr) endpoint->out->writer_open = false;
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

Result<Handle> SimReactor::connect(const Address& address) {
  if (frozen_) return fail(errno_error(ECANCELED, "connect " + address.text));
  Result<SimEndpoint> endpoint = machine_.connect(address.text);
  if (!endpoint.has_value()) return fail(std::move(endpoint.error()));
  return own(std::move(*endpoint));
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
  if (frozen_ || OpAccess::cancelled(*started.op)) return TimePoint{};
  if (OpAccess::paused(*started.op)) return kSimNever;
  const SimEndpoint& endpoint = endpoints_.at(started.handle);
  if (started.kind == Kind::write && left_of(*static_cast<WriteOp*>(started.op)) == 0) {
    return TimePoint{};
  }
  return started.kind == Kind::write ? endpoint.writable_at() : endpoint.readable_at();
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
  for (std::size_t i = work.size(); i > 1; --i) std::swap(work[i - 1], work[random.below(i)]);
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
  const Started started = found->second;
  if (ready_at(started) > machine_.now()) return false;
  if (!frozen_ && interrupt_in_ > 0 && --interrupt_in_ == 0) std::exchange(interrupt_, nullptr)();
  switch (started.kind) {
    case Kind::read:
      perform_read(started);
      break;
    case Kind::write:
      perform_write(started);
      break;
    case Kind::accept:
      perform_accept(started);
      break;
    case Kind::poll:
      perform_poll(started);
      break;
  }
  return true;
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

void SimReactor::finish(Op& op) {
  const auto found = operations_.find(OpAccess::word(op));
  --endpoints_.at(found->second.handle).operations;
  operations_.erase(found);
  OpAccess::started(op) = false;
}

void SimReactor::end_read(ReadOp& op, int error) {
  machine_.note("read_end", {static_cast<std::int64_t>(id_), op.handle, error});
  finish(op);
  op.on_read_end(error);
}

void SimReactor::end_write(WriteOp& op, int error) {
  machine_.note("written", {static_cast<std::int64_t>(id_), op.handle, error,
                            static_cast<std::int64_t>(op.written)});
  finish(op);
  op.on_written(error);
}

bool SimReactor::deliver(ReadOp& op, SimEndpoint& endpoint, std::size_t& budget) {
  SimPipe& pipe = *endpoint.in;
  std::size_t count = std::min({pipe.size(), budget, HotSegment::kBytes});
  if (count == 0) return false;
  if (machine_.roll(Fault::short_read)) count = 1 + machine_.random().below(count);
  budget -= count;
  const std::size_t offset = machine_.random().below(HotSegment::kAlignments);
  char* bytes = segment_->allow(count, offset);
  segment_->uses(offset + count + kReadPadding);
  pipe.take(bytes, count);
  if (pipe.size() > 0) pipe.unreadable_until = machine_.now() + machine_.pick_delay(kSimDelayMost);
  machine_.note("read",
                {static_cast<std::int64_t>(id_), op.handle, static_cast<std::int64_t>(count)});
  op.on_read(std::span<char>(bytes, count));
  segment_->forbid();
  return true;
}

void SimReactor::perform_read(Started started) {
  ReadOp& op = *static_cast<ReadOp*>(started.op);
  SimEndpoint& endpoint = endpoints_.at(started.handle);
  const bool readable =
      !frozen_ && !OpAccess::paused(op) && endpoint.readable_at() <= machine_.now();
  if (OpAccess::cancelled(op) && !(readable && machine_.roll(Fault::cancel_race))) {
    return end_read(op, ECANCELED);
  }
  if (frozen_) return end_read(op, ECANCELED);
  if (endpoint.failure != 0) return end_read(op, endpoint.failure);
  if (endpoint.kind == SimEndpoint::Kind::socket && machine_.roll(Fault::reset)) {
    reset_endpoint(machine_, endpoint);
  }
  std::size_t budget = op.turn_budget;
  if (deliver(op, endpoint, budget)) {
    while (operations_.count(OpAccess::word(op)) != 0 && !frozen_ && !OpAccess::paused(op) &&
           !OpAccess::cancelled(op) && endpoint.in->unreadable_until <= machine_.now() &&
           machine_.random().one_in(2) && deliver(op, endpoint, budget)) {
    }
    return;
  }
  end_read(op, endpoint.in->reset ? ECONNRESET : 0);
}

/// Moves what there is room for; an errno, or 0.
int SimReactor::transfer(WriteOp& op, SimEndpoint& endpoint) {
  BERTH_ASSERT(endpoint.out != nullptr);
  SimPipe& pipe = *endpoint.out;
  const bool socket = endpoint.kind == SimEndpoint::Kind::socket;
  if (socket && machine_.roll(Fault::reset)) reset_endpoint(machine_, endpoint);
  if (!pipe.writer_open) return EPIPE;
  if (pipe.reset) return machine_.random().one_in(2) ? EPIPE : ECONNRESET;
  if (!pipe.reader_open && !socket) return EPIPE;
  std::size_t count = left_of(op);
  if (!pipe.reader_open) {
    // The peer is gone but its reset is still on the way: the kernel takes the bytes, nobody gets
    // them.
    move_bytes(op, count, nullptr);
    reset_endpoint(machine_, endpoint);
    return 0;
  }
  count = std::min(count, pipe.room());
  if (count > 1 && machine_.roll(Fault::partial_write)) {
    count = 1 + machine_.random().below(count - 1);
    pipe.unwritable_until = machine_.now() + machine_.pick_delay(kSimDelayMost);
  }
  if (pipe.size() == 0) pipe.unreadable_until = machine_.now() + machine_.pick_delay(kSimDelayMost);
  move_bytes(op, count, &pipe);
  return 0;
}

void SimReactor::perform_write(Started started) {
  WriteOp& op = *static_cast<WriteOp*>(started.op);
  if (frozen_) return end_write(op, ECANCELED);
  SimEndpoint& endpoint = endpoints_.at(started.handle);
  const bool writable = endpoint.writable_at() <= machine_.now();
  if (OpAccess::cancelled(op) && !(writable && machine_.roll(Fault::cancel_race))) {
    return end_write(op, ECANCELED);
  }
  if (endpoint.failure != 0) return end_write(op, endpoint.failure);
  const int error = transfer(op, endpoint);
  if (error != 0 || left_of(op) == 0) return end_write(op, error);
  machine_.note("write",
                {static_cast<std::int64_t>(id_), op.handle, static_cast<std::int64_t>(op.written)});
}

void SimReactor::perform_accept(Started started) {
  AcceptOp& op = *static_cast<AcceptOp*>(started.op);
  SimEndpoint& listener = endpoints_.at(started.handle);
  const bool ready = !frozen_ && listener.readable_at() <= machine_.now();
  if (frozen_ || (OpAccess::cancelled(op) && !(ready && machine_.roll(Fault::cancel_race)))) {
    machine_.note("accept_end", {static_cast<std::int64_t>(id_), op.listener});
    finish(op);
    return op.on_accept_end(ECANCELED);
  }
  const auto arrived = std::find_if(
      listener.backlog.begin(), listener.backlog.end(),
      [this](const SimEndpoint::Waiting& waiting) { return waiting.arrives <= machine_.now(); });
  SimEndpoint endpoint = std::move(arrived->endpoint);
  listener.backlog.erase(arrived);
  const Handle connection = own(std::move(endpoint));
  machine_.note("accept", {static_cast<std::int64_t>(id_), op.listener, connection});
  op.on_accept(connection);
}

void SimReactor::perform_poll(Started started) {
  PollOp& op = *static_cast<PollOp*>(started.op);
  const bool ready = !frozen_ && find(started.handle)->readable_at() <= machine_.now();
  const bool cancelled =
      frozen_ || (OpAccess::cancelled(op) && !(ready && machine_.roll(Fault::cancel_race)));
  machine_.note("poll", {static_cast<std::int64_t>(id_), op.handle, cancelled});
  finish(op);
  op.on_ready(cancelled ? ECANCELED : 0);
}

}  // namespace berth::io
