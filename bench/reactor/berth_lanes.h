// bench/reactor/berth_lanes.h — the jobs done by berth's engines.
#pragma once

#include "lane.h"

#include <berth/io/reactor.h>

#include <memory>

namespace berth::bench {

/// How a lane is to use the reactor.
enum class BerthWay {
  operations,  ///< Operations with callbacks; messages by post_from.
  buffers,     ///< The same, receiving into buffers that the kernel was given before.
  streams,     ///< Coroutines over ByteStream.
  remote,      ///< Messages by post_remote.
};

/// The engine called `name`; ends the program when it cannot be had.
std::unique_ptr<io::Reactor> make_engine(std::string_view name);

std::unique_ptr<Lane> make_berth_pipes_lane(const Scenario& scenario, std::string_view engine,
                                            BerthWay way);
/// The pipes of the scenario shared out between so many reactors, each on a thread of its own.
std::unique_ptr<Lane> make_berth_shards_lane(const Scenario& scenario, std::string_view engine,
                                             std::size_t shards);
std::unique_ptr<Lane> make_berth_socket_lane(const Scenario& scenario, std::string_view engine,
                                             BerthWay way);
std::unique_ptr<Lane> make_berth_loop_lane(const Scenario& scenario, std::string_view engine,
                                           BerthWay way);
/// By the keeper, the server's default.
std::unique_ptr<Lane> make_berth_spawn_lane(const Scenario& scenario, std::string_view engine);

}  // namespace berth::bench
