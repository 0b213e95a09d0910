// core/byte_buffer.h — bytes that grow at their end, in memory that a long line can give.
#pragma once

#include <berth/core/ndjson.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

namespace berth::inline v0 {

/// Like a std::string that is only ever added to. Growing a large one moves its pages instead of
/// copying them, and a LineBuffer becomes a part of it without being copied. Move-only.
class ByteBuffer {
 public:
  ByteBuffer() = default;
  // Implicit, as a std::string is.
  ByteBuffer(std::string_view bytes) { append(bytes); }
  ByteBuffer(ByteBuffer&& other) noexcept
      : data_(std::move(other.data_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  std::string_view view() const { return {data_.get(), size_}; }
  operator std::string_view() const { return view(); }
  char* data() { return data_.get(); }
  std::size_t size() const { return size_; }
  /// Bytes allocated.
  std::size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }

  void reserve(std::size_t capacity) {
    if (capacity > capacity_) set_capacity(capacity);
  }
  ByteBuffer& append(std::string_view bytes) {
    if (bytes.size() > capacity_ - size_) grow(bytes.size());
    if (!bytes.empty()) std::memcpy(data_.get() + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
    return *this;
  }
  ByteBuffer& operator+=(std::string_view bytes) { return append(bytes); }
  ByteBuffer& operator+=(char byte) { return append({&byte, 1}); }
  /// `bytes` lie elsewhere.
  void insert(std::size_t at, std::string_view bytes) {
    if (bytes.size() > capacity_ - size_) grow(bytes.size());
    if (bytes.empty()) return;
    std::memmove(data_.get() + at + bytes.size(), data_.get() + at, size_ - at);
    std::memcpy(data_.get() + at, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  /// Appends `size` bytes of the line from `offset` on. This lies in the line's memory afterwards:
  /// what was here before is copied, not the line.
  void append_from(LineBuffer line, std::size_t offset, std::size_t size) {
    ByteBuffer whole;
    whole.data_.reset(line.data_.release());
    whole.capacity_ = line.capacity_;
    whole.reserve(size_ + size + kRoomBehindLine);
    std::memmove(whole.data_.get() + size_, whole.data_.get() + offset, size);
    if (size_ > 0) std::memcpy(whole.data_.get(), data_.get(), size_);
    whole.size_ = size_ + size;
    *this = std::move(whole);
  }

  friend bool operator==(const ByteBuffer& a, std::string_view b) { return a.view() == b; }

 private:
  static constexpr std::size_t kCapacityMin = 64;
  static constexpr std::size_t kRoomBehindLine = 64;
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };

  /// Doubles while small; a large one grows by half.
  void grow(std::size_t more) {
    const std::size_t step = capacity_ < (std::size_t{1} << 20) ? capacity_ : capacity_ / 2;
    set_capacity(std::max({size_ + more, capacity_ + step, kCapacityMin}));
  }
  void set_capacity(std::size_t capacity) {
    auto* memory = static_cast<char*>(std::realloc(data_.get(), capacity));
    if (memory == nullptr) throw std::bad_alloc();
    static_cast<void>(data_.release());
    data_.reset(memory);
    capacity_ = capacity;
  }

  std::unique_ptr<char, Free> data_;  // malloc, as that of a LineBuffer
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace berth::inline v0
