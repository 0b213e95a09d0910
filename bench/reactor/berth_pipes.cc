// berth: many pipes, by operations and by coroutines.
#include "berth_lanes.h"
#include "berth_reading.h"

#include <berth/core/scope.h>
#include <berth/io/stream.h>

namespace berth::bench {

namespace {

using namespace berth::io;

class PipesLane : public Lane {
 public:
  PipesLane(const Scenario& scenario, std::string_view engine)
      : scenario_(scenario), pipes_(scenario), reactor_(make_engine(engine)) {
    work_.parse = scenario.job == Job::pipes;
  }
  Sample round() override {
    Meter meter;
    for (std::size_t pass = 0; pass < scenario_.passes; ++pass) {
      pipes_.write_lines();
      work_.lines = 0;
      meter.start();
      while (work_.lines < scenario_.active) reactor_->poll();
      meter.stop(work_.lines);
    }
    return meter.sample();
  }

 protected:
  const Scenario scenario_;
  Pipes pipes_;
  LineWork work_;
  std::unique_ptr<Reactor> reactor_;
};

class OperationsLane final : public PipesLane {
 public:
  OperationsLane(const Scenario& scenario, std::string_view engine) : PipesLane(scenario, engine) {
    for (const Pipe& pipe : pipes_.all()) {
      Reading& reading = readings_.emplace_back(work_);
      reading.handle = reactor_->adopt(pipe.reader).value();
      reactor_->start(reading);
    }
    reactor_->poll();
  }
  ~OperationsLane() override {
    for (Reading& reading : readings_) reactor_->cancel(reading);
    for (const Reading& reading : readings_) {
      while (reading.started()) reactor_->poll();
    }
  }

 private:
  std::deque<Reading> readings_;
};

class StreamsLane final : public PipesLane {
 public:
  StreamsLane(const Scenario& scenario, std::string_view engine)
      : PipesLane(scenario, engine), scope_(*reactor_) {
    for (std::size_t i = 0; i < scenario.size; ++i) {
      const Handle handle = reactor_->adopt(pipes_.take_reader(i)).value();
      streams_.push_back(make_stream(*reactor_, handle));
      scope_.spawn(read_lines(*streams_.back(), work_));
    }
    while (reactor_->poll()) {
    }
  }
  ~StreamsLane() override {
    for (const std::unique_ptr<ByteStream>& stream : streams_) stream->cancel_read();
    while (scope_.size() > 0) reactor_->poll();
    scope_.spawn(close_all(streams_));
    while (scope_.size() > 0) reactor_->poll();
  }

 private:
  static Task<void> read_lines(ByteStream& stream, LineWork& work) {
    LineReader lines(work);
    for (;;) {
      const Result<std::string_view> bytes = co_await stream.read();
      if (!bytes.has_value() || bytes->empty()) co_return;
      lines.feed(*bytes);
    }
  }
  static Task<void> close_all(std::vector<std::unique_ptr<ByteStream>>& streams) {
    for (const std::unique_ptr<ByteStream>& stream : streams) co_await stream->close();
  }

  std::vector<std::unique_ptr<ByteStream>> streams_;
  Scope scope_;
};

}  // namespace

std::unique_ptr<Lane> make_berth_pipes_lane(const Scenario& scenario, std::string_view engine,
                                            BerthWay way) {
  if (scenario.job != Job::pipes && scenario.job != Job::raw_pipes) return nullptr;
  if (way == BerthWay::streams) return std::make_unique<StreamsLane>(scenario, engine);
  return std::make_unique<OperationsLane>(scenario, engine);
}

}  // namespace berth::bench
