#include <berth/io/fd_reactor.h>

#include <berth/io/fd_io.h>
#include <berth/io/file_worker.h>
#include <berth/io/net.h>
#include <berth/io/op_tags.h>
#include <berth/io/remote_inbox.h>
#include <berth/io/uring_ring.h>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kHotBytes = 64 * 1024;
constexpr std::size_t kCompletionsPerReap = 256;
/// Rounds of posted runnables in one turn: a chain of coroutines resumes within the turn (so that
/// its hooks see all of it), one that posts for ever does not hold up completions.
constexpr int kRoundsMax = 16;

}  // namespace

Result<std::unique_ptr<FdReactor>> FdReactor::create(std::string_view name,
                                                     std::unique_ptr<Poller> poller) {
  Result<std::shared_ptr<RemoteInbox>> inbox = RemoteInbox::create();
  if (!inbox.has_value()) return fail(std::move(inbox.error()));
  return std::unique_ptr<FdReactor>(new FdReactor(name, std::move(poller), std::move(*inbox)));
}

FdReactor::FdReactor(std::string_view name, std::unique_ptr<Poller> poller,
                     std::shared_ptr<RemoteInbox> inbox)
    : name_(name),
      poller_(std::move(poller)),
      inbox_(std::move(inbox)),
      completions_(kCompletionsPerReap),
      hot_(kHotBytes + kReadPadding) {
  clock_.start_turn();
  poller_->poll_multishot(inbox_->wake_fd(), POLLIN, user_data(Tag::wake, nullptr));
}

FdReactor::~FdReactor() {
  BERTH_ASSERT(started_ == 0);  // the kernel would go on with operations whose owners are gone
  file_worker_.reset();         // its thread may just be waking us, and through us the host
  host_.reset();
  inbox_->close();
  disarm(watchdog_);
  disarm(accept_retry_);
  disarm(connect_retry_);
}

void FdReactor::TurnClock::start_turn() {
  now_ = std::chrono::steady_clock::now();
  wall_.reset();
}

WallTime FdReactor::TurnClock::wall() const {
  if (!wall_.has_value()) {
    const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
    wall_ = std::chrono::duration_cast<WallTime>(since_epoch);
  }
  return *wall_;
}

// --- the turn ---

void FdReactor::run() {
  if (host_ != nullptr) {
    host_->run(stop_requested_);
  } else {
    while (!stop_requested_.load(std::memory_order_acquire)) turn(true);
  }
  submit_messages();
  stop_requested_.store(false, std::memory_order_release);
}

bool FdReactor::poll() {
  const bool ran = turn(false);
  if (host_ != nullptr) host_->on_turn_end();
  return ran;
}

bool FdReactor::turn(bool may_wait) {
  if (thread_ == std::thread::id{}) thread_ = std::this_thread::get_id();
  BERTH_ASSERT(thread_ == std::this_thread::get_id());
  BERTH_ASSERT(!in_turn_);
  ++stats_.turns;
  ran_ = false;
  enter(may_wait && !has_work() && !stop_requested_.load(std::memory_order_relaxed));
  if (!open_) open_inbox();
  clock_.start_turn();
  in_turn_ = true;
  collect_completions();
  if (!held_.empty()) free_buffers();
  run_timers();
  run_connections();
  run_ready_reads();
  run_rounds();
  const bool ran = ran_;
  if (ran) hooks_.for_each([](TurnHook& hook) { hook.on_turn_end(); });
  in_turn_ = false;
  return ran;
}

// Only now, since the kernel refuses messages to a ring that was never entered. A guest of another
// loop may be out of it when a message comes: whoever posts to it must tell its host.
void FdReactor::open_inbox() {
  open_ = true;
  UringRing* ring = poller_->ring();
  if (ring != nullptr && ring->has_messages() && host_ == nullptr) inbox_->open(ring->ring_fd());
}

// Whether the next turn has something to run before any completion comes.
bool FdReactor::has_work() const {
  return !posted_.empty() || !ready_.empty() || !reading_.empty() || !ended_.empty();
}

