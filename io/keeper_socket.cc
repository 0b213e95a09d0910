#include <berth/core/assert.h>
#include <berth/io/keeper_socket.h>
#include <berth/io/keeper_wire.h>

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace berth::inline v0::io::keeper {

namespace {

/// Room for the descriptors of a packet, aligned as the kernel wants it.
union Ancillary {
  cmsghdr header;
  char bytes[CMSG_SPACE(kDescriptorsMax * sizeof(int))];
};

}  // namespace

int send_packet(int socket, std::string_view bytes, std::span<const int> descriptors) {
  BERTH_ASSERT(!bytes.empty() && bytes.size() <= kPacketMax);
  BERTH_ASSERT(descriptors.size() <= kDescriptorsMax);
  iovec part = {const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Ancillary ancillary = {};
  if (!descriptors.empty()) {
    message.msg_control = ancillary.bytes;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return 0;
    if (errno == EINTR) continue;
    return errno == ECONNRESET ? EPIPE : errno;
  }
}

PacketReader::PacketReader() : buffer_(kPacketMax, '\0') {}

int PacketReader::receive(int socket) {
  descriptors_.clear();
  bytes_ = {};
  iovec part = {buffer_.data(), buffer_.size()};
  Ancillary ancillary = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = ancillary.bytes;
  message.msg_controllen = sizeof(ancillary.bytes);
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == ECONNRESET ? EPIPE : errno;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      descriptors_.emplace_back(descriptor);
    }
  }
  if (got == 0) return EPIPE;
  if ((message.msg_flags & MSG_TRUNC) != 0) return EBADMSG;
  bytes_ = std::string_view(buffer_).substr(0, static_cast<std::size_t>(got));
  return 0;
}

}  // namespace berth::inline v0::io::keeper
