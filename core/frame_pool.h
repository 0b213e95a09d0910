// core/frame_pool.h — memory for coroutine frames that one shard uses again and again.
#pragma once

#include <berth/core/assert.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>

// The rare way is a call that leaves the registers alone, so that the common one saves none.
#if defined(__has_attribute)
#if __has_attribute(preserve_most) && defined(__x86_64__)
#define BERTH_RARE __attribute__((noinline, preserve_most))
#endif
#endif
#ifndef BERTH_RARE
#define BERTH_RARE __attribute__((noinline))
#endif

namespace berth::inline v0 {

/// Keeps the memory of frames that ended for the next ones of their size. A coroutine whose
/// parameters name a pool (`FramePool&` or `FramePool*`, null meaning none) takes its frame from
/// it, and gives it back there, whoever destroys it: the frame remembers its pool. All others are
/// allocated as ever and pay nothing, see Task.
///
/// One shard, not thread-safe. Outlives its frames: one that is left when it is destroyed ends the
/// program. Under AddressSanitizer it holds nothing, so that the use of a dead frame is still
/// found.
class FramePool {
 public:
  /// Larger frames come from operator new (bytes).
  static constexpr std::size_t kFrameMax = 2048;

  /// Holds at most `bytes_max` (frame_pool_bytes_max), in use or waiting; what is needed above that
  /// comes from operator new and goes back there.
  explicit FramePool(std::size_t bytes_max = std::size_t{1} << 20)
      : bytes_max_(kSanitized ? 0 : bytes_max) {}
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;
  ~FramePool() {
    BERTH_ASSERT(bytes_in_use() == 0);
    for (Free*& first : free_) {
      while (first != nullptr) ::operator delete(static_cast<void*>(pop(first)));
    }
  }

  /// Null when the frame is too large or the pool has reached its limit.
  void* allocate(std::size_t size) {
    const std::size_t place = class_of(size);
    if (place >= kClasses) [[unlikely]]
      return nullptr;
    if (free_[place] == nullptr) [[unlikely]]
      return make(place * kStep);
    return pop(free_[place]);
  }

  /// Takes back what allocate(size) gave.
  void deallocate(void* memory, std::size_t size) noexcept {
    Free*& first = free_[class_of(size)];
    first = ::new (memory) Free{first};
  }

  /// Bytes that the pool holds, and those of them that live frames use (counted now, slowly).
  std::size_t bytes() const { return bytes_; }
  std::size_t bytes_in_use() const {
    std::size_t waiting = 0;
    for (std::size_t place = 0; place < kClasses; ++place) {
      for (const Free* free = free_[place]; free != nullptr; free = free->next) {
        waiting += place * kStep;
      }
    }
    return bytes_ - waiting;
  }

 private:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool kSanitized = true;
#elif defined(__has_feature)
  static constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
  static constexpr bool kSanitized = false;
#endif

  struct Free {
    Free* next;
  };
  static constexpr std::size_t kStep = 32;
  static constexpr std::size_t kClasses = kFrameMax / kStep + 1;
  static std::size_t class_of(std::size_t size) { return (size + kStep - 1) / kStep; }
  static Free* pop(Free*& first) {
    Free* taken = first;
    first = taken->next;
    return taken;
  }
  BERTH_RARE void* make(std::size_t size) {
    if (bytes_ + size > bytes_max_) return nullptr;
    bytes_ += size;
    return ::operator new(size);
  }

  const std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::array<Free*, kClasses> free_{};
};

namespace detail {

/// Whether a parameter of a coroutine names the pool of its frame.
template <typename Parameter>
inline constexpr bool kNamesFramePool = std::is_same_v<std::remove_cvref_t<Parameter>, FramePool> ||
                                        std::is_same_v<std::remove_cvref_t<Parameter>, FramePool*>;

inline FramePool* pool_of() {
  return nullptr;
}
template <typename First, typename... Rest>
FramePool* pool_of(First& first, Rest&... rest) {
  using Plain = std::remove_cv_t<First>;
  if constexpr (std::is_same_v<Plain, FramePool>) {
    return &first;
  } else if constexpr (std::is_same_v<Plain, FramePool*>) {
    return first;
  } else {
    return pool_of(rest...);
  }
}

/// A frame with a word behind it that says where it came from.
inline std::size_t with_pool_word(std::size_t size) {
  return (size + sizeof(FramePool*) - 1) / sizeof(FramePool*) * sizeof(FramePool*) +
         sizeof(FramePool*);
}
BERTH_RARE inline void* allocate_plainly(std::size_t size) {
  return ::operator new(size);
}
BERTH_RARE inline void deallocate_plainly(void* frame) noexcept {
  ::operator delete(frame);
}
inline void* allocate_frame(FramePool* pool, std::size_t size) {
  const std::size_t whole = with_pool_word(size);
  void* frame = pool != nullptr ? pool->allocate(whole) : nullptr;
  if (frame == nullptr) [[unlikely]] {
    pool = nullptr;
    frame = allocate_plainly(whole);
  }
  std::memcpy(static_cast<char*>(frame) + whole - sizeof(pool), &pool, sizeof(pool));
  return frame;
}
inline void deallocate_frame(void* frame, std::size_t size) noexcept {
  const std::size_t whole = with_pool_word(size);
  FramePool* pool = nullptr;
  std::memcpy(&pool, static_cast<char*>(frame) + whole - sizeof(pool), sizeof(pool));
  if (pool != nullptr) [[likely]] {
    pool->deallocate(frame, whole);
  } else {
    deallocate_plainly(frame);
  }
}

}  // namespace detail

}  // namespace berth::inline v0

#undef BERTH_RARE
