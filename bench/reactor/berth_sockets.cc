// berth: fan-out to sockets, and ping-pong.
#include "berth_lanes.h"
#include "material.h"

#include <berth/core/scope.h>
#include <berth/io/stream.h>

namespace berth::bench {

namespace {

using namespace berth::io;

class Writing final : public WriteOp {
 public:
  void send(Reactor& reactor, std::string_view bytes) {
    part_ = iovec{const_cast<char*>(bytes.data()), bytes.size()};
    parts = std::span(&part_, 1);
    reactor.start(*this);
  }
  void on_written(int error) override { check(error == 0, "on_written"); }

 private:
  iovec part_ = {};
};

/// Events arrive one after another within a turn and go into one log; at the end of the turn each
/// socket is sent what is new in the log.
class FanOutLane final : public Lane {
 public:
  FanOutLane(const Scenario& scenario, std::string_view engine)
      : scenario_(scenario),
        sockets_(scenario.size),
        reactor_(make_engine(engine)),
        writes_(scenario.size) {
    for (std::size_t i = 0; i < scenario.size; ++i) {
      writes_[i].handle = reactor_->adopt(sockets_.near()[i]).value();
    }
    for (std::size_t i = 0; i < scenario.active; ++i) arrivals_.emplace_back(*this);
    log_.reserve(kEventBytes * scenario.active);
    reactor_->add_turn_hook(flush_);
    reactor_->poll();
  }
  Sample round() override {
    Meter meter;
    for (std::size_t pass = 0; pass < scenario_.passes; ++pass) {
      meter.start();
      log_.clear();
      sent_ = 0;
      for (Arrival& arrival : arrivals_) reactor_->post(arrival);
      reactor_->poll();
      while (writes_.back().started()) reactor_->poll();
      meter.stop(scenario_.size * scenario_.active);
      sockets_.drain(kEventBytes * scenario_.active);
    }
    return meter.sample();
  }

 private:
  struct Arrival final : Runnable {
    explicit Arrival(FanOutLane& lane) : lane_(lane) {}
    void run() override { lane_.log_.append(lane_.event_); }
    FanOutLane& lane_;
  };
  struct Flush final : TurnHook {
    explicit Flush(FanOutLane& lane) : lane_(lane) {}
    void on_turn_end() override { lane_.flush(); }
    FanOutLane& lane_;
  };
  void flush() {
    if (sent_ == log_.size()) return;
    sent_ = log_.size();
    for (Writing& write : writes_) write.send(*reactor_, log_);
  }

  const Scenario scenario_;
  TcpSockets sockets_;
  std::unique_ptr<Reactor> reactor_;
  std::deque<Writing> writes_;
  std::deque<Arrival> arrivals_;
  std::string event_ = std::string(kEventBytes, 'e');
  std::string log_;
  std::size_t sent_ = 0;  // bytes of the log that the sockets have
  Flush flush_{*this};
};

/// What both ping-pongs have: a turn of the loop at a time until the ball is back.
class PingPongLane : public Lane {
 public:
  PingPongLane(const Scenario& scenario, std::string_view engine)
      : scenario_(scenario), reactor_(make_engine(engine)) {
    round_trips_.reserve(scenario.size);
  }
  Sample round() override {
    round_trips_.clear();
    Meter meter;
    meter.start();
    for (std::size_t i = 0; i < scenario_.size; ++i) {
      const double begun = now_ns();
      home_ = false;
      serve();
      while (!home_) reactor_->poll();
      round_trips_.push_back(now_ns() - begun);
    }
    meter.stop(scenario_.size);
    Sample sample = meter.sample();
    add_quantiles(sample, round_trips_);
    return sample;
  }

 protected:
  virtual void serve() = 0;

  const Scenario scenario_;
  std::unique_ptr<Reactor> reactor_;
  std::string message_ = std::string(kPingBytes, 'x');
  bool home_ = false;

 private:
  std::vector<double> round_trips_;
};

class OperationsPingPong final : public PingPongLane {
 public:
  OperationsPingPong(const Scenario& scenario, std::string_view engine, BerthWay way)
      : PingPongLane(scenario, engine), near_(*this, false), far_(*this, true) {
    const std::array<int, 2> ends = make_socket_pair();
    near_.handle = to_far_.handle = reactor_->adopt(ends[0]).value();
    far_.handle = to_near_.handle = reactor_->adopt(ends[1]).value();
    if (way == BerthWay::buffers) near_.way = far_.way = ReadOp::Way::buffers;
    reactor_->start(near_);
    reactor_->start(far_);
    reactor_->poll();
  }
  ~OperationsPingPong() override {
    reactor_->cancel(near_);
    reactor_->cancel(far_);
    while (near_.started() || far_.started()) reactor_->poll();
    reactor_->close(near_.handle);
    reactor_->close(far_.handle);
  }

 private:
  class End final : public ReadOp {
   public:
    End(OperationsPingPong& lane, bool far) : lane_(lane), far_(far) {}
    void on_read(std::span<char> bytes) override {
      check(bytes.size() == kPingBytes, "on_read");
      if (far_) {
        lane_.to_near_.send(*lane_.reactor_, lane_.message_);
      } else {
        lane_.home_ = true;
      }
    }
    void on_read_end(int) override {}

   private:
    OperationsPingPong& lane_;
    const bool far_;
  };
  void serve() override {
    while (to_far_.started()) reactor_->poll();
    to_far_.send(*reactor_, message_);
  }

  End near_;
  End far_;
  Writing to_far_;
  Writing to_near_;
};

class StreamsPingPong final : public PingPongLane {
 public:
  StreamsPingPong(const Scenario& scenario, std::string_view engine)
      : PingPongLane(scenario, engine), scope_(*reactor_) {
    const std::array<int, 2> ends = make_socket_pair();
    near_ = make_stream(*reactor_, reactor_->adopt(ends[0]).value());
    far_ = make_stream(*reactor_, reactor_->adopt(ends[1]).value());
    scope_.spawn(echo());
  }
  ~StreamsPingPong() override {
    far_->cancel_read();
    while (scope_.size() > 0) reactor_->poll();
    scope_.spawn(close_both());
    while (scope_.size() > 0) reactor_->poll();
  }

 private:
  void serve() override { scope_.spawn(go()); }
  Task<void> go() {
    const Result<void> sent = co_await near_->write(message_);
    check(sent.has_value(), "write");
    const Result<std::string_view> answer = co_await near_->read();
    check(answer.has_value() && answer->size() == kPingBytes, "read");
    home_ = true;
  }
  Task<void> echo() {
    for (;;) {
      const Result<std::string_view> bytes = co_await far_->read();
      if (!bytes.has_value() || bytes->empty()) co_return;
      const Result<void> sent = co_await far_->write(*bytes);
      check(sent.has_value(), "write");
    }
  }
  Task<void> close_both() {
    co_await near_->close();
    co_await far_->close();
  }

  std::unique_ptr<ByteStream> near_;
  std::unique_ptr<ByteStream> far_;
  Scope scope_;
};

}  // namespace

std::unique_ptr<Lane> make_berth_socket_lane(const Scenario& scenario, std::string_view engine,
                                             BerthWay way) {
  if (scenario.job == Job::fan_out) return std::make_unique<FanOutLane>(scenario, engine);
  if (scenario.job != Job::ping_pong) return nullptr;
  if (way == BerthWay::streams) return std::make_unique<StreamsPingPong>(scenario, engine);
  return std::make_unique<OperationsPingPong>(scenario, engine, way);
}

}  // namespace berth::bench
