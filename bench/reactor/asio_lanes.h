// bench/reactor/asio_lanes.h — the jobs done by Asio; compiled once for each of its backends.
#pragma once

#include "lane.h"

#include <memory>

namespace berth::bench {

std::unique_ptr<Lane> make_asio_stream_lane(const Scenario& scenario);
std::unique_ptr<Lane> make_asio_loop_lane(const Scenario& scenario);

}  // namespace berth::bench
