// berth-keeper: started by berth, with their socket as its stdin; no use to anybody else.
#include <berth/io/keeper.h>

#include <fcntl.h>
#include <sys/socket.h>

#include <string_view>

int main() {
  using namespace berth::io;
  int type = 0;
  socklen_t size = sizeof(type);
  if (::getsockopt(0, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) {
    constexpr std::string_view kHint =
        "berth-keeper is started by berth, which talks to it on a socket\n";
    return ::write(2, kHint.data(), kHint.size()) < 0 ? 3 : 2;
  }
  // Away from 0 to 2, which children get.
  Fd control(::fcntl(0, F_DUPFD_CLOEXEC, 3));
  if (!control.valid() || ::dup2(1, 0) < 0) return 3;
  return keeper::Keeper(std::move(control)).run();
}
