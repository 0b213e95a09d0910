// bench/reactor/bare_lanes.h — the jobs done with nothing but system calls and the standard
// library.
#pragma once

#include "lane.h"

#include <memory>

namespace berth::bench {

/// `gather`: a burst is written at once.
std::unique_ptr<Lane> make_bare_stream_lane(const Scenario& scenario, bool gather);
std::unique_ptr<Lane> make_bare_loop_lane(const Scenario& scenario);

}  // namespace berth::bench
