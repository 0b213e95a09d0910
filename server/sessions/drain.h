// server/sessions/drain.h — the orderly end of a server: what runs may finish, nothing begins, the
// rest is parked.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/server/sessions/context.h>

#include <cstddef>
#include <cstdint>

namespace berth::server {

class Directory;

/// What still goes on in a server that is to end.
struct DrainFacts {
  std::size_t turns = 0;      ///< That run; those that wait for a person's decision do not.
  std::size_t unsettled = 0;  ///< Sessions whose last snapshot or commit is on its way.
  std::size_t behind = 0;     ///< Sessions with a reader that has not got all yet.
  bool forced = false;        ///< Somebody insists.
};

enum class DrainStep : std::uint8_t {
  wait,
  park,  ///< Give the turns that run their ending now; then look again.
  done,
};

/// `asked`: since when the server is to end; `quiet`: since when no turn runs. Readers are waited
/// for a second, since one that is stuck loses nothing: it comes back with its cursor.
DrainStep next_drain_step(const DrainFacts& facts, TimePoint now, TimePoint asked, TimePoint quiet,
                          Duration deadline);

struct DrainReport {
  std::size_t finished = 0;  ///< Turns that ran when it began, and came to their own end.
  std::size_t parked = 0;    ///< Turns that were interrupted.
};

/// From now on no turn begins. Returns when those that run have ended and everybody was told, at
/// the latest a second after `deadline`: what runs then is `interrupted`, and its queue is kept.
/// `force` makes the deadline now.
Task<DrainReport> drain(SessionContext* context, Directory* directory, Duration deadline,
                        StopToken force);

}  // namespace berth::server
