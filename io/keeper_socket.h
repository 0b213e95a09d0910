// io/keeper_socket.h — packets with descriptors on the sockets between berth and its keeper.
#pragma once

#include <berth/io/fd.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io::keeper {

/// Sends one packet whole, without waiting. Returns 0 or an errno: EAGAIN when there is no room
/// now, EPIPE when the other side is gone, ETOOMANYREFS when too many descriptors are on their way.
int send_packet(int socket, std::string_view bytes, std::span<const int> descriptors);

/// Takes packets off one socket at a time, into memory that it keeps.
class PacketReader {
 public:
  PacketReader();

  /// Returns 0, or an errno: EAGAIN when there is none now, EPIPE when the other side is gone, and
  /// EBADMSG for one that is longer than allowed.
  int receive(int socket);

  /// Of the last packet, until the next receive(). Descriptors for which this process had no room
  /// are missing.
  std::string_view bytes() const { return bytes_; }
  std::vector<Fd>& descriptors() { return descriptors_; }

 private:
  std::string buffer_;
  std::string_view bytes_;
  std::vector<Fd> descriptors_;
};

}  // namespace berth::inline v0::io::keeper
