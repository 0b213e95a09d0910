// core/channel.h — a bounded queue between coroutines of one shard, with an end.
#pragma once

#include <berth/core/assert.h>
#include <berth/core/result.h>
#include <berth/core/wait.h>

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace berth::inline v0 {

/// Any number of senders and receivers; values come out in the order of sending, receivers are
/// served in the order of asking. Must outlive its waiters. Allocates its room once. Single-
/// threaded.
template <typename T>
class Channel {
 public:
  /// Holds up to `capacity` values (at least one) that nobody has received.
  Channel(Executor& executor, std::size_t capacity) : executor_(executor), room_(capacity) {
    BERTH_ASSERT(capacity > 0);
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() { BERTH_ASSERT(senders_.empty() && receivers_.empty()); }

  /// `co_await channel.send(value, stop)` -> Result<void>: waits while the channel is full. Errors,
  /// and then the value is dropped: `unavailable` (channel_closed), `cancelled`. Cancellation:
  /// total.
  auto send(T value, StopToken stop = {}) { return Send(*this, std::move(value), stop); }
  /// False, and `value` untouched, when the channel is full or closed.
  bool try_send(T& value) {
    if (closed_ || !senders_.empty()) return false;
    return put(value);
  }

  /// `co_await channel.receive(stop)` -> std::optional<T>: nothing at the end (the channel was
  /// closed and is empty), or when stop was asked first: what is in the channel stays there.
  /// Cancellation: total.
  auto receive(StopToken stop = {}) { return Receive(*this, stop); }
  std::optional<T> try_receive() { return get(); }

  /// No more values: senders that wait get their error, receivers what is left, then nothing.
  void close() {
    closed_ = true;
    while (Send* sender = senders_.front()) sender->grant();
    while (Receive* receiver = receivers_.front()) receiver->grant();
  }
  bool closed() const { return closed_; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return room_.size(); }

 private:
  class Send final : public detail::Waiting {
   public:
    Send(Channel& channel, T value, StopToken stop)
        : Waiting(channel.executor_, stop), channel_(channel), value_(std::move(value)) {}
    bool await_ready() {
      if (stopped()) return true;
      if (!channel_.closed_ && !channel_.try_send(value_)) return false;
      sent_ = !channel_.closed_;
      grant_without_waiting();
      return true;
    }
    void await_suspend(std::coroutine_handle<> handle) {
      channel_.senders_.push_back(*this);
      wait(handle);
    }
    Result<void> await_resume() const {
      if (sent_) return {};
      if (granted()) return fail(ErrorKind::unavailable, "channel_closed", "the channel is closed");
      return fail(ErrorKind::cancelled, "cancelled", "asked to stop before there was room");
    }

   private:
    friend class Channel;
    Channel& channel_;
    T value_;
    bool sent_ = false;
  };

  class Receive final : public detail::Waiting {
   public:
    Receive(Channel& channel, StopToken stop)
        : Waiting(channel.executor_, stop), channel_(channel) {}
    bool await_ready() {
      if (stopped()) return true;
      value_ = channel_.get();
      return value_.has_value() || channel_.closed_;
    }
    void await_suspend(std::coroutine_handle<> handle) {
      channel_.receivers_.push_back(*this);
      wait(handle);
    }
    std::optional<T> await_resume() { return std::move(value_); }

   private:
    friend class Channel;
    Channel& channel_;
    std::optional<T> value_;
  };

  /// Gives `value` to who waits for it, or keeps it; false when there is no room.
  bool put(T& value) {
    if (Receive* receiver = receivers_.front()) {
      receiver->value_.emplace(std::move(value));
      receiver->grant();
      return true;
    }
    if (size_ == room_.size()) return false;
    room_[(first_ + size_) % room_.size()].emplace(std::move(value));
    ++size_;
    return true;
  }
  /// The oldest value; its room goes to the sender that waits longest.
  std::optional<T> get() {
    if (size_ == 0) return std::nullopt;
    std::optional<T> value = std::exchange(room_[first_], std::nullopt);
    first_ = (first_ + 1) % room_.size();
    --size_;
    if (Send* sender = senders_.front()) {
      put(sender->value_);
      sender->sent_ = true;
      sender->grant();
    }
    return value;
  }

  Executor& executor_;
  std::vector<std::optional<T>> room_;  // a ring
  std::size_t first_ = 0;
  std::size_t size_ = 0;
  bool closed_ = false;
  IntrusiveList<Send> senders_;
  IntrusiveList<Receive> receivers_;
};

}  // namespace berth::inline v0
