#include <berth/io/uring_ring.h>

#include <berth/core/assert.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/uring_abi.h>
#include <berth/io/uring_buffers.h>
#include <berth/io/uring_probe.h>

#include <fcntl.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace berth::inline v0::io {

namespace {

constexpr unsigned kSetupFlags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED |
                                 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;

/// Calls to fetch completions in one turn at most: a turn must end though events keep coming.
constexpr int kDrainMax = 64;

/// The kernel's threads for steps that block: so many for files, so many for the rest.
constexpr unsigned kFileThreadsMax = 4;

}  // namespace

void UringRing::Close::operator()(io_uring* ring) const {
  io_uring_queue_exit(ring);
  delete ring;
}

UringRing::UringRing(std::unique_ptr<io_uring, Close> ring) : ring_(std::move(ring)) {}
UringRing::~UringRing() {
  if (event_fd_ >= 0) ::close(event_fd_);
}

Result<std::unique_ptr<UringRing>> UringRing::create(const UringSizes& sizes) {
  io_uring_params params = {};
  params.flags = kSetupFlags;
  params.cq_entries = sizes.completions;
  auto raw = std::make_unique<io_uring>();
  const int status = io_uring_queue_init_params(sizes.submissions, raw.get(), &params);
  if (status < 0) {
    Error error = make_error(ErrorKind::unsupported, "uring_unusable",
                             explain_uring_failure(-status, read_uring_facts()));
    if (status == -EMFILE || status == -ENFILE) error.kind = ErrorKind::overloaded;
    error.errno_value = -status;
    return fail(std::move(error));
  }
  std::unique_ptr<UringRing> ring(new UringRing(std::unique_ptr<io_uring, Close>(raw.release())));
  std::string missing = missing_uring_parts(*ring->ring_);
  if (!missing.empty()) return fail(ErrorKind::unsupported, "uring_unusable", std::move(missing));
  ring->has_waitid_ = uring_has(*ring->ring_, abi::kOpWaitid);
  // The first kernels with both did not always wake a DEFER_TASKRUN ring for a message. WAITID is
  // younger (6.7) than the mending.
  ring->has_messages_ = ring->has_waitid_ && uring_has(*ring->ring_, IORING_OP_MSG_RING);
  return ring;
}

void UringRing::enable() {
  BERTH_ASSERT(!enabled_);
  enabled_ = true;
  // io_uring_enable_rings() is declared by liburing 2.3 but missing from its library.
  BERTH_ASSERT(::syscall(SYS_io_uring_register, ring_->ring_fd, IORING_REGISTER_ENABLE_RINGS,
                         nullptr, 0) == 0);
  // Saves the descriptor look-up in each call; a kernel without room for it just goes on without.
  io_uring_register_ring_fd(ring_.get());
  std::array<unsigned, 2> threads = {kFileThreadsMax, kFileThreadsMax};
  io_uring_register_iowq_max_workers(ring_.get(), threads.data());
}

io_uring_sqe* UringRing::next_entry() {
  io_uring_sqe* entry = io_uring_get_sqe(ring_.get());
  while (entry == nullptr) {
    if (!enabled_) enable();
    ++enters_;
    ++submissions_;
    const int status = io_uring_submit(ring_.get());
    // No room for completions, or no memory, right now: entering lets the kernel move on.
    BERTH_ASSERT(status >= 0 || status == -EBUSY || status == -EAGAIN || status == -EINTR);
    if (status < 0) io_uring_get_events(ring_.get());
    entry = io_uring_get_sqe(ring_.get());
  }
  return entry;
}

