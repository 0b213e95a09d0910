#include <berth/server/ops/tracer.h>

#include <algorithm>
#include <cstdlib>

namespace berth::server {

std::int64_t Tracer::unix_ns(TimePoint at) {
  constexpr std::int64_t kNanosPerMilli = 1'000'000;
  constexpr std::int64_t kStep = 1000 * kNanosPerMilli;
  const std::int64_t offset = clock_.wall().count() * kNanosPerMilli -
                              std::chrono::nanoseconds(clock_.now().time_since_epoch()).count();
  // The wall clock is read to a millisecond: following its jitter would put children before their
  // parents.
  if (offset_ns_ == 0 || std::abs(offset - offset_ns_) > kStep) offset_ns_ = offset;
  return std::chrono::nanoseconds(at.time_since_epoch()).count() + offset_ns_;
}

void Tracer::add(Span span) {
  if (!span.trace.sampled()) return;
  if (spans_.size() >= limits_.spans_max) {
    ++stats_.dropped;
    return;
  }
  ++stats_.recorded;
  spans_.push_back(std::move(span));
  some_.set();
}

std::vector<Span> Tracer::take(std::size_t count) {
  count = std::min(count, spans_.size());
  const auto end = spans_.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<Span> taken(std::make_move_iterator(spans_.begin()), std::make_move_iterator(end));
  spans_.erase(spans_.begin(), end);
  if (spans_.empty()) some_.reset();
  return taken;
}

void Tracer::give_back(std::vector<Span> spans) {
  const std::size_t room = limits_.spans_max - std::min(limits_.spans_max, spans_.size());
  const std::size_t lost = spans.size() - std::min(room, spans.size());
  stats_.dropped += lost;
  spans_.insert(spans_.begin(),
                std::make_move_iterator(spans.begin() + static_cast<std::ptrdiff_t>(lost)),
                std::make_move_iterator(spans.end()));
  if (!spans_.empty()) some_.set();
}

}  // namespace berth::server
