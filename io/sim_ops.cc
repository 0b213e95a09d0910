// The operations of the simulated engine: what each may do when its turn comes.
#include <berth/io/net.h>
#include <berth/io/sim_reactor.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

/// How long an engine waits for descriptors before it accepts again.
constexpr Duration kStarvedFor = std::chrono::milliseconds(100);
/// How long the kernel tries to connect before it gives up (Linux: about two minutes).
constexpr Duration kConnectPatience = std::chrono::minutes(2);

std::size_t left_of(const WriteOp& op) {
  std::size_t left = 0;
  for (const iovec& part : op.parts) left += part.iov_len;
  return left;
}

/// Takes up to `count` bytes from the front of the operation's parts, and what is empty there.
void move_bytes(WriteOp& op, std::size_t count, SimPipe* to) {
  while (!op.parts.empty()) {
    iovec& part = op.parts.front();
    const std::size_t taken = std::min(count, part.iov_len);
    if (to != nullptr) to->append({static_cast<const char*>(part.iov_base), taken});
    part.iov_base = static_cast<char*>(part.iov_base) + taken;
    part.iov_len -= taken;
    op.written += taken;
    count -= taken;
    if (part.iov_len > 0) return;
    op.parts = op.parts.subspan(1);
  }
}

}  // namespace

/// Whether a cancelled operation ends as one. `ready`: it could go on, and the fault cancel_race
/// lets it.
bool SimReactor::cancel_wins(Op& op, bool ready) {
  if (!OpAccess::cancelled(op)) return false;
  if (!ready) return true;
  if (machine_.roll(Fault::cancel_race)) return false;
  machine_.count(Fault::cancel_wins);
  return true;
}

void SimReactor::finish(Op& op) {
  const auto found = operations_.find(OpAccess::word(op));
  const Handle handle = found->second.handle;
  if (handle != kNoHandle) --endpoints_.at(handle).operations;
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
  std::size_t count = std::min({pipe.size(), budget, SimHotSegment::kBytes});
  if (count == 0) return false;
  if (machine_.roll(Fault::short_read)) count = 1 + machine_.random().below(count);
  budget -= count;
  const std::size_t offset = machine_.random().below(SimHotSegment::kAlignments);
  char* bytes = segment_->allow(count, offset);
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
  if (frozen_ || cancel_wins(op, readable)) return end_read(op, ECANCELED);
  if (machine_.roll(Fault::interrupted)) return;
  if (op.way == ReadOp::Way::buffers && machine_.roll(Fault::no_buffers)) {
    endpoint.in->unreadable_until = machine_.now() + machine_.pick_span(kSimDelayMost);
    return;
  }
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
  if (socket && machine_.roll(Fault::half_close)) end_writing(machine_, pipe);
  return 0;
}

void SimReactor::perform_write(Started started) {
  WriteOp& op = *static_cast<WriteOp*>(started.op);
  if (frozen_) return end_write(op, ECANCELED);
  SimEndpoint& endpoint = endpoints_.at(started.handle);
  const bool writable = endpoint.writable_at() <= machine_.now();
  if (cancel_wins(op, writable)) return end_write(op, ECANCELED);
  if (op.parts.empty()) return end_write(op, 0);  // nothing to write is never a system call
  if (machine_.roll(Fault::interrupted)) return;
  const int error = transfer(op, endpoint);
  if (error != 0 || op.parts.empty()) return end_write(op, error);
  machine_.note("write",
                {static_cast<std::int64_t>(id_), op.handle, static_cast<std::int64_t>(op.written)});
}

void SimReactor::perform_accept(Started started) {
  AcceptOp& op = *static_cast<AcceptOp*>(started.op);
  SimEndpoint& listener = endpoints_.at(started.handle);
  const bool ready = !frozen_ && listener.readable_at() <= machine_.now();
  if (frozen_ || cancel_wins(op, ready)) {
    machine_.note("accept_end", {static_cast<std::int64_t>(id_), op.listener});
    finish(op);
    return op.on_accept_end(ECANCELED);
  }
  if (machine_.roll(Fault::interrupted)) return;
  if (machine_.roll(Fault::accept_starved)) {
    for (SimEndpoint::Waiting& waiting : listener.backlog) {
      waiting.arrives = std::max(waiting.arrives, machine_.now() + kStarvedFor);
    }
    return;
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
  const bool cancelled = frozen_ || cancel_wins(op, ready);
  machine_.note("poll", {static_cast<std::int64_t>(id_), op.handle, cancelled});
  finish(op);
  op.on_ready(cancelled ? ECANCELED : 0);
}

// --- connecting ---

void SimReactor::start(ConnectOp& op) {
  Started started{Kind::connect, &op, kNoHandle};
  started.due = machine_.now() + machine_.pick_delay(kSimDelayMost);
  if (machine_.roll(Fault::connect_failure)) {
    static constexpr std::array kFailures = {ETIMEDOUT, ECONNREFUSED, ECONNRESET, EHOSTUNREACH};
    const int error = kFailures[machine_.random().below(kFailures.size())];
    started.result = error;
    started.due += error == ETIMEDOUT ? kConnectPatience : machine_.pick_span(kSimDelayMost);
  } else if (machine_.roll(Fault::no_descriptor)) {
    started.result = EMFILE;
  }
  add(started);
}

int SimReactor::make_connection(const ConnectOp& op, Handle& connection) {
  Result<SimEndpoint> endpoint = machine_.connect(op.address.text);
  if (!endpoint.has_value()) {
    return endpoint.error().kind == ErrorKind::invalid ? EINVAL : ECONNREFUSED;
  }
  connection = own(std::move(*endpoint));
  return 0;
}

void SimReactor::perform_connect(Started started) {
  ConnectOp& op = *static_cast<ConnectOp*>(started.op);
  const bool due = started.due <= machine_.now();
  Handle connection = kNoHandle;
  if (frozen_) return end_connect(op, kNoHandle, ECANCELED);
  if (cancel_wins(op, due)) {
    // The listener may have had it already: then it gets a connection that ends at once.
    const bool seen = due && started.result == 0 && machine_.random().one_in(2);
    if (seen && make_connection(op, connection) == 0) close(connection);
    return end_connect(op, kNoHandle, ECANCELED);
  }
  if (machine_.roll(Fault::interrupted)) return;
  int error = static_cast<int>(started.result);
  if (!net::parse(op.address.text).has_value()) error = EINVAL;
  if (error == 0) error = make_connection(op, connection);
  end_connect(op, connection, error);
}

void SimReactor::end_connect(ConnectOp& op, Handle connection, int error) {
  machine_.note("connected", {static_cast<std::int64_t>(id_), connection, error});
  finish(op);
  op.on_connected(connection, error);
}

// --- waiting for children ---

bool SimReactor::child_ended(const WaitOp& op, int& error) const {
  const SimMachine::Child* child = machine_.find_child(op.pid);
  error = child == nullptr || child->parent != process_id_ ? ECHILD : 0;
  return error != 0 || (child->ended && child->known_at <= machine_.now());
}

void SimReactor::perform_wait(Started started) {
  WaitOp& op = *static_cast<WaitOp*>(started.op);
  int error = 0;
  const bool ended = child_ended(op, error);
  if (frozen_ || cancel_wins(op, ended)) {
    error = ECANCELED;
  } else if (machine_.roll(Fault::interrupted)) {
    return;
  }
  machine_.note("wait", {static_cast<std::int64_t>(id_), op.pid, error});
  finish(op);
  op.on_ended(error);
}

}  // namespace berth::inline v0::io
