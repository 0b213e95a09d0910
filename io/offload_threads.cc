#include <berth/io/offload_threads.h>
#include <berth/io/signals_blocked.h>

#include <pthread.h>

#include <string>
#include <system_error>

namespace berth::inline v0::io {

std::string_view to_string(Lane lane) {
  switch (lane) {
    case Lane::store:
      return "store";
    case Lane::git:
      return "git";
    case Lane::files:
      return "files";
  }
  return "unknown";
}

Result<std::unique_ptr<OffloadThreads>> OffloadThreads::start(const OffloadOptions& options) {
  std::unique_ptr<OffloadThreads> offload(new OffloadThreads(options.queue_max));
  const SignalsBlocked blocked;  // the new threads inherit the mask
  for (std::size_t i = 0; i < kLaneCount; ++i) {
    const Lane lane = static_cast<Lane>(i);
    BERTH_ASSERT(options.threads[i] > 0);
    for (std::size_t n = 0; n < options.threads[i]; ++n) {
      try {
        offload->lanes_[i].threads.emplace_back(
            [self = offload.get(), lane] { self->serve(lane); });
      } catch (const std::system_error& e) {
        return fail(errno_error(e.code().value(),
                                "cannot start a thread for lane " + std::string(to_string(lane))));
      }
      const std::string name = "berth-" + std::string(to_string(lane));
      pthread_setname_np(offload->lanes_[i].threads.back().native_handle(), name.c_str());
    }
  }
  return offload;
}

OffloadThreads::~OffloadThreads() {
  stop();
}

Result<void> OffloadThreads::submit(Lane lane, Reactor& home, OffloadJob& job) {
  LaneState& state = lanes_[static_cast<std::size_t>(lane)];
  {
    const std::lock_guard lock(state.mutex);
    if (state.stopping) {
      return fail(ErrorKind::cancelled, "offload_stopped",
                  "lane " + std::string(to_string(lane)) + " has been stopped");
    }
    if (state.stats.queued >= queue_max_) {
      return fail(ErrorKind::overloaded, "overloaded",
                  "offload_queue_max: lane " + std::string(to_string(lane)) + " has " +
                      std::to_string(state.stats.queued) + " jobs waiting");
    }
    job.home = &home;
    waiting(job) = true;
    submitted_at(job) = std::chrono::steady_clock::now();
    state.queue.push_back(job);
    ++state.stats.queued;
  }
  state.wake.notify_one();
  return {};
}

bool OffloadThreads::withdraw(Lane lane, OffloadJob& job) {
  LaneState& state = lanes_[static_cast<std::size_t>(lane)];
  const std::lock_guard lock(state.mutex);
  if (!waiting(job)) return false;
  waiting(job) = false;
  job.unlink();
  --state.stats.queued;
  return true;
}

void OffloadThreads::stop() {
  for (LaneState& state : lanes_) {
    const std::lock_guard lock(state.mutex);
    state.stopping = true;
    state.wake.notify_all();
  }
  for (LaneState& state : lanes_) {
    for (std::thread& thread : state.threads) thread.join();
    state.threads.clear();
  }
}

LaneStats OffloadThreads::stats(Lane lane) {
  LaneState& state = lanes_[static_cast<std::size_t>(lane)];
  const std::lock_guard lock(state.mutex);
  return state.stats;
}

void OffloadThreads::serve(Lane lane) {
  LaneState& state = lanes_[static_cast<std::size_t>(lane)];
  std::unique_lock lock(state.mutex);
  for (;;) {
    state.wake.wait(lock, [&state] { return state.stopping || !state.queue.empty(); });
    OffloadJob* job = state.queue.pop_front();
    if (job == nullptr) return;  // stopping, and nothing is left
    waiting(*job) = false;
    --state.stats.queued;
    ++state.stats.running;
    state.stats.waited.add(std::chrono::steady_clock::now() - submitted_at(*job));
    lock.unlock();
    job->work();
    lock.lock();
    --state.stats.running;  // whoever has the answer does not find its job here any more
    lock.unlock();
    send_home(*job);
    lock.lock();
  }
}

void OffloadThreads::send_home(OffloadJob& job) {
  Home* to_post = nullptr;
  {
    const std::lock_guard lock(homes_mutex_);
    Home* home = nullptr;
    for (const auto& candidate : homes_) {
      if (&candidate->reactor == job.home) home = candidate.get();
    }
    if (home == nullptr) {
      homes_.push_back(std::make_unique<Home>(*this, *job.home));
      home = homes_.back().get();
    }
    home->done.push_back(job);
    if (!home->posted) {
      home->posted = true;
      to_post = home;
    }
  }
  // Outside the lock, so that a home thread which wakes at once does not meet it.
  if (to_post != nullptr) to_post->reactor.post_remote(*to_post);
}

void OffloadThreads::Home::run() {
  IntrusiveList<OffloadJob> batch;
  {
    const std::lock_guard lock(lanes.homes_mutex_);
    batch.splice_back(done);
    posted = false;
  }
  while (OffloadJob* job = batch.pop_front()) job->on_done();
}

}  // namespace berth::inline v0::io
