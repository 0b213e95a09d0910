#include <berth/io/timer_heap.h>

#include <algorithm>

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kChildren = 4;
constexpr std::size_t kInitialCapacity = 64;

// The engine word of a timer is its index + 1; 0 means "not in the heap".
std::uint64_t& position(TimerOp& timer) {
  return OpAccess::word(timer);
}

}  // namespace

TimerHeap::TimerHeap() {
  entries_.reserve(kInitialCapacity);
}

void TimerHeap::insert(TimerOp& timer, TimePoint when) {
  remove(timer);
  const Entry entry = {when, next_order_++, &timer};
  entries_.push_back(entry);
  sift_up(entries_.size() - 1, entry);
}

bool TimerHeap::remove(TimerOp& timer) {
  if (position(timer) == 0) return false;
  remove_at(static_cast<std::size_t>(position(timer) - 1));
  return true;
}

TimerOp* TimerHeap::pop_due(TimePoint now) {
  if (entries_.empty() || entries_.front().when > now) return nullptr;
  TimerOp* timer = entries_.front().timer;
  remove_at(0);
  return timer;
}

std::optional<TimePoint> TimerHeap::next() const {
  if (entries_.empty()) return std::nullopt;
  return entries_.front().when;
}

void TimerHeap::place(std::size_t index, const Entry& entry) {
  entries_[index] = entry;
  position(*entry.timer) = index + 1;
}

void TimerHeap::sift_up(std::size_t index, const Entry& entry) {
  while (index > 0) {
    const std::size_t parent = (index - 1) / kChildren;
    if (!entry.before(entries_[parent])) break;
    place(index, entries_[parent]);
    index = parent;
  }
  place(index, entry);
}

void TimerHeap::sift_down(std::size_t index, const Entry& entry) {
  for (;;) {
    const std::size_t first = index * kChildren + 1;
    if (first >= entries_.size()) break;
    const std::size_t end = std::min(first + kChildren, entries_.size());
    std::size_t least = first;
    for (std::size_t child = first + 1; child < end; ++child) {
      if (entries_[child].before(entries_[least])) least = child;
    }
    if (!entries_[least].before(entry)) break;
    place(index, entries_[least]);
    index = least;
  }
  place(index, entry);
}

void TimerHeap::remove_at(std::size_t index) {
  position(*entries_[index].timer) = 0;
  const Entry last = entries_.back();
  entries_.pop_back();
  if (index == entries_.size()) return;  // it was the last one itself
  if (index > 0 && last.before(entries_[(index - 1) / kChildren])) {
    sift_up(index, last);
  } else {
    sift_down(index, last);
  }
}

}  // namespace berth::inline v0::io
