// bench/reactor/bare_lanes.h — the jobs done with nothing but system calls and the standard
// library.
#pragma once

#include "lane.h"

#include <memory>

namespace berth::bench {

/// How much the bare system calls know or save.
enum class BareWay {
  epoll,  ///< Readiness from epoll, a write an event.
  reads,  ///< No readiness: only pipes that hold something are read.
  writev  ///< A burst is written at once.
};

std::unique_ptr<Lane> make_bare_stream_lane(const Scenario& scenario, BareWay way);
std::unique_ptr<Lane> make_bare_loop_lane(const Scenario& scenario);
std::unique_ptr<Lane> make_bare_spawn_lane(const Scenario& scenario);

}  // namespace berth::bench
