// core/stop.h — the request to end, handed down from parent to child on one shard.
#pragma once

#include <berth/core/intrusive.h>

namespace berth::inline v0 {

class StopSource;

/// Told once when the source it is registered with is asked to stop. Unregisters itself when
/// destroyed.
class StopListener : public ListNode {
 public:
  virtual void on_stop() = 0;

 protected:
  ~StopListener() = default;
};

/// A view of a StopSource, which must outlive it. A default token is never stopped.
class StopToken {
 public:
  StopToken() = default;
  explicit StopToken(StopSource& source) : source_(&source) {}
  bool stop_requested() const;
  /// Calls `listener.on_stop()` when stop is requested, now if it was already.
  void listen(StopListener& listener) const;

 private:
  StopSource* source_ = nullptr;
};

/// Asks all holders of its tokens to end. Single-threaded, no atomics; asking twice is one asking.
class StopSource final : public StopListener {
 public:
  StopSource() = default;
  /// A child: stops when `parent` does, or by itself before.
  explicit StopSource(StopToken parent) { parent.listen(*this); }

  StopToken token() { return StopToken(*this); }
  bool stop_requested() const { return stopped_; }
  void request_stop() {
    if (stopped_) return;
    stopped_ = true;
    while (StopListener* listener = listeners_.pop_front()) listener->on_stop();
  }
  void on_stop() override { request_stop(); }

 private:
  friend class StopToken;
  IntrusiveList<StopListener> listeners_;
  bool stopped_ = false;
};

inline bool StopToken::stop_requested() const {
  return source_ != nullptr && source_->stopped_;
}
inline void StopToken::listen(StopListener& listener) const {
  if (source_ == nullptr) return;
  if (source_->stopped_) {
    listener.on_stop();
  } else {
    source_->listeners_.push_back(listener);
  }
}

}  // namespace berth::inline v0
