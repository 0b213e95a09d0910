// berth: many pipes, shared out between reactors that each have a thread.
#include "berth_lanes.h"
#include "berth_reading.h"

#include <barrier>
#include <thread>

namespace berth::bench {

namespace {

using namespace berth::io;

/// One reactor with its part of the pipes. All but `wanted` belongs to its thread while that is
/// between the two barriers, and to nobody else ever.
struct Part {
  std::vector<int> pipes;
  std::size_t wanted = 0;  ///< Lines that come in this pass.
  LineWork work;
};

class ShardsLane final : public Lane {
 public:
  ShardsLane(const Scenario& scenario, std::string_view engine, std::size_t shards)
      : scenario_(scenario), pipes_(scenario), parts_(shards), meet_(std::ssize(parts_) + 1) {
    for (std::size_t i = 0; i < scenario.size; ++i) {
      part_of(i).pipes.push_back(pipes_.all()[i].reader);
    }
    for (std::size_t i = 0; i < shards; ++i) {
      threads_.emplace_back([this, i, engine] {
        pin_to_core(static_cast<unsigned>(i));
        serve(parts_[i], engine);
      });
    }
    meet_.arrive_and_wait();
  }
  ~ShardsLane() override {
    ending_ = true;
    meet_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }

  Sample round() override {
    Meter meter;
    for (std::size_t pass = 0; pass < scenario_.passes; ++pass) {
      pipes_.write_lines();
      for (Part& part : parts_) part.wanted = 0;
      for (const std::size_t pipe : pipes_.written()) ++part_of(pipe).wanted;
      meter.start();
      meet_.arrive_and_wait();
      meet_.arrive_and_wait();
      meter.stop(scenario_.active);
    }
    return meter.sample();
  }

 private:
  Part& part_of(std::size_t pipe) { return parts_[pipe % parts_.size()]; }

  void serve(Part& part, std::string_view engine) {
    const std::unique_ptr<Reactor> reactor = make_engine(engine);
    std::deque<Reading> readings;
    for (const int pipe : part.pipes) {
      Reading& reading = readings.emplace_back(part.work);
      reading.handle = reactor->adopt(pipe).value();
      reactor->start(reading);
    }
    reactor->poll();
    meet_.arrive_and_wait();
    for (;;) {
      meet_.arrive_and_wait();
      if (ending_) break;
      part.work.lines = 0;
      while (part.work.lines < part.wanted) reactor->poll();
      meet_.arrive_and_wait();
    }
    for (Reading& reading : readings) reactor->cancel(reading);
    for (const Reading& reading : readings) {
      while (reading.started()) reactor->poll();
    }
  }

  const Scenario scenario_;
  Pipes pipes_;
  std::vector<Part> parts_;
  bool ending_ = false;
  std::barrier<> meet_;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Lane> make_berth_shards_lane(const Scenario& scenario, std::string_view engine,
                                             std::size_t shards) {
  return std::make_unique<ShardsLane>(scenario, engine, shards);
}

}  // namespace berth::bench
