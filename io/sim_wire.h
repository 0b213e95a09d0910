// io/sim_wire.h — pipes and sockets of a simulated machine: bytes in memory with two ends.
#pragma once

#include <berth/core/clock.h>
#include <berth/io/sim_files.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

namespace berth::inline v0::io {

class SimMachine;

inline constexpr std::size_t kSimPipeBytes = 64 * 1024;
inline constexpr std::size_t kSimPipeBytesMin = 512;
/// How late bytes, connections and exits may be.
inline constexpr Duration kSimDelayMost = std::chrono::milliseconds(20);
inline constexpr TimePoint kSimNever = TimePoint::max();

/// One direction: what was written and not yet read.
class SimPipe {
 public:
  explicit SimPipe(std::size_t capacity) : capacity_(capacity) {}

  std::size_t size() const { return bytes_.size() - read_; }
  std::size_t room() const { return size() < capacity_ ? capacity_ - size() : 0; }
  void append(std::string_view bytes) { bytes_.append(bytes); }
  /// Moves the first `count` bytes to `to`; count <= size().
  void take(char* to, std::size_t count);
  void drop_all();

  bool writer_open = true;
  bool reader_open = true;
  bool reset = false;            ///< Readers get ECONNRESET (after what is queued), writers too.
  TimePoint unreadable_until{};  ///< What is queued arrives then.
  TimePoint unwritable_until{};  ///< Room shows then.

 private:
  std::size_t capacity_;
  std::size_t read_ = 0;  // bytes_ before it are consumed
  std::string bytes_;
};

/// What a handle means: one end of a pipe or connection, a listener, or an open file. Movable;
/// closed by close_endpoint().
struct SimEndpoint {
  enum class Kind : unsigned char { reader, writer, socket, listener, file };
  struct Waiting;

  Kind kind = Kind::socket;
  std::shared_ptr<SimPipe> in;
  std::shared_ptr<SimPipe> out;
  std::string address;          ///< A listener's own, a connection's peer.
  std::deque<Waiting> backlog;  ///< Connections of a listener that nobody accepted yet.
  std::shared_ptr<SimDisk::Node> file;
  int flags = 0;       ///< A file's, as it was opened.
  int operations = 0;  ///< How many are started on it.

  /// When a read, accept or poll would say something: at or before now, in the future, or
  /// kSimNever.
  TimePoint readable_at() const;
  TimePoint writable_at() const;
};

struct SimEndpoint::Waiting {
  SimEndpoint endpoint;
  TimePoint arrives{};
};

struct SimEndpointPair {
  SimEndpoint first;
  SimEndpoint second;
};

/// `first` reads what `second` writes.
SimEndpointPair make_sim_pipe(SimMachine& machine);
SimEndpointPair make_sim_connection(SimMachine& machine);

/// As the kernel does when the last descriptor goes: the peer reads what is queued, then end of
/// stream; a socket closed with unread bytes resets its peer.
void close_endpoint(SimMachine& machine, SimEndpoint& endpoint);

/// The reader gets what is queued, then end of stream.
void end_writing(SimMachine& machine, SimPipe& pipe);

/// Breaks a connection in both directions; queued bytes may be lost.
void reset_endpoint(SimMachine& machine, SimEndpoint& endpoint);

}  // namespace berth::inline v0::io
