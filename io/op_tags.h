// io/op_tags.h — what FdReactor writes into user_data: the operation and, in its low bits, its
// kind.
#pragma once

#include <berth/io/reactor.h>

#include <bit>
#include <cstdint>

namespace berth::inline v0::io {

/// An address never dangles: an operation stays alive until its last callback, which comes after
/// its last completion.
enum class Tag : std::uint64_t {
  cancel = 0,
  wake,
  read,
  write,
  accept,
  poll,
  connect,
  wait,
  file,
  message,      // from another ring: something was posted
  undelivered,  // with a number, not an operation: the message to that peer
};
inline constexpr std::uint64_t kTagMask = 15;
static_assert(alignof(Op) > kTagMask);

inline std::uint64_t user_data(Tag tag, Op* op) {
  return std::bit_cast<std::uint64_t>(op) | static_cast<std::uint64_t>(tag);
}
inline std::uint64_t numbered(Tag tag, std::uint64_t number) {
  return (number << 4) | static_cast<std::uint64_t>(tag);
}
inline std::uint64_t number_of(std::uint64_t user_data) {
  return user_data >> 4;
}
inline Tag tag_of(std::uint64_t user_data) {
  return static_cast<Tag>(user_data & kTagMask);
}
template <typename T>
T* op_of(std::uint64_t user_data) {
  return static_cast<T*>(std::bit_cast<Op*>(user_data & ~kTagMask));
}

/// What the engine keeps in the engine word of a read.
struct ReadState {
  std::uint32_t index = 0;         // in the reactor's list of reads, or of sockets received from
  std::uint16_t error = 0;         // why it ends
  std::uint16_t ready : 1 = 0;     // the handle may hold bytes; stays set while paused
  std::uint16_t hung_up : 1 = 0;   // the peer is gone: read until the end of the stream
  std::uint16_t ending : 1 = 0;    // on_read_end comes after the last completion
  std::uint16_t buffers : 1 = 0;   // received by the ring (op_receive.cc), and so for the others:
  std::uint16_t polling : 1 = 0;   // no buffer was free: waits for readiness
  std::uint16_t readable : 1 = 0;  // and came to it
  std::uint16_t quenched : 1 = 0;  // the kernel was asked to stop receiving
  std::uint16_t last : 1 = 0;      // ends when what was received is delivered
  std::uint16_t unused : 8 = 0;
};
static_assert(sizeof(ReadState) == sizeof(std::uint64_t));

inline ReadState state_of(ReadOp& op) {
  return std::bit_cast<ReadState>(OpAccess::word(op));
}
inline void set_state(ReadOp& op, ReadState state) {
  OpAccess::word(op) = std::bit_cast<std::uint64_t>(state);
}

/// What the engine keeps in the engine word of a connection that begins, or a wait for a child.
struct HandleState {
  std::int32_t handle = kNoHandle;  // what it made and has not delivered
  std::uint16_t error = 0;
  std::uint16_t retrying : 1 = 0;  // waits for a timer
  std::uint16_t unused : 15 = 0;
};
static_assert(sizeof(HandleState) == sizeof(std::uint64_t));

inline HandleState handle_state_of(Op& op) {
  return std::bit_cast<HandleState>(OpAccess::word(op));
}
inline void set_handle_state(Op& op, HandleState state) {
  OpAccess::word(op) = std::bit_cast<std::uint64_t>(state);
}

}  // namespace berth::inline v0::io
