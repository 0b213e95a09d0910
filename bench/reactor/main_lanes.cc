// The lanes of the main program: bare system calls and berth.
#include "bare_lanes.h"
#include "berth_lanes.h"

#include <berth/io/asio_reactor.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/uring_ring.h>

#include <cstdio>
#include <cstdlib>

namespace berth::bench {

std::unique_ptr<io::Reactor> make_engine(std::string_view name) {
  auto engine = name == "asio" ? io::make_asio_reactor() : io::make_uring_reactor();
  if (engine.has_value()) return std::move(*engine);
  std::fprintf(stderr, "%s\n", engine.error().message.c_str());
  std::exit(1);
}

std::unique_ptr<Lane> make_lane(const Scenario& scenario, std::string_view contestant) {
  if (contestant == "epoll" || contestant == "reads" || contestant == "writev") {
    BareWay bare_way = BareWay::epoll;
    if (contestant == "reads") bare_way = BareWay::reads;
    if (contestant == "writev") bare_way = BareWay::writev;
    std::unique_ptr<Lane> lane = make_bare_stream_lane(scenario, bare_way);
    if (lane == nullptr) lane = make_bare_loop_lane(scenario);
    return lane != nullptr ? std::move(lane) : make_bare_spawn_lane(scenario);
  }
  if (contestant == "uring-1-shard") return make_berth_shards_lane(scenario, "uring", 1);
  if (contestant == "uring-2-shards") return make_berth_shards_lane(scenario, "uring", 2);
  const std::string_view engine = contestant == "berth-asio" ? "asio" : "uring";
  BerthWay way = BerthWay::operations;
  if (contestant.ends_with("-buffers")) way = BerthWay::buffers;
  if (contestant.ends_with("-streams")) way = BerthWay::streams;
  if (contestant.ends_with("-remote")) way = BerthWay::remote;
  std::unique_ptr<Lane> lane = make_berth_pipes_lane(scenario, engine, way);
  if (lane == nullptr) lane = make_berth_socket_lane(scenario, engine, way);
  if (lane == nullptr) lane = make_berth_loop_lane(scenario, engine, way);
  if (lane == nullptr) lane = make_berth_spawn_lane(scenario, engine);
  return lane;
}

}  // namespace berth::bench
