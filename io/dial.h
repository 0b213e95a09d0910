// io/dial.h — happy eyeballs (RFC 8305): a connection to a name that has several addresses.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/result.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/io/reactor.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

/// Where names are looked up; without it only addresses can be dialled.
struct NameLookup {
  Resolver* resolver = nullptr;
  Offload* offload = nullptr;
  /// The resolver blocks a thread of it for as long as a silent name server makes it wait.
  Lane lane = Lane::files;
};

/// RFC 8305, section 8: the recommended "Connection Attempt Delay".
inline constexpr Duration kNextAttemptDelay = std::chrono::milliseconds(250);

/// The order of section 4: the first address's family first, then the families in turns, each in
/// the resolver's order.
std::vector<Address> interleave_families(std::vector<Address> addresses);

/// Whether dial() needs no look-up for it: an address, localhost or `unix:/path`.
bool is_address(std::string_view host_and_port);

/// Tries `addresses` in their order: the next one begins kNextAttemptDelay after the last began, or
/// at once when that failed. The first connection wins, the others are cancelled and waited for.
///
/// Errors: `timed_out` ("deadline"), `cancelled`, else why the last attempt failed, `unavailable`
/// ("connection_failed"; `invalid` for an address that cannot be read). Cancellation: total (a
/// connection that won the race is closed when it lost it to the stop).
Task<Result<Handle>> dial_addresses(Reactor* reactor, std::vector<Address> addresses,
                                    TimePoint deadline = TimePoint::max(), StopToken stop = {});

/// `host:port`, `1.2.3.4:port`, `[::1]:port` or `unix:/path`: looks a name up, then dials. The
/// deadline and the stop hold for both together; a look-up that was begun runs to its end first.
/// Errors: also the resolver's, and `unsupported` ("no_resolver") for a name without `names`.
Task<Result<Handle>> dial(Reactor* reactor, NameLookup names, std::string host_and_port,
                          TimePoint deadline = TimePoint::max(), StopToken stop = {});

}  // namespace berth::inline v0::io
