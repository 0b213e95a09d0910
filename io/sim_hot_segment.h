// io/sim_hot_segment.h — where a simulated read's bytes live during its callback, and only then.
#pragma once

#include <berth/io/reactor.h>

#include <array>
#include <cstddef>
#include <cstring>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) (static_cast<void>(address), (void)(size))
#endif

namespace berth::inline v0::io {

/// Before and after the callback the memory is scribbled over and, under the address sanitizer, out
/// of bounds: who keeps a span finds out.
class SimHotSegment {
 public:
  SimHotSegment() { forbid(); }
  SimHotSegment(const SimHotSegment&) = delete;
  SimHotSegment& operator=(const SimHotSegment&) = delete;
  ~SimHotSegment() { ASAN_UNPOISON_MEMORY_REGION(memory_.data(), memory_.size()); }

  static constexpr std::size_t kBytes = 64 * 1024;
  static constexpr std::size_t kAlignments = 64;

  /// Space for `count` bytes at `offset` (below kAlignments), with scribbled padding behind.
  char* allow(std::size_t count, std::size_t offset) {
    used_ = offset + count + kReadPadding;
    ASAN_UNPOISON_MEMORY_REGION(memory_.data() + offset, count + kReadPadding);
    return memory_.data() + offset;
  }
  void forbid() {
    ASAN_UNPOISON_MEMORY_REGION(memory_.data(), used_);
    std::memset(memory_.data(), kScribble, used_);
    ASAN_POISON_MEMORY_REGION(memory_.data(), memory_.size());
  }

 private:
  static constexpr int kScribble = 0xDB;  // no ASCII, no UTF-8: parsers choke on it
  std::array<char, kBytes + kReadPadding + kAlignments> memory_{};
  std::size_t used_ = sizeof(memory_);
};

}  // namespace berth::inline v0::io
