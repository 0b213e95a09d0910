// A stranger's test of a program of theirs, on the simulated machine of the installed tree.
#include <berth/io/awaitables.h>
#include <berth/io/sim_platform.h>
#include <berth/io/stream.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace {

using berth::Result;
using berth::Task;

Task<void> hour_of_sleep(berth::io::SimReactor* reactor, bool* slept) {
  const auto when = reactor->clock().now() + std::chrono::hours(1);
  *slept = co_await berth::io::Sleep(*reactor, when);
}

}  // namespace

int main() {
  berth::io::SimMachine machine(42);
  berth::io::SimPlatform platform(machine, "stranger");
  const auto before = machine.now();
  bool slept = false;
  machine.run_task(platform.reactor(), hour_of_sleep(&platform.reactor(), &slept));
  std::printf(
      "%d %ld\n", slept ? 1 : 0,
      static_cast<long>(
          std::chrono::duration_cast<std::chrono::minutes>(machine.now() - before).count()));
  return 0;
}
