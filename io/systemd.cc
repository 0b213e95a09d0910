#include <berth/io/systemd.h>

#include <berth/io/fd.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace berth::inline v0::io {

namespace {

constexpr int kFirstInherited = 3;  // SD_LISTEN_FDS_START

template <typename Number>
std::optional<Number> number_in(const std::string& text) {
  Number value = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || text.empty()) return std::nullopt;
  return value;
}

tl::unexpected<Error> bad(const char* variable, const std::string& value) {
  return fail(ErrorKind::invalid, "bad_environment", std::string(variable) + "=" + value);
}

std::vector<std::string> split_names(std::string_view text) {
  std::vector<std::string> names;
  for (;;) {
    const std::size_t colon = text.find(':');
    names.emplace_back(text.substr(0, colon));
    if (colon == std::string_view::npos) return names;
    text.remove_prefix(colon + 1);
  }
}

int option_of(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

/// A line of people's text, without what would begin an assignment of its own.
std::string one_line(std::string_view text) {
  std::string line(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

std::string with_status(std::string_view assignment, std::string_view status) {
  std::string all(assignment);
  if (!status.empty()) all += "\nSTATUS=" + one_line(status);
  return all;
}

}  // namespace

Result<std::vector<InheritedSocket>> inherited_sockets(const Environment& environment,
                                                       int own_pid) {
  std::vector<InheritedSocket> sockets;
  const std::optional<std::string> pid_text = environment.get("LISTEN_PID");
  const std::optional<std::string> count_text = environment.get("LISTEN_FDS");
  if (!pid_text.has_value() || !count_text.has_value()) return sockets;
  const std::optional<int> pid = number_in<int>(*pid_text);
  if (!pid.has_value() || *pid <= 0) return bad("LISTEN_PID", *pid_text);
  if (*pid != own_pid) return sockets;
  const std::optional<int> count = number_in<int>(*count_text);
  if (!count.has_value() || *count < 0 || *count > kInheritedSocketsMax) {
    return bad("LISTEN_FDS", *count_text);
  }
  const std::optional<std::string> names_text = environment.get("LISTEN_FDNAMES");
  std::vector<std::string> names(static_cast<std::size_t>(*count), "unknown");
  if (names_text.has_value() && *count > 0) {
    names = split_names(*names_text);
    if (names.size() != static_cast<std::size_t>(*count)) {
      return bad("LISTEN_FDNAMES", *names_text);
    }
  }
  for (int i = 0; i < *count; ++i) {
    sockets.push_back({kFirstInherited + i, std::move(names[static_cast<std::size_t>(i)])});
  }
  return sockets;
}

Result<Handle> adopt_listener(Reactor& reactor, const InheritedSocket& socket) {
  if (option_of(socket.fd, SO_ACCEPTCONN) != 1 || option_of(socket.fd, SO_TYPE) != SOCK_STREAM) {
    return fail(ErrorKind::invalid, "not_a_listener",
                "the inherited descriptor " + std::to_string(socket.fd) + " (" + socket.name +
                    ") is no listening stream socket");
  }
  // It was handed over without, or it would not be here.
  if (::fcntl(socket.fd, F_SETFD, FD_CLOEXEC) != 0) {
    return fail(errno_error(errno, "marking an inherited socket"));
  }
  return reactor.adopt(socket.fd);
}

std::optional<Duration> watchdog_interval(const Environment& environment, int own_pid) {
  const std::optional<std::string> pid_text = environment.get("WATCHDOG_PID");
  if (pid_text.has_value() && number_in<int>(*pid_text) != own_pid) return std::nullopt;
  const std::optional<std::string> text = environment.get("WATCHDOG_USEC");
  if (!text.has_value()) return std::nullopt;
  const std::optional<std::uint64_t> microseconds = number_in<std::uint64_t>(*text);
  constexpr std::uint64_t kLongest = 1'000'000ULL * 3600 * 24 * 365;
  if (!microseconds.has_value() || *microseconds == 0 || *microseconds > kLongest) {
    return std::nullopt;
  }
  return std::chrono::microseconds(*microseconds);
}

ServiceNotifier::ServiceNotifier(const Environment& environment)
    : address_(environment.get("NOTIFY_SOCKET").value_or("")) {}

Result<void> ServiceNotifier::ready(std::string_view status) {
  return notify(with_status("READY=1", status));
}

Result<void> ServiceNotifier::stopping(std::string_view status) {
  return notify(with_status("STOPPING=1", status));
}

Result<void> ServiceNotifier::status(std::string_view text) {
  return notify("STATUS=" + one_line(text));
}

Result<void> ServiceNotifier::alive() {
  return notify("WATCHDOG=1");
}

Result<void> ServiceNotifier::notify(std::string_view assignments) {
  if (!wanted()) return {};
  sockaddr_un target = {};
  target.sun_family = AF_UNIX;
  const bool abstract = address_.front() == '@';
  if ((address_.front() != '/' && !abstract) || address_.size() >= sizeof target.sun_path) {
    return fail(ErrorKind::unsupported, "bad_environment", "NOTIFY_SOCKET=" + address_);
  }
  std::memcpy(target.sun_path, address_.data(), address_.size());
  if (abstract) target.sun_path[0] = '\0';
  const std::size_t length = offsetof(sockaddr_un, sun_path) + address_.size() + (abstract ? 0 : 1);
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.get() < 0) return fail(errno_error(errno, "opening a socket for NOTIFY_SOCKET"));
  const ssize_t sent =
      ::sendto(socket.get(), assignments.data(), assignments.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&target), static_cast<socklen_t>(length));
  if (sent < 0) return fail(errno_error(errno, "telling NOTIFY_SOCKET " + address_));
  return {};
}

}  // namespace berth::inline v0::io