void UringRing::poll_multishot(int fd, unsigned mask, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_poll_multishot(entry, fd, mask);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::poll_once(int fd, unsigned mask, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_poll_add(entry, fd, mask);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::accept_multishot(int listener, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_multishot_accept(entry, listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  io_uring_sqe_set_data64(entry, user_data);
}

UringBuffers* UringRing::buffers() {
  if (!std::exchange(buffers_tried_, true)) buffers_ = UringBuffers::create(*ring_);
  return buffers_.get();
}

void UringRing::receive_multishot(int socket, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_recv_multishot(entry, socket, nullptr, 0, 0);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = UringBuffers::kGroup;
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::waitid(int pid, int options, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_rw(abi::kOpWaitid, entry, pid, nullptr, P_PID, 0);
  entry->file_index = static_cast<std::uint32_t>(options);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::message(int ring_fd, std::uint64_t message, std::uint64_t failed) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_msg_ring(entry, ring_fd, 0, message, 0);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(entry, failed);
}

void UringRing::open(const char* path, int flags, unsigned mode, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_openat(entry, AT_FDCWD, path, flags, mode);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::read(int fd, std::span<char> into, std::uint64_t offset, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_read(entry, fd, into.data(), static_cast<unsigned>(into.size()), offset);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::write(int fd, std::span<const char> from, std::uint64_t offset,
                      std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_write(entry, fd, from.data(), static_cast<unsigned>(from.size()), offset);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::fsync(int fd, Sync what, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_fsync(entry, fd, what == Sync::data ? IORING_FSYNC_DATASYNC : 0);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::rename(const char* path, const char* new_path, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_renameat(entry, AT_FDCWD, path, AT_FDCWD, new_path, 0);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::unlink(const char* path, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_unlinkat(entry, AT_FDCWD, path, 0);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::close(int fd, std::uint64_t user_data) {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_close(entry, fd);
  io_uring_sqe_set_data64(entry, user_data);
}

void UringRing::cancel(std::uint64_t user_data) {
  // ASYNC_CANCEL, not POLL_REMOVE: the latter answers EALREADY and leaves a multishot poll armed
  // when it races with an event, the former always ends it.
  io_uring_sqe* entry = next_entry();
  io_uring_prep_cancel64(entry, user_data, 0);
  entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(entry, 0);
}

bool UringRing::has_work() const {
  return kernel_has_work() || io_uring_sq_ready(ring_.get()) > 0 ||
         io_uring_cq_ready(ring_.get()) > 0;
}

int UringRing::ring_fd() const {
  return ring_->ring_fd;
}

int UringRing::wait_fd() {
  if (event_fd_ >= 0) return event_fd_;
  event_fd_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event_fd_ < 0) return -1;
  // May fail only for want of memory, and on a ring that has one, and this one is new.
  BERTH_ASSERT(io_uring_register_eventfd(ring_.get(), event_fd_) == 0);
  return event_fd_;
}

bool UringRing::kernel_has_work() const {
  const unsigned flags = __atomic_load_n(ring_->sq.kflags, __ATOMIC_RELAXED);
  return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

void UringRing::enter(std::optional<Duration> timeout) {
  // Errors mean "nothing happened": ETIME, EINTR, or EBUSY and EAGAIN as above. The loop comes
  // back.
  if (!enabled_) enable();
  io_uring* ring = ring_.get();
  if (event_fd_ >= 0) {  // before looking: what comes later makes it readable again
    std::uint64_t signals = 0;
    [[maybe_unused]] const ssize_t got = ::read(event_fd_, &signals, sizeof signals);
  }
  if (io_uring_sq_ready(ring) > 0) ++submissions_;
  if (!timeout.has_value()) {
    ++enters_;
    io_uring_submit_and_wait(ring, 1);
  } else if (timeout->count() > 0) {
    ++enters_;
    __kernel_timespec until = {};
    until.tv_sec = timeout->count() / 1'000'000'000;
    until.tv_nsec = timeout->count() % 1'000'000'000;
    io_uring_cqe* first = nullptr;
    io_uring_submit_and_wait_timeout(ring, &first, 1, &until, nullptr);
  } else if (io_uring_sq_ready(ring) > 0) {
    ++enters_;
    io_uring_submit_and_get_events(ring);
  }
  // The kernel hands out some twenty completions a call. A turn should see all that there are: what
  // a turn gathers is sent at once.
  for (int i = 0; i < kDrainMax && kernel_has_work(); ++i) {
    ++enters_;
    io_uring_get_events(ring);
  }
}

std::size_t UringRing::reap(std::span<Completion> out) {
  io_uring* ring = ring_.get();
  unsigned head = 0;
  std::size_t count = 0;
  io_uring_cqe* completion = nullptr;
  io_uring_for_each_cqe(ring, head, completion) {
    if (count == out.size()) break;
    out[count++] = Completion{completion->user_data, completion->res,
                              (completion->flags & IORING_CQE_F_MORE) != 0, completion->flags};
  }
  if (count > 0) io_uring_cq_advance(ring, static_cast<unsigned>(count));
  return count;
}

std::uint64_t UringRing::overflow_count() const {
  return __atomic_load_n(ring_->cq.koverflow, __ATOMIC_RELAXED);
}

Result<std::unique_ptr<FdReactor>> make_uring_reactor(const UringSizes& sizes) {
  Result<std::unique_ptr<UringRing>> ring = UringRing::create(sizes);
  if (!ring.has_value()) return fail(std::move(ring.error()));
  return FdReactor::create("uring", std::move(*ring));
}

}  // namespace berth::inline v0::io