std::optional<TimePoint> FdReactor::next_deadline() {
  if (has_work() || poller_->has_work()) return TimePoint::min();
  return timers_.next();
}

void FdReactor::enter(bool may_wait) {
  if (!may_wait) {
    poller_->enter(Duration::zero());
    return;
  }
  const std::optional<TimePoint> next = timers_.next();
  if (!next.has_value()) {
    poller_->enter(std::nullopt);
    return;
  }
  const Duration wait = *next - std::chrono::steady_clock::now();
  poller_->enter(std::max(wait, Duration::zero()));
}

void FdReactor::collect_completions() {
  for (;;) {
    const std::size_t count = poller_->reap(completions_);
    for (std::size_t i = 0; i < count; ++i) dispatch(completions_[i]);
    stats_.completions += count;
    if (count < completions_.size()) return;
  }
}

// Nothing is called back here; an operation that is done goes to the list that its callback is
// called from.
void FdReactor::dispatch(const Completion& completion) {
  switch (tag_of(completion.user_data)) {
    case Tag::cancel:
      return;
    case Tag::wake:
      if (!completion.more) {
        poller_->poll_multishot(inbox_->wake_fd(), POLLIN, user_data(Tag::wake, nullptr));
      }
      inbox_->take(posted_);
      return;
    case Tag::message:
      inbox_->take(posted_);
      return;
    case Tag::undelivered:
      undelivered_event(number_of(completion.user_data));
      return;
    case Tag::read:
      read_event(*op_of<ReadOp>(completion.user_data), completion);
      return;
    case Tag::write:
      write_event(*op_of<WriteOp>(completion.user_data), completion);
      return;
    case Tag::accept:
      accept_event(*op_of<AcceptOp>(completion.user_data), completion);
      return;
    case Tag::poll:
      poll_event(*op_of<PollOp>(completion.user_data), completion);
      return;
    case Tag::connect:
      connect_event(*op_of<ConnectOp>(completion.user_data), completion);
      return;
    case Tag::wait:
      wait_event(*op_of<WaitOp>(completion.user_data), completion);
      return;
    case Tag::file:
      file_event(*op_of<FileOp>(completion.user_data), completion);
      return;
  }
}

void FdReactor::run_timers() {
  // All that are due leave the heap first: what a callback arms for now fires in the next turn.
  while (TimerOp* timer = timers_.pop_due(clock_.now())) due_.push_back(*timer);
  while (TimerOp* timer = due_.pop_front()) {
    OpAccess::started(*timer) = false;
    if (timer != &watchdog_) ran_ = true;
    timer->on_timer();
  }
}

void FdReactor::run_rounds() {
  for (int round = 0; round < kRoundsMax; ++round) {
    if (!run_ends() && posted_.empty()) return;
    running_.splice_back(posted_);
    while (Runnable* runnable = running_.pop_front()) {
      ran_ = true;
      runnable->run();
    }
  }
}

// --- operations ---

void FdReactor::begin(Op& op) {
  BERTH_ASSERT(!op.started());
  OpAccess::started(op) = true;
  OpAccess::cancelled(op) = false;
  OpAccess::paused(op) = false;
  OpAccess::armed(op) = false;
  OpAccess::word(op) = 0;
  ++started_;
  touch();
}

// After this, and before the last callback, the engine knows nothing of `op`: the callback may
// start or destroy it.
void FdReactor::ended(Op& op) {
  OpAccess::started(op) = false;
  --started_;
  ran_ = true;
}

