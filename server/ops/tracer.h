// server/ops/tracer.h — what is told to a collector of traces: spans, bounded and sampled.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/prng.h>
#include <berth/core/sync.h>
#include <berth/core/trace.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::server {

enum class SpanKind : std::uint8_t { internal = 1, server = 2 };  ///< As OTLP numbers them.

/// A piece of work that has ended.
struct Span {
  TraceContext trace;  ///< Its own.
  std::string parent;  ///< Span id of whose child it is; empty: it is a root.
  std::string name;    ///< Of its kind ("POST /v1/sessions"): no ids in it.
  SpanKind kind = SpanKind::internal;
  std::int64_t began_ns = 0;  ///< Since the epoch.
  std::int64_t ended_ns = 0;
  std::vector<std::pair<std::string_view, std::string>> attributes;  ///< Names are literals.
  std::string error;  ///< Why it failed; empty: it did not.
};

struct TracerLimits {
  std::size_t spans_max = 4096;       ///< Waiting to be sent; above it new ones are dropped.
  std::uint64_t sample_every = 1;     ///< One in so many traces that begin here is recorded.
  std::uint64_t commits_every = 100;  ///< One in so many commits of the store is recorded.
};

struct TracerStats {
  std::uint64_t recorded = 0;
  std::uint64_t dropped = 0;  ///< Above spans_max, or the collector refused them for good.
  std::uint64_t sent = 0;
};

/// Gathers spans for somebody who sends them. Single-threaded; what it is given outlives it.
class Tracer final {
 public:
  Tracer(Executor& executor, const Clock& clock, Random& random, TracerLimits limits)
      : clock_(clock), random_(random), limits_(limits), some_(executor) {}

  /// Whether a trace that begins here is recorded.
  bool sample() { return random_.one_in(limits_.sample_every); }
  bool sample_commit() { return random_.one_in(limits_.commits_every); }
  Random& random() { return random_; }

  /// The moment on the wall clock. Spans of one trace fit to each other, however that is set
  /// meanwhile by less than a second.
  std::int64_t unix_ns(TimePoint at);

  /// Takes it if its trace is sampled and there is room.
  void add(Span span);

  /// What waits, at most `count`, oldest first; the caller sends it, or gives it to drop().
  std::vector<Span> take(std::size_t count);
  /// What could not be sent now, in front of the rest; the oldest are dropped above spans_max.
  void give_back(std::vector<Span> spans);
  void sent(std::size_t count) { stats_.sent += count; }
  void drop(std::size_t count) { stats_.dropped += count; }
  /// Set while spans wait.
  Event& some() { return some_; }

  const TracerLimits& limits() const { return limits_; }
  const TracerStats& stats() const { return stats_; }
  std::size_t waiting() const { return spans_.size(); }

 private:
  const Clock& clock_;
  Random& random_;
  TracerLimits limits_;
  std::deque<Span> spans_;
  Event some_;
  std::int64_t offset_ns_ = 0;  // from the steady clock to the epoch
  TracerStats stats_;
};

}  // namespace berth::server
