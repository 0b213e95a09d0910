// tests/unit/io/plain_rig.h — the engine as it is without a ring's own operations: readiness comes
// from a ring, everything else is done by plain system calls, as on an epoll set.
#pragma once

#include "uring_rig.h"

#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace berth::inline v0::io {

class PlainPoller final : public Poller {
 public:
  explicit PlainPoller(std::unique_ptr<UringRing> ring) : under_(std::move(ring)) {}
  void poll_multishot(int fd, unsigned mask, std::uint64_t user_data) override {
    under_->poll_multishot(fd, mask, user_data);
  }
  void poll_once(int fd, unsigned mask, std::uint64_t user_data) override {
    under_->poll_once(fd, mask, user_data);
  }
  void cancel(std::uint64_t user_data) override { under_->cancel(user_data); }
  void enter(std::optional<Duration> timeout) override { under_->enter(timeout); }
  bool has_work() const override { return under_->has_work(); }
  bool kernel_has_work() const override { return under_->kernel_has_work(); }
  std::size_t reap(std::span<Completion> out) override { return under_->reap(out); }
  int wait_fd() override { return under_->wait_fd(); }

 private:
  std::unique_ptr<UringRing> under_;
};

inline std::unique_ptr<FdReactor> make_plain_reactor() {
  return FdReactor::create("plain", std::make_unique<PlainPoller>(UringRing::create({}).value()))
      .value();
}

}  // namespace berth::inline v0::io
