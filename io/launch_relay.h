// io/launch_relay.h — inside of a sandbox: connections to loopback ports, passed on to a UNIX
// socket outside (private to berth-launch).
#pragma once

#include <berth/core/result.h>
#include <berth/io/fd.h>

#include <poll.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io::launch {

/// Small by all means: every sandboxed agent has one of these. One thread, poll(2).
class Relay {
 public:
  /// `socket` is where the proxy listens.
  explicit Relay(std::string socket) : socket_(std::move(socket)) {}

  /// Listens on 127.0.0.1:`port`. With `tunnel`, each connection is one to that port of the machine
  /// outside, asked of the proxy by CONNECT; else it speaks with the proxy itself.
  Result<void> listen(std::uint16_t port, bool tunnel);

  /// Waits until something happens, passes on what can be passed on, and returns. `woken` is
  /// watched too: true when it is readable.
  bool turn(int woken);

 private:
  static constexpr std::size_t kBuffer = 16 * 1024;
  static constexpr std::size_t kConnectionsMax = 256;

  struct Listener {
    Fd descriptor;
    std::string greeting;  // what the proxy is told first
  };
  /// Bytes on their way in one direction.
  struct Flow {
    std::array<char, kBuffer> bytes;
    std::size_t begin = 0;
    std::size_t end = 0;
    bool input_ended = false;
    bool output_ended = false;
    bool empty() const { return begin == end; }
    void add(std::string_view text);
    /// False when the connection is broken.
    bool pull(int from);
    bool push(int to);
  };
  struct Connection {
    Fd inside;
    Fd outside;
    Flow out;                  // from the inside
    Flow in;                   // to it
    bool awaits_head = false;  // the answer to CONNECT is not for the inside
  };

  void accept_from(Listener& listener);
  bool serve(Connection& connection, short inside, short outside);
  static bool take_head(Connection& connection);

  std::string socket_;
  std::vector<Listener> listeners_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace berth::inline v0::io::launch
