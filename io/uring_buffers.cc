#include <berth/io/uring_buffers.h>

#include <berth/core/assert.h>

#include <liburing.h>
#include <sys/mman.h>
#include <algorithm>
#include <cstring>

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kStride = kReceiveBufferBytes + kReadPadding;
constexpr std::size_t kRingBytes = kReceiveBuffers * sizeof(io_uring_buf);
constexpr std::size_t kPage = 4096;
/// The ring, on pages of its own, and behind it the buffers.
constexpr std::size_t kBuffersAt = (kRingBytes + kPage - 1) / kPage * kPage;
constexpr std::size_t kMappedBytes = kBuffersAt + kReceiveBuffers * kStride;
static_assert((kReceiveBuffers & (kReceiveBuffers - 1)) == 0);

}  // namespace

std::unique_ptr<UringBuffers> UringBuffers::create(io_uring& ring) {
  void* memory =
      ::mmap(nullptr, kMappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  std::unique_ptr<UringBuffers> buffers(new UringBuffers);
  buffers->ring_ = static_cast<io_uring_buf_ring*>(memory);
  buffers->memory_ = static_cast<char*>(memory) + kBuffersAt;
  io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(memory);
  registration.ring_entries = kReceiveBuffers;
  registration.bgid = kGroup;
  if (io_uring_register_buf_ring(&ring, &registration, 0) != 0) return nullptr;
  buffers->lengths_.resize(kReceiveBuffers);
  buffers->next_.resize(kReceiveBuffers, Received::kNone);
  for (std::uint16_t i = 0; i < kReceiveBuffers; ++i) buffers->give_back(i);
  return buffers;
}

UringBuffers::~UringBuffers() {
  ::munmap(ring_, kMappedBytes);
}

std::optional<std::uint16_t> UringBuffers::buffer_of(const Completion& completion) {
  if ((completion.flags & IORING_CQE_F_BUFFER) == 0) return std::nullopt;
  return static_cast<std::uint16_t>(completion.flags >> IORING_CQE_BUFFER_SHIFT);
}

char* UringBuffers::data(std::uint16_t buffer) {
  return memory_ + buffer * kStride;
}

void UringBuffers::give_back(std::uint16_t buffer) {
  ++free_;
  io_uring_buf_ring_add(ring_, data(buffer), kReceiveBufferBytes, buffer,
                        static_cast<int>(kReceiveBuffers - 1), 0);
  io_uring_buf_ring_advance(ring_, 1);
}

void UringBuffers::append(Received& received, std::uint16_t buffer, std::size_t length) {
  --free_;
  if (length == 0) return give_back(buffer);
  lengths_[buffer] = static_cast<std::uint32_t>(length);
  next_[buffer] = Received::kNone;
  if (received.first == Received::kNone) {
    received.first = buffer;
    received.offset = 0;
  } else {
    next_[received.last] = buffer;
  }
  received.last = buffer;
}

std::span<char> UringBuffers::front(Received& received, std::size_t max) {
  if (received.copied_at < received.copied_end) {
    const std::size_t left = received.copied_end - received.copied_at;
    return std::span(received.copied.data() + received.copied_at, std::min(left, max));
  }
  BERTH_ASSERT(received.first != Received::kNone);
  const std::size_t left = lengths_[received.first] - received.offset;
  return std::span(data(received.first) + received.offset, std::min(left, max));
}

void UringBuffers::consume(Received& received, std::size_t bytes) {
  if (received.copied_at < received.copied_end) {
    received.copied_at += bytes;
    if (received.copied_at < received.copied_end) return;
    copied_ -= received.copied.size();
    received.copied = {};
    received.copied_at = received.copied_end = 0;
    return;
  }
  received.offset += static_cast<std::uint32_t>(bytes);
  if (received.offset == lengths_[received.first]) pop_front(received);
}

void UringBuffers::pop_front(Received& received) {
  const std::uint16_t buffer = received.first;
  received.first = next_[buffer];
  received.offset = 0;
  give_back(buffer);
}

bool UringBuffers::copy_out(Received& received) {
  if (received.first == Received::kNone) return true;
  std::size_t bytes = received.copied_end - received.copied_at;
  for (std::uint16_t i = received.first; i != Received::kNone; i = next_[i]) bytes += lengths_[i];
  bytes -= received.offset;
  const std::size_t room = bytes + kReadPadding;
  if (copied_ - received.copied.size() + room > kCopiedOutMax) return false;
  std::vector<char> copied(room);
  char* end = copied.data();
  while (!received.empty()) {
    const std::span<char> part = front(received, bytes);
    std::memcpy(end, part.data(), part.size());
    end += part.size();
    consume(received, part.size());
  }
  copied_ += room;
  received.copied = std::move(copied);
  received.copied_at = 0;
  received.copied_end = bytes;
  return true;
}

}  // namespace berth::inline v0::io
