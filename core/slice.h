// core/slice.h — views on bytes that several hold, and chains of them to write at once.
#pragma once

#include <berth/core/assert.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0 {

/// Bytes that live as long as a slice points at them. Derive to say where they lie and what becomes
/// of them. Counted without atomics: it and its slices stay on one shard.
class SharedBytes {
 public:
  SharedBytes(const SharedBytes&) = delete;
  SharedBytes& operator=(const SharedBytes&) = delete;

  /// Slices that point here now.
  std::uint32_t slices() const { return slices_; }

 protected:
  SharedBytes() = default;
  virtual ~SharedBytes() { BERTH_ASSERT(slices_ == 0); }
  /// The last slice is gone: give the bytes back, or away. May destroy this.
  virtual void on_unused() = 0;

 private:
  friend class Slice;
  std::uint32_t slices_ = 0;
};

/// A part of some SharedBytes, or of bytes that outlive everybody. Copying counts, it does not copy
/// bytes. Keep one for only as long as the bytes are on their way: a slice of one byte holds the
/// whole block. Never crosses shards.
class Slice {
 public:
  Slice() = default;
  Slice(SharedBytes& owner, std::string_view bytes) : owner_(&owner), bytes_(bytes) {
    ++owner.slices_;
  }
  Slice(const Slice& other) : owner_(other.owner_), bytes_(other.bytes_) {
    if (owner_ != nullptr) ++owner_->slices_;
  }
  Slice(Slice&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), bytes_(std::exchange(other.bytes_, {})) {}
  Slice& operator=(Slice other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Slice() {
    if (owner_ != nullptr && --owner_->slices_ == 0) owner_->on_unused();
  }

  /// In memory of its own: one allocation.
  static Slice copy_of(std::string_view bytes);
  /// Of bytes that are never freed.
  static Slice of_static(std::string_view bytes) {
    Slice slice;
    slice.bytes_ = bytes;
    return slice;
  }

  std::string_view bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  /// Bytes [offset, offset + size), which must lie inside; shares the owner.
  Slice part(std::size_t offset, std::size_t size) const {
    BERTH_ASSERT(offset <= bytes_.size() && size <= bytes_.size() - offset);
    Slice slice = *this;
    slice.bytes_ = bytes_.substr(offset, size);
    return slice;
  }
  void remove_prefix(std::size_t size) {
    BERTH_ASSERT(size <= bytes_.size());
    bytes_.remove_prefix(size);
  }

 private:
  SharedBytes* owner_ = nullptr;
  std::string_view bytes_;
};

/// Slices in the order in which they are to be written. Its room grows to the longest chain so far
/// and is used again.
class SliceChain {
 public:
  SliceChain() = default;
  SliceChain(SliceChain&& other) noexcept
      : slices_(std::exchange(other.slices_, {})),
        first_(std::exchange(other.first_, 0)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  SliceChain& operator=(SliceChain&& other) noexcept {
    slices_ = std::exchange(other.slices_, {});
    first_ = std::exchange(other.first_, 0);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }

  /// Empty slices are left out.
  void append(Slice slice) {
    if (slice.empty()) return;
    bytes_ += slice.size();
    slices_.push_back(std::move(slice));
  }
  void append(SliceChain chain) {
    for (std::size_t i = chain.first_; i < chain.slices_.size(); ++i) {
      append(std::move(chain.slices_[i]));
    }
  }

  std::size_t bytes() const { return bytes_; }
  std::size_t slices() const { return slices_.size() - first_; }
  bool empty() const { return bytes_ == 0; }
  /// The slice at `index`, the oldest is 0.
  const Slice& operator[](std::size_t index) const { return slices_[first_ + index]; }

  /// Points `parts` at the first slices, for io::WriteOp or writev; returns how many it filled. The
  /// bytes are only read. Valid until consume() or clear(). `Part` is an iovec: core itself knows
  /// no system header.
  template <typename Part>
  std::size_t gather(std::span<Part> parts) const {
    std::size_t filled = 0;
    for (std::size_t i = first_; i < slices_.size() && filled < parts.size(); ++i, ++filled) {
      const std::string_view bytes = slices_[i].bytes();
      parts[filled].iov_base = const_cast<char*>(bytes.data());
      parts[filled].iov_len = bytes.size();
    }
    return filled;
  }

  /// Drops the first `size` bytes (they were written), and the slices that this uses up.
  void consume(std::size_t size) {
    BERTH_ASSERT(size <= bytes_);
    bytes_ -= size;
    while (size > 0) {
      Slice& front = slices_[first_];
      if (size < front.size()) {
        front.remove_prefix(size);
        break;
      }
      size -= front.size();
      front = Slice();
      ++first_;
    }
    make_room();
  }
  void clear() {
    slices_.clear();
    first_ = 0;
    bytes_ = 0;
  }

 private:
  void make_room() {
    // Moving the rest down costs at most one move for each slice that was used up.
    if (first_ * 2 < slices_.size()) return;
    slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }

  std::vector<Slice> slices_;
  std::size_t first_ = 0;  // those before it are used up
  std::size_t bytes_ = 0;
};

}  // namespace berth::inline v0
