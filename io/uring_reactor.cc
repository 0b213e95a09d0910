#include <berth/io/uring_reactor.h>

#include <berth/io/fd_io.h>
#include <berth/io/net.h>
#include <berth/io/uring_tags.h>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>

namespace berth::io {

namespace {

constexpr std::size_t kHotBytes = 64 * 1024;
constexpr std::size_t kCompletionsPerReap = 256;
/// Rounds of posted runnables in one turn: a chain of coroutines resumes within the turn (so that
/// its hooks see all of it), one that posts for ever does not hold up completions.
constexpr int kRoundsMax = 16;

}  // namespace

Result<std::unique_ptr<UringReactor>> UringReactor::create(const UringSizes& sizes) {
  Result<UringRing> ring = UringRing::create(sizes);
  if (!ring.has_value()) return fail(std::move(ring.error()));
  const int wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_fd < 0) return fail(errno_error(errno, "eventfd"));
  return std::unique_ptr<UringReactor>(new UringReactor(std::move(*ring), wake_fd));
}

UringReactor::UringReactor(UringRing ring, int wake_fd)
    : ring_(std::move(ring)),
      wake_fd_(wake_fd),
      completions_(kCompletionsPerReap),
      hot_(kHotBytes + kReadPadding) {
  clock_.start_turn();
  ring_.poll_multishot(wake_fd_, POLLIN, user_data(Tag::wake, nullptr));
}

UringReactor::~UringReactor() {
  BERTH_ASSERT(started_ == 0);  // the kernel would go on with operations whose owners are gone
  disarm(watchdog_);
  disarm(accept_retry_);
  ::close(wake_fd_);
}

void UringReactor::TurnClock::start_turn() {
  now_ = std::chrono::steady_clock::now();
  wall_.reset();
}

WallTime UringReactor::TurnClock::wall() const {
  if (!wall_.has_value()) {
    const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
    wall_ = std::chrono::duration_cast<WallTime>(since_epoch);
  }
  return *wall_;
}

// --- the turn ---

void UringReactor::run() {
  while (!stop_requested_.load(std::memory_order_acquire)) turn(true);
  stop_requested_.store(false, std::memory_order_release);
}

bool UringReactor::poll() {
  return turn(false);
}

bool UringReactor::turn(bool may_wait) {
  if (!ring_.enabled()) ring_.enable();
  ++stats_.turns;
  ran_ = false;
  enter(may_wait && !has_work());
  clock_.start_turn();
  collect_completions();
  run_timers();
  run_connections();
  run_ready_reads();
  run_rounds();
  const bool ran = ran_;
  if (ran) hooks_.for_each([](TurnHook& hook) { hook.on_turn_end(); });
  return ran;
}

// Whether the next turn has something to run before any completion comes.
bool UringReactor::has_work() const {
  return !posted_.empty() || !ready_.empty() || !reading_.empty() || !ended_reads_.empty() ||
         !ended_writes_.empty() || !ended_accepts_.empty() || !ended_polls_.empty() ||
         stop_requested_.load(std::memory_order_relaxed);
}

void UringReactor::enter(bool may_wait) {
  if (!may_wait) {
    ring_.enter(Duration::zero());
    return;
  }
  const std::optional<TimePoint> next = timers_.next();
  if (!next.has_value()) {
    ring_.enter(std::nullopt);
    return;
  }
  const Duration wait = *next - std::chrono::steady_clock::now();
  ring_.enter(std::max(wait, Duration::zero()));
}

void UringReactor::collect_completions() {
  for (;;) {
    const std::size_t count = ring_.reap(completions_);
    for (std::size_t i = 0; i < count; ++i) dispatch(completions_[i]);
    stats_.completions += count;
    if (count < completions_.size()) return;
  }
}

// Nothing is called back here; an operation that is done goes to the list that its callback is
// called from.
void UringReactor::dispatch(const UringCompletion& completion) {
  switch (tag_of(completion.user_data)) {
    case Tag::cancel:
      return;
    case Tag::wake:
      if (!completion.more) {
        ring_.poll_multishot(wake_fd_, POLLIN, user_data(Tag::wake, nullptr));
      }
      collect_remote();
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
  }
}

void UringReactor::run_timers() {
  // All that are due leave the heap first: what a callback arms for now fires in the next turn.
  while (TimerOp* timer = timers_.pop_due(clock_.now())) due_.push_back(*timer);
  while (TimerOp* timer = due_.pop_front()) {
    OpAccess::started(*timer) = false;
    if (timer != &watchdog_) ran_ = true;
    timer->on_timer();
  }
}

void UringReactor::run_rounds() {
  for (int round = 0; round < kRoundsMax; ++round) {
    if (!run_ends() && posted_.empty()) return;
    running_.splice_back(posted_);
    while (Runnable* runnable = running_.pop_front()) {
      ran_ = true;
      runnable->run();
    }
  }
}

// --- timers ---

void UringReactor::arm(TimerOp& op, TimePoint when) {
  static_cast<ListNode&>(op).unlink();  // it may be due in this very turn
  OpAccess::started(op) = true;
  timers_.insert(op, when);
}

void UringReactor::disarm(TimerOp& op) {
  static_cast<ListNode&>(op).unlink();
  timers_.remove(op);
  OpAccess::started(op) = false;
}

// --- other threads ---

void UringReactor::post_remote(Runnable& runnable) {
  {
    const std::lock_guard lock(remote_mutex_);
    remote_.push_back(runnable);
    if (woken_) return;
    woken_ = true;
  }
  wake();
}

void UringReactor::stop() {
  stop_requested_.store(true, std::memory_order_release);
  wake();
}

void UringReactor::wake() {
  // Fails only when the counter is at its end, and then it is readable anyway.
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void UringReactor::collect_remote() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &count, sizeof count);
  const std::lock_guard lock(remote_mutex_);
  woken_ = false;
  posted_.splice_back(remote_);
}

// --- handles ---

void UringReactor::close(Handle handle) {
  ::close(handle);
}

void UringReactor::shutdown_write(Handle handle) {
  ::shutdown(handle, SHUT_WR);
}

Result<Handle> UringReactor::listen(const Address& address) {
  return net::listen(address);
}

Result<Address> UringReactor::local_address(Handle handle) {
  return net::address_of(handle);
}

Result<Handle> UringReactor::connect(const Address& address) {
  return net::connect(address);
}

Result<Handle> UringReactor::adopt(int fd) {
  if (const int error = make_nonblocking(fd); error != 0) {
    return fail(errno_error(error, "adopting a descriptor"));
  }
  return fd;
}

}  // namespace berth::io