// Last callbacks. Only of what had ended when this was called: a callback that writes again, to
// somebody who takes everything at once, must not keep the turn from ending.
bool FdReactor::run_ends() {
  if (ended_.empty()) return false;
  Ended due;
  due.splice_back(ended_);
  while (WriteOp* op = due.writes.pop_front()) {
    const int error = static_cast<int>(OpAccess::word(*op));
    ended(*op);
    op->on_written(error);
  }
  while (ReadOp* op = due.reads.pop_front()) {
    forget_read(*op);
    const int error = state_of(*op).error;
    ended(*op);
    op->on_read_end(error);
  }
  while (PollOp* op = due.polls.pop_front()) {
    const int error = static_cast<int>(OpAccess::word(*op));
    ended(*op);
    op->on_ready(error);
  }
  while (AcceptOp* op = due.accepts.pop_front()) {
    const int error = static_cast<int>(OpAccess::word(*op));
    ended(*op);
    op->on_accept_end(error);
  }
  run_other_ends(due);
  return true;
}

void FdReactor::run_other_ends(Ended& due) {
  while (ConnectOp* op = due.connects.pop_front()) {
    const HandleState state = handle_state_of(*op);
    ended(*op);
    op->on_connected(state.handle, state.error);
  }
  while (WaitOp* op = due.waits.pop_front()) {
    const int error = handle_state_of(*op).error;
    ended(*op);
    op->on_ended(error);
  }
  while (FileOp* op = due.files.pop_front()) {
    const std::int64_t result = static_cast<std::int64_t>(OpAccess::word(*op));
    ended(*op);
    op->on_file(result);
  }
}

bool FdReactor::Ended::empty() const {
  return reads.empty() && writes.empty() && accepts.empty() && polls.empty() && connects.empty() &&
         waits.empty() && files.empty();
}

void FdReactor::Ended::splice_back(Ended& other) {
  reads.splice_back(other.reads);
  writes.splice_back(other.writes);
  accepts.splice_back(other.accepts);
  polls.splice_back(other.polls);
  connects.splice_back(other.connects);
  waits.splice_back(other.waits);
  files.splice_back(other.files);
}

// --- timers ---

void FdReactor::arm(TimerOp& op, TimePoint when) {
  static_cast<ListNode&>(op).unlink();  // it may be due in this very turn
  OpAccess::started(op) = true;
  timers_.insert(op, when);
  touch();
}

void FdReactor::disarm(TimerOp& op) {
  static_cast<ListNode&>(op).unlink();
  timers_.remove(op);
  OpAccess::started(op) = false;
  touch();
}

// --- somebody else's loop ---

void FdReactor::attach(std::unique_ptr<LoopHost> host) {
  BERTH_ASSERT(host_ == nullptr && thread_ == std::thread::id{});
  host_ = std::move(host);
  touch();
}

bool FdReactor::idle() const {
  return started_ == 0 && timers_.size() == 0 && !has_work() && !poller_->has_work();
}

bool FdReactor::has_remote() {
  return stop_requested_.load(std::memory_order_acquire) || !inbox_->empty();
}

// What a turn starts is planned for at its end.
void FdReactor::touch() {
  if (host_ != nullptr && !in_turn_) host_->on_outside_work();
}

void FdReactor::post(Runnable& runnable) {
  posted_.push_back(runnable);
  touch();
}

// --- other threads ---

void FdReactor::stop() {
  stop_requested_.store(true, std::memory_order_release);
  wake();
}

void FdReactor::wake() {
  inbox_->wake();
  if (host_ != nullptr) host_->on_wake();
}

// --- handles ---

void FdReactor::close(Handle handle) {
  poller_->forget(handle);
  ::close(handle);
}

Handle FdReactor::hand_over(Handle handle, Reactor&) {
  poller_->forget(handle);
  return handle;
}

void FdReactor::shutdown_write(Handle handle) {
  ::shutdown(handle, SHUT_WR);
}

Result<Handle> FdReactor::listen(const Address& address) {
  return net::listen(address);
}

Result<Address> FdReactor::local_address(Handle handle) {
  return net::address_of(handle);
}

Result<Handle> FdReactor::adopt(int fd) {
  if (const int error = make_nonblocking(fd); error != 0) {
    return fail(errno_error(error, "adopting a descriptor"));
  }
  return fd;
}

}  // namespace berth::inline v0::io
