#include <berth/io/epoll_poller.h>

#include <berth/core/assert.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <limits>

namespace berth::inline v0::io {

// Masks go from poll(2) to epoll(7) and back as they are.
static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLPRI == EPOLLPRI &&
              POLLERR == EPOLLERR && POLLHUP == EPOLLHUP && POLLRDHUP == EPOLLRDHUP);

namespace {

constexpr std::size_t kEventsPerWait = 512;
/// Waits that fetch events in one turn at most: a turn must end though events keep coming.
constexpr int kDrainMax = 32;
constexpr unsigned kAlwaysTold = EPOLLERR | EPOLLHUP;
/// Marks a registration that waits for nothing but the above.
constexpr unsigned kInSet = EPOLLET;

std::uint64_t event_data(int fd, std::uint32_t generation) {
  return (std::uint64_t{generation} << 32) | static_cast<std::uint32_t>(fd);
}

}  // namespace

Result<std::unique_ptr<EpollPoller>> EpollPoller::create() {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return fail(errno_error(errno, "epoll_create1"));
  return std::unique_ptr<EpollPoller>(new EpollPoller(fd));
}

EpollPoller::EpollPoller(int epoll_fd)
    : epoll_fd_(epoll_fd), requests_(1), events_(new epoll_event[kEventsPerWait]) {
  told_.reserve(kEventsPerWait);
}

EpollPoller::~EpollPoller() {
  ::close(epoll_fd_);
}

void EpollPoller::poll_multishot(int fd, unsigned mask, std::uint64_t user_data) {
  ask(fd, mask, user_data, true);
}

void EpollPoller::poll_once(int fd, unsigned mask, std::uint64_t user_data) {
  ask(fd, mask, user_data, false);
}

void EpollPoller::ask(int fd, unsigned mask, std::uint64_t user_data, bool multishot) {
  const auto number = static_cast<std::size_t>(fd);
  if (fd < 0 || (number >= slots_.size() && ::fcntl(fd, F_GETFD) < 0)) {
    return tell(user_data, -EBADF, false);
  }
  if (number >= slots_.size()) slots_.resize(std::max(number + 1, 2 * slots_.size()));
  Slot& slot = slots_[number];
  // Always asked of the kernel, also when it knows the mask already: that is what makes it tell
  // what is there now. (The other requests on this descriptor may then hear of it once more.)
  const int error = control(fd, slot, wanted(slot) | mask);
  if (error == EPERM) {  // what knows no readiness never makes anybody wait
    return tell(user_data, static_cast<int>(mask & (POLLIN | POLLOUT)), false);
  }
  if (error != 0) return tell(user_data, -error, false);
  const Index index = take_request();
  requests_[index] = Request{user_data, fd, mask, multishot, slot.first};
  slot.first = index;
  BERTH_ASSERT(open_.insert(user_data, index));
}

