// Children started and reaped while others live: by posix_spawn, and by berth's keeper.
#include "bare_lanes.h"
#include "berth_lanes.h"
#include "children.h"

#include <berth/core/log.h>
#include <berth/io/process_keeper.h>

#include <deque>

namespace berth::bench {

namespace {

/// One by one; a round trip is from the start of a child until it is reaped.
template <typename RunChild>
Sample measure(std::size_t children, RunChild run_child) {
  std::vector<double> trips;
  trips.reserve(children);
  Meter meter;
  meter.start();
  for (std::size_t i = 0; i < children; ++i) {
    const double begin = now_ns();
    run_child();
    trips.push_back(now_ns() - begin);
  }
  meter.stop(children);
  Sample sample = meter.sample();
  add_quantiles(sample, trips);
  return sample;
}

class BareSpawnLane final : public Lane {
 public:
  explicit BareSpawnLane(const Scenario& scenario) : scenario_(scenario) {
    for (std::size_t i = 0; i < scenario.size; ++i) others_.emplace_back(true);
  }
  Sample round() override {
    return measure(scenario_.passes, [] { const BareChild child(false); });
  }

 private:
  const Scenario scenario_;
  std::deque<BareChild> others_;
};

class KeeperLane final : public Lane {
 public:
  KeeperLane(const Scenario& scenario, std::string_view engine)
      : scenario_(scenario),
        reactor_(make_engine(engine)),
        host_(make_host(log_)),
        others_(*reactor_, *host_, scenario.size) {}
  Sample round() override {
    return measure(scenario_.passes, [this] {
      Ended ended(*reactor_);
      auto process = host_->spawn(*reactor_, tiny_child(false), ended);
      check(process.has_value(), "spawn");
      while (ended.count == 0) reactor_->run();
      close_pipes(*reactor_, **process);
    });
  }

 private:
  static std::unique_ptr<io::ProcessHost> make_host(LogSink& log) {
    auto host = io::make_keeper_process_host(log, {{}, BERTH_KEEPER});
    check(host.has_value(), "the keeper");
    return std::move(*host);
  }

  const Scenario scenario_;
  NullLog log_;
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<io::ProcessHost> host_;
  Held others_;
};

}  // namespace

std::unique_ptr<Lane> make_bare_spawn_lane(const Scenario& scenario) {
  if (scenario.job != Job::spawn) return nullptr;
  return std::make_unique<BareSpawnLane>(scenario);
}

std::unique_ptr<Lane> make_berth_spawn_lane(const Scenario& scenario, std::string_view engine) {
  if (scenario.job != Job::spawn) return nullptr;
  return std::make_unique<KeeperLane>(scenario, engine);
}

}  // namespace berth::bench
