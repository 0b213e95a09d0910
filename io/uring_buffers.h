// io/uring_buffers.h — memory that the kernel receives into before anybody asks: a ring of buffers
// shared by all sockets of a reactor, and what each of them has there.
#pragma once

#include <berth/io/poller.h>
#include <berth/io/reactor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

struct io_uring;
struct io_uring_buf_ring;

namespace berth::inline v0::io {

/// All of a reactor's sockets together: 512 KiB, of memory only what was used. A power of two.
inline constexpr std::size_t kReceiveBuffers = 64;
inline constexpr std::size_t kReceiveBufferBytes = 8 * 1024;
/// With fewer free ones, what paused reads hold is copied out.
inline constexpr std::size_t kReceiveBuffersLow = kReceiveBuffers / 4;
/// Copied out at most, all sockets together; beyond, paused reads keep their buffers and the others
/// wait for readiness as long as none is free.
inline constexpr std::size_t kCopiedOutMax = 4 * 1024 * 1024;

/// Received bytes of one socket that were not delivered yet: first those copied out, then buffers.
struct Received {
  static constexpr std::uint16_t kNone = 0xffff;
  std::vector<char> copied;  // with kReadPadding bytes behind them
  std::size_t copied_end = 0;
  std::size_t copied_at = 0;    // delivered of them
  std::uint16_t first = kNone;  // buffers
  std::uint16_t last = kNone;
  std::uint32_t offset = 0;  // delivered of the first

  bool empty() const { return first == kNone && copied_at == copied_end; }
};

/// Owned by the ring whose group of buffers it is; dies after it.
class UringBuffers {
 public:
  /// Null when the kernel does not take them.
  static std::unique_ptr<UringBuffers> create(io_uring& ring);
  ~UringBuffers();

  static constexpr std::uint16_t kGroup = 1;
  /// The buffer that a completion came with.
  static std::optional<std::uint16_t> buffer_of(const Completion& completion);

  std::size_t free_count() const { return free_; }
  /// The kernel has filled `length` bytes of a buffer; 0 gives it back.
  void append(Received& received, std::uint16_t buffer, std::size_t length);
  /// The next bytes, at most `max`, kReadPadding readable ones behind them; stay until consume().
  std::span<char> front(Received& received, std::size_t max);
  /// The first bytes of front() were delivered.
  void consume(Received& received, std::size_t bytes);
  /// Gives the buffers back and keeps the bytes elsewhere; false when too much is kept there.
  bool copy_out(Received& received);

 private:
  UringBuffers() = default;
  char* data(std::uint16_t buffer);
  void give_back(std::uint16_t buffer);
  void pop_front(Received& received);

  io_uring_buf_ring* ring_ = nullptr;
  char* memory_ = nullptr;
  std::vector<std::uint32_t> lengths_;
  std::vector<std::uint16_t> next_;
  std::size_t free_ = 0;
  std::size_t copied_ = 0;  // room of all `copied`
};

}  // namespace berth::inline v0::io