// Puts the descriptor into the set with that mask, or changes it; errno or 0. Its owner may have
// closed it without a word, and the number may belong to another one by now: the kernel knows.
int EpollPoller::control(int fd, Slot& slot, unsigned mask) {
  const bool known = slot.registered != 0;
  if (!known) ++slot.generation;
  epoll_event event = {};
  event.events = mask | EPOLLET;
  event.data.u64 = event_data(fd, slot.generation);
  ++stats_.controls;
  int status = ::epoll_ctl(epoll_fd_, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
  if (status != 0 && errno == (known ? ENOENT : EEXIST)) {
    event.data.u64 = event_data(fd, ++slot.generation);
    ++stats_.controls;
    status = ::epoll_ctl(epoll_fd_, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
  }
  const int error = status == 0 ? 0 : errno;
  slot.registered = error == 0 ? mask | kInSet : 0;
  return error;
}

unsigned EpollPoller::wanted(const Slot& slot) const {
  unsigned mask = 0;
  for (Index i = slot.first; i != 0; i = requests_[i].next) mask |= requests_[i].mask;
  return mask;
}

void EpollPoller::cancel(std::uint64_t user_data) {
  const std::optional<Index> index = open_.find(user_data);
  if (!index.has_value()) return;  // its last completion is on its way
  unlink(slots_[static_cast<std::size_t>(requests_[*index].fd)], *index);
  tell(user_data, -ECANCELED, false);
}

void EpollPoller::forget(int fd) {
  const auto number = static_cast<std::size_t>(fd);
  if (fd < 0 || number >= slots_.size() || slots_[number].registered == 0) return;
  BERTH_ASSERT(slots_[number].first == 0);
  slots_[number].registered = 0;
  // Closing alone would do, unless another process holds the same pipe or socket: a child between
  // fork and exec, or whoever it was passed to.
  ++stats_.controls;
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
}

EpollPoller::Index EpollPoller::take_request() {
  if (free_ == 0) {
    requests_.emplace_back();
    return static_cast<Index>(requests_.size() - 1);
  }
  const Index index = free_;
  free_ = requests_[index].next;
  return index;
}

void EpollPoller::unlink(Slot& slot, Index index) {
  Index* link = &slot.first;
  while (*link != index) link = &requests_[*link].next;
  *link = requests_[index].next;
  open_.take(requests_[index].user_data);
  requests_[index].next = free_;
  free_ = index;
}

void EpollPoller::enter(std::optional<Duration> timeout) {
  if (taken_ < told_.size()) timeout = Duration::zero();
  for (int i = 0; i < kDrainMax; ++i) {
    const int count = wait(timeout);
    // Nothing else fails here: the descriptor and the room are ours.
    if (count < 0) ++stats_.interrupts;
    for (int event = 0; event < count; ++event) tell(events_[static_cast<std::size_t>(event)]);
    more_waiting_ = count == static_cast<int>(kEventsPerWait);
    if (!more_waiting_) return;
    timeout = Duration::zero();
  }
}

// Below 0 it was interrupted and nothing happened; the loop comes back.
int EpollPoller::wait(std::optional<Duration> timeout) {
  using std::chrono::milliseconds;
  ++stats_.waits;
  const int room = static_cast<int>(kEventsPerWait);
  if (!timeout.has_value()) return ::epoll_wait(epoll_fd_, events_.get(), room, -1);
  if (timeout->count() <= 0) return ::epoll_wait(epoll_fd_, events_.get(), room, 0);
  if (has_pwait2_) {
    timespec until = {};
    until.tv_sec = timeout->count() / 1'000'000'000;
    until.tv_nsec = timeout->count() % 1'000'000'000;
    const int count = ::epoll_pwait2(epoll_fd_, events_.get(), room, &until, nullptr);
    // Linux 5.11 has it; a seccomp filter older than that may forbid it.
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    has_pwait2_ = false;
  }
  // Rounded up: a turn too early would find nothing due and come again.
  const milliseconds rounded = std::chrono::ceil<milliseconds>(*timeout);
  const auto longest = milliseconds(std::numeric_limits<int>::max());
  return ::epoll_wait(epoll_fd_, events_.get(), room,
                      static_cast<int>(std::min(rounded, longest).count()));
}

void EpollPoller::tell(const epoll_event& event) {
  const auto fd = static_cast<std::uint32_t>(event.data.u64);
  const auto generation = static_cast<std::uint32_t>(event.data.u64 >> 32);
  Slot& slot = slots_[fd];
  if (slot.generation != generation || slot.registered == 0) {
    ++stats_.strays;
    return;
  }
  const unsigned events = event.events;
  unsigned told = 0;
  for (Index index = slot.first; index != 0;) {
    const Request request = requests_[index];
    const unsigned of_interest = events & (request.mask | kAlwaysTold);
    if (of_interest != 0) {
      if (!request.multishot) unlink(slot, index);
      tell(request.user_data, static_cast<int>(of_interest), request.multishot);
      told |= of_interest;
    }
    index = request.next;
  }
  if ((events & ~told) == 0) return;
  ++stats_.strays;
  // A writer that once waited for room would else be told of it for ever.
  const unsigned still_wanted = wanted(slot);
  if (still_wanted == 0) return forget(static_cast<int>(fd));
  if ((slot.registered & ~kInSet) != still_wanted) {
    control(static_cast<int>(fd), slot, still_wanted);
  }
}

void EpollPoller::tell(std::uint64_t user_data, int result, bool more) {
  told_.push_back(Completion{user_data, result, more, 0});
}

std::size_t EpollPoller::reap(std::span<Completion> out) {
  const std::size_t count = std::min(out.size(), told_.size() - taken_);
  std::copy_n(told_.begin() + static_cast<std::ptrdiff_t>(taken_), count, out.begin());
  taken_ += count;
  if (taken_ == told_.size()) {
    told_.clear();
    taken_ = 0;
  }
  return count;
}

}  // namespace berth::inline v0::io
