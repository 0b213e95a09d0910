// The program of one backend of Asio, which the main program starts: its definitions must not meet
// those of the other one.
#include "asio_lanes.h"

#include <cstdio>
#include <string_view>

namespace berth::bench {

std::unique_ptr<Lane> make_lane(const Scenario& scenario, std::string_view) {
  std::unique_ptr<Lane> lane = make_asio_stream_lane(scenario);
  return lane != nullptr ? std::move(lane) : make_asio_loop_lane(scenario);
}

}  // namespace berth::bench

int main(int argc, char** argv) {
  if (argc == 4 && std::string_view(argv[1]) == "--lane") {
    return berth::bench::serve_lane(argv[2], argv[3]);
  }
  std::fprintf(stderr, "started by berth-reactor-bench\n");
  return 2;
}
