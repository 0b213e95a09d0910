#include <berth/core/assert.h>
#include <berth/core/ndjson.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace berth::inline v0 {
namespace {

constexpr std::size_t kCapacityMin = 2048;

/// Doubles while small; large buffers grow by half, so that one never takes twice its line.
std::size_t grown(std::size_t capacity, std::size_t needed) {
  const std::size_t step = capacity < (std::size_t{1} << 20) ? capacity : capacity / 2;
  return std::max({needed, capacity + step, kCapacityMin});
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

LineBuffer::LineBuffer(LineBuffer&& other) noexcept
    : data_(std::move(other.data_)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

LineBuffer& LineBuffer::operator=(LineBuffer&& other) noexcept {
  data_ = std::move(other.data_);
  size_ = std::exchange(other.size_, 0);
  capacity_ = std::exchange(other.capacity_, 0);
  return *this;
}

LineBuffer LineBuffer::copy_of(std::string_view text) {
  LineBuffer buffer;
  buffer.set_capacity(text.size() + kLinePadding);
  buffer.append(text);
  return buffer;
}

void LineBuffer::set_capacity(std::size_t capacity) {
  // realloc moves the pages of a big block instead of copying them.
  auto* memory = static_cast<char*>(std::realloc(data_.get(), capacity));
  if (memory == nullptr) throw std::bad_alloc();
  static_cast<void>(data_.release());
  data_.reset(memory);
  capacity_ = capacity;
}

void LineBuffer::append(std::string_view bytes) {
  const std::size_t needed = size_ + bytes.size() + kLinePadding;
  if (needed > capacity_) set_capacity(grown(capacity_, needed));
  if (!bytes.empty()) std::memcpy(data_.get() + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
  std::memset(data_.get() + size_, 0, kLinePadding);
}

void LineBuffer::release() {
  data_.reset();
  size_ = 0;
  capacity_ = 0;
}

LineBuffer Line::take() {
  if (carry_ == nullptr) return LineBuffer::copy_of(text_);
  LineBuffer taken = std::move(*std::exchange(carry_, nullptr));
  taken.size_ = text_.size();
  const std::size_t exact = taken.size_ + kLinePadding;
  const std::size_t unused = taken.capacity_ - exact;
  if (unused > LineFramer::kKeepMax && unused > exact / 8) taken.set_capacity(exact);
  text_ = taken.text();
  return taken;
}

void LineFramer::feed(std::string_view chunk) {
  while (!chunk.empty()) {
    const std::size_t end = chunk.find('\n');
    if (end == std::string_view::npos) {
      keep(chunk);
      break;
    }
    end_line(chunk.substr(0, end));
    chunk.remove_prefix(end + 1);
  }
  if (carry_.size_ == 0 && carry_.capacity_ != 0) carry_.release();
}

void LineFramer::finish() {
  if (dropped_bytes_ != 0 || carry_.size_ != 0) end_line({});
  carry_.release();
}

/// Holds `part` of a line whose end is not here yet.
void LineFramer::keep(std::string_view part) {
  if (dropped_bytes_ != 0) {
    drop(part);
  } else if (carry_.size_ + part.size() > limits_.line_max) {
    start_dropping(part);
  } else {
    carry_.append(part);
  }
}

void LineFramer::end_line(std::string_view last_part) {
  if (dropped_bytes_ == 0 && carry_.size_ == 0) {
    if (last_part.size() <= limits_.line_max) return deliver(last_part, nullptr);
    return sink_.on_overlong(last_part.size(), last_part.substr(0, kHeadMax));
  }
  keep(last_part);
  if (dropped_bytes_ != 0) {
    const LineBuffer head = std::move(dropped_head_);
    return sink_.on_overlong(std::exchange(dropped_bytes_, 0), head.text());
  }
  deliver(carry_.text(), &carry_);
  carry_.size_ = 0;
  if (carry_.capacity_ > kKeepMax) carry_.release();
}

void LineFramer::deliver(std::string_view text, LineBuffer* carry) {
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (text.empty()) return;
  // Only a line that starts with a blank can be blank; JSON lines do not.
  if (static_cast<unsigned char>(text.front()) <= ' ' && is_blank(text)) return;
  Line line(text, carry);
  sink_.on_line(line);
}

void LineFramer::start_dropping(std::string_view part) {
  const LineBuffer begun = std::move(carry_);
  drop(begun.text());
  drop(part);
}

void LineFramer::drop(std::string_view part) {
  if (dropped_head_.size_ < kHeadMax) {
    dropped_head_.append(part.substr(0, kHeadMax - dropped_head_.size_));
  }
  dropped_bytes_ += part.size();
}

}  // namespace berth::inline v0
