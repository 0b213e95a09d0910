// io/systemd.h — what a supervisor such as systemd hands to a service: listening sockets, and a
// place to tell how it goes. Without libsystemd: sd_listen_fds(3), sd_notify(3).
#pragma once

#include <berth/core/clock.h>
#include <berth/core/result.h>
#include <berth/io/platform.h>
#include <berth/io/reactor.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

/// A descriptor that was open when this program began.
struct InheritedSocket {
  int fd = -1;
  std::string name;  ///< FileDescriptorName= of the socket unit; "unknown" without names.
};

/// Most that are taken over; more are an error.
inline constexpr int kInheritedSocketsMax = 1024;

/// What LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say: nothing when they are absent or for another
/// process. Error `invalid` ("bad_environment") when they contradict themselves. Children that this
/// process starts should not inherit the three variables.
Result<std::vector<InheritedSocket>> inherited_sockets(const Environment& environment, int own_pid);

/// Makes a listening stream socket of `fd` (non-blocking, close-on-exec) the reactor's. Error
/// `invalid` ("not_a_listener"); the descriptor stays as it is then.
Result<Handle> adopt_listener(Reactor& reactor, const InheritedSocket& socket);

/// How often the supervisor wants a sign of life: WATCHDOG_USEC, if WATCHDOG_PID is absent or
/// `own_pid`. Send one at half of that. Nullopt: never.
std::optional<Duration> watchdog_interval(const Environment& environment, int own_pid);

/// Tells the supervisor how the service goes; nothing if there is none. Never waits: one datagram
/// each.
class ServiceNotifier {
 public:
  /// `address` is the value of NOTIFY_SOCKET: a path, `@abstract`, or empty for nobody.
  explicit ServiceNotifier(std::string address) : address_(std::move(address)) {}
  explicit ServiceNotifier(const Environment& environment);

  bool wanted() const { return !address_.empty(); }

  /// It serves; `status` is a line for people and may be empty.
  Result<void> ready(std::string_view status = {});
  Result<void> stopping(std::string_view status = {});
  Result<void> status(std::string_view text);
  /// The sign of life that watchdog_interval() is about.
  Result<void> alive();
  /// Any assignments, one a line. Errors: `unsupported` (an address of another family),
  /// `unavailable` (nobody listens there), or the errno of sendto.
  Result<void> notify(std::string_view assignments);

 private:
  std::string address_;
};

}  // namespace berth::inline v0::io
