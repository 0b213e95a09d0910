#include <berth/io/shard_threads.h>
#include <berth/io/signals_blocked.h>

#include <pthread.h>

#include <string>
#include <system_error>

namespace berth::inline v0::io {

Result<std::unique_ptr<ShardThreads>> ShardThreads::start(std::size_t count,
                                                          const MakeReactor& make,
                                                          const ShardLimits& limits) {
  BERTH_ASSERT(count > 0);
  std::unique_ptr<ShardThreads> all(new ShardThreads());
  std::vector<Reactor*> reactors;
  for (std::size_t i = 0; i < count; ++i) {
    Result<std::unique_ptr<Reactor>> made = make(i);
    if (!made.has_value()) return fail(std::move(made.error()));
    reactors.push_back(made->get());
    all->reactors_.push_back(std::move(*made));
  }
  all->shards_ = std::make_unique<Shards>(reactors, limits);
  for (std::size_t i = 0; i < count; ++i) {
    all->looks_.push_back(std::make_unique<Look>(*all, (*all->shards_)[i]));
  }
  const SignalsBlocked blocked;  // the new threads inherit the mask
  for (Reactor* reactor : reactors) {
    try {
      all->threads_.emplace_back([reactor] { reactor->run(); });
    } catch (const std::system_error& e) {
      all->end_loops();
      return fail(errno_error(e.code().value(), "cannot start a thread for a shard"));
    }
    const std::string name = "berth-shard-" + std::to_string(all->threads_.size() - 1);
    pthread_setname_np(all->threads_.back().native_handle(), name.substr(0, 15).c_str());
  }
  return all;
}

ShardThreads::~ShardThreads() {
  try {
    stop();
  } catch (...) {
    // Said so in the header: who wants to know calls stop().
  }
}

void ShardThreads::stop() {
  if (threads_.empty()) return;
  shards_->request_stop();
  // A shard that was empty when it reported may have been called since by one that was not. If no
  // call began anywhere between two rounds of reports, all were empty at the same time, and nobody
  // is left who could call.
  std::uint64_t before = look_at_all();
  for (std::uint64_t now = look_at_all(); now != before; now = look_at_all()) before = now;
  end_loops();
  for (const std::unique_ptr<Look>& look : looks_) {
    if (look->failure) std::rethrow_exception(std::exchange(look->failure, nullptr));
  }
}

std::uint64_t ShardThreads::look_at_all() {
  {
    const std::lock_guard lock(mutex_);
    reports_ = 0;
  }
  for (const std::unique_ptr<Look>& look : looks_) look->shard.reactor().post_remote(*look);
  std::unique_lock lock(mutex_);
  reported_.wait(lock, [this] { return reports_ == looks_.size(); });
  std::uint64_t calls = 0;
  for (const std::unique_ptr<Look>& look : looks_) calls += look->calls_begun;
  return calls;
}

void ShardThreads::Look::run() {
  task.spawn(report(this));
}

Task<void> ShardThreads::report(Look* look) {
  do {
    try {
      co_await look->shard.scope().join();
    } catch (...) {
      if (!look->failure) look->failure = std::current_exception();
    }
  } while (look->shard.scope().size() != 0);
  look->calls_begun = look->shard.calls_begun();
  const std::lock_guard lock(look->all.mutex_);
  ++look->all.reports_;
  look->all.reported_.notify_one();
}

void ShardThreads::end_loops() {
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    reactors_[i]->stop();
    threads_[i].join();
  }
  threads_.clear();
}

}  // namespace berth::inline v0::io
