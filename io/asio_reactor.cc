#include <berth/io/asio_reactor.h>

#include <berth/io/fd_reactor.h>

#include <berth/io/epoll_poller.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <cstdint>
#include <system_error>
#include <utility>

namespace berth::inline v0::io {

namespace {

/// A reactor as a guest of an io_context: one wait on its wait_fd(), one timer for its deadline.
class AsioHost final : public LoopHost {
 public:
  AsioHost(asio::io_context& context, FdReactor& reactor)
      : context_(context),
        reactor_(reactor),
        descriptor_(context, reactor.wait_fd()),
        timer_(context) {}
  ~AsioHost() override {
    *alive_ = nullptr;
    descriptor_.release();  // the descriptor is the reactor's to close
  }

  void on_outside_work() override { post_turn(); }
  void on_turn_end() override;
  void on_wake() override;
  void run(const std::atomic<bool>& stop) override;

 private:
  void turn() { reactor_.poll(); }
  void post_turn();
  void wait_for_descriptor();
  void wait_until(TimePoint when);
  void sleep();

  asio::io_context& context_;
  FdReactor& reactor_;
  asio::posix::stream_descriptor descriptor_;
  asio::steady_timer timer_;
  /// Handlers that the context still holds when the reactor is gone find null here.
  const std::shared_ptr<AsioHost*> alive_ = std::make_shared<AsioHost*>(this);
  bool turn_posted_ = false;
  bool waits_for_descriptor_ = false;
  std::optional<TimePoint> waits_until_;
  // A wait that was given up still calls its handler: it is known by its old number.
  std::uint64_t descriptor_wait_ = 0;
  std::uint64_t timer_wait_ = 0;
  /// Nothing waits in the context, so that its run() can end; on_wake() posts then.
  std::atomic<bool> asleep_ = false;
};

void AsioHost::run(const std::atomic<bool>& stop) {
  const auto stay = asio::make_work_guard(context_);
  if (context_.stopped()) context_.restart();
  while (!stop.load(std::memory_order_acquire) && context_.run_one() > 0) {
  }
}

void AsioHost::post_turn() {
  if (turn_posted_) return;
  turn_posted_ = true;
  asio::post(context_, [alive = alive_] {
    AsioHost* self = *alive;
    if (self == nullptr) return;
    self->turn_posted_ = false;
    self->turn();
  });
}

void AsioHost::on_wake() {
  if (!asleep_.load()) return;  // the descriptor tells it
  asio::post(context_, [alive = alive_] {
    if (AsioHost* self = *alive) self->turn();
  });
}

void AsioHost::on_turn_end() {
  const std::optional<TimePoint> due = reactor_.next_deadline();
  if (!due.has_value() && reactor_.idle()) return sleep();
  asleep_.store(false);
  if (due.has_value() && *due <= reactor_.clock().now()) return post_turn();
  if (due.has_value()) wait_until(*due);
  wait_for_descriptor();
}

void AsioHost::sleep() {
  asleep_.store(true);
  // Whoever comes from now on posts; whoever came before, and saw that we were awake, is seen here.
  if (reactor_.has_remote()) {
    asleep_.store(false);
    return post_turn();
  }
  if (std::exchange(waits_for_descriptor_, false)) {
    ++descriptor_wait_;
    descriptor_.cancel();
  }
  if (std::exchange(waits_until_, std::nullopt).has_value()) {
    ++timer_wait_;
    timer_.cancel();
  }
}

// Costs an epoll_ctl(2): Asio has the kernel look anew for each wait.
void AsioHost::wait_for_descriptor() {
  if (std::exchange(waits_for_descriptor_, true)) return;
  descriptor_.async_wait(asio::posix::descriptor_base::wait_read,
                         [alive = alive_, number = ++descriptor_wait_](const std::error_code&) {
                           AsioHost* self = *alive;
                           if (self == nullptr || number != self->descriptor_wait_) return;
                           self->waits_for_descriptor_ = false;
                           self->turn();
                         });
}

// A wait that ends too early costs an empty turn, moving it a system call: the first is rarer.
void AsioHost::wait_until(TimePoint when) {
  if (waits_until_.has_value() && *waits_until_ <= when) return;
  waits_until_ = when;
  timer_.expires_at(when);
  timer_.async_wait([alive = alive_, number = ++timer_wait_](const std::error_code&) {
    AsioHost* self = *alive;
    if (self == nullptr || number != self->timer_wait_) return;
    self->waits_until_.reset();
    self->turn();
  });
}

}  // namespace

Result<void> run_in(asio::io_context& context, Reactor& reactor) {
  auto* const turned = dynamic_cast<FdReactor*>(&reactor);
  if (turned == nullptr) {
    return fail(ErrorKind::unsupported, "simulated",
                "the simulated machine turns its reactors itself");
  }
  try {
    turned->attach(std::make_unique<AsioHost>(context, *turned));
  } catch (const std::system_error& failure) {
    // The context makes its own descriptors when they are first needed.
    return fail(errno_error(failure.code().value(), "waiting in an asio::io_context"));
  }
  return {};
}

Result<std::unique_ptr<Reactor>> make_asio_reactor() {
  Result<std::unique_ptr<EpollPoller>> poller = EpollPoller::create();
  if (!poller.has_value()) return fail(std::move(poller.error()));
  return FdReactor::create("asio", std::move(*poller));
}

Result<std::unique_ptr<Reactor>> make_asio_reactor(asio::io_context& context) {
  Result<std::unique_ptr<Reactor>> reactor = make_asio_reactor();
  if (!reactor.has_value()) return reactor;
  Result<void> hosted = run_in(context, **reactor);
  if (!hosted.has_value()) return fail(std::move(hosted.error()));
  return reactor;
}

}  // namespace berth::inline v0::io
