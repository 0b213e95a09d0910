// A child for tests by the thousand: starts another process in a session of its own, says "up PID"
// of it, and echoes its stdin. Stays after the end of its stdin, to be killed.
#include <unistd.h>

#include <cstddef>
#include <cstdio>

int main() {
  const pid_t other = ::fork();
  if (other == 0) {
    ::setsid();
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    for (;;) ::pause();
  }
  char bytes[4096];
  const int size = std::snprintf(bytes, sizeof(bytes), "up %d\n", static_cast<int>(other));
  for (ssize_t got = size; got > 0; got = ::read(0, bytes, sizeof(bytes))) {
    for (ssize_t done = 0; done < got;) {
      const ssize_t written = ::write(1, bytes + done, static_cast<std::size_t>(got - done));
      if (written <= 0) return 1;
      done += written;
    }
  }
  for (;;) ::pause();
}
