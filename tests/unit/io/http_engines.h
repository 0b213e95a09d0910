// tests/unit/io/http_engines.h — the HTTP tests run on the real engines and on the simulated one.
#pragma once

#include "http_rig.h"
#include "uring_rig.h"

#include <berth/io/sim_machine.h>
#include <berth/io/sim_reactor.h>

namespace berth::inline v0::io {

class HttpSimRig final : public ReactorRig {
 public:
  explicit HttpSimRig(std::uint64_t seed) : machine_(seed, FaultPlan::gentle()) {}
  Reactor& reactor() override { return reactor_; }
  PipeEnds make_pipe() override { return {}; }
  std::size_t open_handles() override { return reactor_.open_handles(); }

 private:
  SimMachine machine_;
  SimReactor reactor_{machine_, "http"};
};

inline std::vector<EngineUnderTest> http_engines() {
  std::vector<EngineUnderTest> all = {
      {"uring", [] { return std::make_unique<UringRig>(); }},
      {"asio", [] { return std::make_unique<FdRig>([] { return make_asio_reactor().value(); }); }},
      {"hosted", [] { return std::make_unique<HostedRig>(); }}};
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    all.push_back(
        {"sim" + std::to_string(seed), [seed] { return std::make_unique<HttpSimRig>(seed); }});
  }
  return all;
}

inline std::string name_of_engine(const testing::TestParamInfo<EngineUnderTest>& info) {
  return info.param.name;
}

}  // namespace berth::inline v0::io
