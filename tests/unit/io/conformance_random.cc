// Random operations on many pipes: every byte arrives once, in order.
#include "reactor_conformance.h"

#include <berth/core/prng.h>

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

/// One pipe under random treatment: the bytes that come out are the bytes that went in, up to where
/// it ended.
class Channel {
 public:
  Channel(Reactor& reactor, PipeEnds ends, std::uint64_t seed)
      : reactor_(reactor),
        ends_(ends),
        random_(seed),
        sink(reactor, ends.reader),
        source(reactor, ends.writer) {
    sink.turn_budget = 1 + random_.below(9'000);
    sink.begin();
  }

  void act() {
    switch (random_.below(8)) {
      case 0:
      case 1:
      case 2:
        if (source.done && ends_.writer != kNoHandle) {
          source.write(
              pattern(1 + random_.below(random_.one_in(10) ? 200'000 : 3'000), random_.next()));
        }
        break;
      case 3:
        if (sink.started()) reactor_.pause(sink);
        break;
      case 4:
      case 5:
        if (sink.started()) reactor_.resume(sink);
        break;
      case 6:
        reactor_.cancel(sink);
        break;
      default:
        if (random_.one_in(5)) reactor_.cancel(source);
        break;
    }
    if (!sink.started() && sink.error == ECANCELED) sink.begin();
  }

  /// Closes the writer once it is silent, and reads to the end.
  bool wind_up() {
    if (sink.started()) reactor_.resume(sink);
    if (!sink.started() && sink.error == ECANCELED) sink.begin();
    if (!source.done) return false;
    if (ends_.writer != kNoHandle) reactor_.close(std::exchange(ends_.writer, kNoHandle));
    return !sink.started() && sink.error == 0;
  }
  void finish() {
    EXPECT_TRUE(sink.text == source.sent) << sink.text.size() << " of " << source.sent.size();
    reactor_.close(std::exchange(ends_.reader, kNoHandle));
  }

 private:
  Reactor& reactor_;
  PipeEnds ends_;
  Prng random_;

 public:
  Sink sink;
  Source source;
};

}  // namespace

TEST_P(ReactorConformance, SurvivesTenThousandRandomOperations) {
  Prng random(20261121);
  std::deque<Channel> channels;
  for (std::size_t i = 0; i < 40; ++i) channels.emplace_back(reactor(), make_pipe(), random.next());
  std::deque<Alarm> alarms;
  std::size_t fired = 0;
  for (int i = 0; i < 20; ++i) alarms.emplace_back([&] { ++fired; });
  for (int step = 0; step < 10'000; ++step) {
    channels[random.below(channels.size())].act();
    Alarm& alarm = alarms[random.below(alarms.size())];
    if (random.one_in(5)) {
      reactor().disarm(alarm);
    } else if (random.one_in(5)) {
      reactor().arm(alarm, reactor().clock().now() + std::chrono::microseconds(random.below(500)));
    }
    if (random.one_in(3)) reactor().poll();
  }
  for (Alarm& alarm : alarms) reactor().disarm(alarm);
  std::size_t left = channels.size();
  for (int turns = 0; left > 0 && turns < 200'000; ++turns) {
    left = 0;
    for (Channel& channel : channels) left += channel.wind_up() ? 0U : 1U;
    reactor().poll();
  }
  ASSERT_EQ(left, 0U);
  std::size_t bytes = 0;
  for (Channel& channel : channels) {
    bytes += channel.sink.text.size();
    channel.finish();
  }
  EXPECT_GT(bytes, 100'000U);
  EXPECT_GT(fired, 0U);
}

}  // namespace berth::inline v0::io
