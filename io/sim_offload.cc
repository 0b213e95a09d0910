#include <berth/io/sim_offload.h>
#include <berth/io/sim_reactor.h>

namespace berth::inline v0::io {

namespace {

constexpr Duration kQueueMost = std::chrono::microseconds(200);
constexpr Duration kWorkMost = std::chrono::milliseconds(5);
constexpr Duration kStallMost = std::chrono::seconds(20);

}  // namespace

SimOffload::~SimOffload() {
  BERTH_ASSERT(busy() == 0);
}

std::size_t SimOffload::busy() const {
  std::size_t jobs = 0;
  for (const Worker& worker : workers_) jobs += worker.size;
  return jobs;
}

void SimOffload::interrupt_after(std::uint64_t count, bool after, std::function<void()> crash) {
  interrupt_in_ = count;
  interrupt_after_work_ = after;
  interrupt_ = std::move(crash);
}

Result<void> SimOffload::submit(Lane lane, Reactor& home, OffloadJob& job) {
  Worker& worker = workers_[static_cast<std::size_t>(lane)];
  if (worker.size >= queue_max_) {
    return fail(ErrorKind::overloaded, "overloaded", "offload_queue_max: is reached");
  }
  job.home = &home;
  waiting(job) = true;
  submitted_at(job) = machine_.now();
  worker.queue.push_back(job);
  ++worker.size;
  if (!worker.running) start_next(lane);
  return {};
}

bool SimOffload::withdraw(Lane lane, OffloadJob& job) {
  if (!waiting(job)) return false;
  waiting(job) = false;
  job.unlink();
  --workers_[static_cast<std::size_t>(lane)].size;
  machine_.note("withdraw", {static_cast<std::int64_t>(lane)});
  return true;
}

LaneStats SimOffload::stats(Lane lane) {
  const Worker& worker = workers_[static_cast<std::size_t>(lane)];
  return {worker.size - worker.begun, worker.begun, worker.waited};
}

void SimOffload::start_next(Lane lane) {
  Worker& worker = workers_[static_cast<std::size_t>(lane)];
  worker.running = !worker.queue.empty();
  if (!worker.running) return;
  Duration wait = machine_.pick_span(kQueueMost);
  if (machine_.roll(Fault::offload_stall)) wait += machine_.pick_span(kStallMost);
  machine_.at(machine_.now() + wait, [this, lane] { run_front(lane); });
}

void SimOffload::run_front(Lane lane) {
  Worker& worker = workers_[static_cast<std::size_t>(lane)];
  OffloadJob* front = worker.queue.pop_front();
  worker.running = front != nullptr;
  if (front == nullptr) return;  // all were withdrawn meanwhile
  OffloadJob& job = *front;
  waiting(job) = false;
  ++worker.begun;
  worker.waited.add(machine_.now() - submitted_at(job));
  machine_.note("job", {static_cast<std::int64_t>(lane)});
  const bool interrupt = interrupt_in_ > 0 && --interrupt_in_ == 0;
  if (interrupt && !interrupt_after_work_) std::exchange(interrupt_, nullptr)();
  job.work();
  if (interrupt && interrupt_after_work_) std::exchange(interrupt_, nullptr)();
  machine_.at(machine_.now() + machine_.pick_span(kWorkMost), [this, lane, &job] {
    static_cast<SimReactor*>(job.home)->inject([this, lane, &job] {
      Worker& done = workers_[static_cast<std::size_t>(lane)];
      --done.begun;
      --done.size;
      job.on_done();
    });
    start_next(lane);
  });
}

}  // namespace berth::inline v0::io
