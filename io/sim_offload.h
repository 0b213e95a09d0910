// io/sim_offload.h — blocking work in a simulated machine, at moments that the seed chooses.
#pragma once

#include <berth/io/offload.h>
#include <berth/io/sim_machine.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace berth::inline v0::io {

/// One worker a lane: jobs run and report in the order of submission. A job takes virtual time; it
/// stalls for seconds when the fault `offload_stall` strikes. Idle when it is destroyed.
class SimOffload final : public Offload {
 public:
  explicit SimOffload(SimMachine& machine, std::size_t queue_max = 4096)
      : machine_(machine), queue_max_(queue_max) {}
  ~SimOffload();

  Result<void> submit(Lane lane, Reactor& home, OffloadJob& job) override;
  bool withdraw(Lane lane, OffloadJob& job) override;
  LaneStats stats(Lane lane) override;

  /// Calls `crash` just before the `count`-th job from now runs (1 is the next), or, with `after`
  /// set, just after it: before anybody hears of it.
  void interrupt_after(std::uint64_t count, bool after, std::function<void()> crash);
  /// Jobs queued, running, or done and not yet reported.
  std::size_t busy() const;

 private:
  struct Worker {
    IntrusiveList<OffloadJob> queue;
    std::size_t size = 0;  // queued, and the one in work
    bool running = false;
    std::size_t begun = 0;  // of these, and not reported
    Histogram waited{detail::kLaneWaitBounds};
  };

  void start_next(Lane lane);
  void run_front(Lane lane);

  SimMachine& machine_;
  std::size_t queue_max_;
  std::array<Worker, kLaneCount> workers_;
  std::uint64_t interrupt_in_ = 0;
  bool interrupt_after_work_ = false;
  std::function<void()> interrupt_;
};

}  // namespace berth::inline v0::io
