// Reading of sockets in the way `buffers`: the same promises, and no stall when buffers are scarce.
#include "allocation_count.h"
#include "uring_rig.h"

#include <berth/io/uring_buffers.h>

#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace berth::inline v0::io {

namespace {

/// Every Sink receives by buffers; its pipes are pairs of sockets, or pipes, which have no buffers.
class ReceivingRig : public UringRig {
 public:
  explicit ReceivingRig(const UringSizes& sizes = {}, bool sockets = true)
      : UringRig(sizes), sockets_(sockets) {
    sink_way = ReadOp::Way::buffers;
  }
  ~ReceivingRig() override { sink_way = ReadOp::Way::readiness; }
  PipeEnds make_pipe() override {
    if (!sockets_) return UringRig::make_pipe();
    std::array<int, 2> ends = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return PipeEnds{};
    return PipeEnds{reactor().adopt(ends[0]).value(), reactor().adopt(ends[1]).value()};
  }

 private:
  const bool sockets_;
};

std::unique_ptr<ReactorRig> make_receiving_rig() {
  return std::make_unique<ReceivingRig>();
}
std::unique_ptr<ReactorRig> make_tiny_receiving_rig() {
  return std::make_unique<ReceivingRig>(UringSizes{2, 4});
}
std::unique_ptr<ReactorRig> make_pipe_rig() {
  return std::make_unique<ReceivingRig>(UringSizes{}, false);
}

template <typename Fn>
bool poll_until(Reactor& reactor, Fn happened) {
  for (int i = 0; i < 100'000; ++i) {
    if (happened()) return true;
    reactor.poll();
  }
  return false;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Receiving, ReactorConformance,
                         testing::Values(EngineUnderTest{"buffers", make_receiving_rig},
                                         EngineUnderTest{"tiny_buffers", make_tiny_receiving_rig},
                                         EngineUnderTest{"pipes", make_pipe_rig}),
                         [](const testing::TestParamInfo<EngineUnderTest>& info) {
                           return info.param.name;
                         });

// Paused reads hold all buffers and what may be copied out is used up: the others read(2).
TEST(UringReceive, GoesOnForOthersWhilePausedReadsHoldEverything) {
  constexpr std::size_t kPaused = 64;
  ReceivingRig rig;
  Reactor& reactor = rig.reactor();
  const std::string text = pattern(150'000);
  std::vector<PipeEnds> pipes;
  std::deque<Sink> sinks;
  std::deque<Source> sources;
  for (std::size_t i = 0; i <= kPaused; ++i) {
    pipes.push_back(rig.make_pipe());
    sinks.emplace_back(reactor, pipes[i].reader);
    sinks[i].turn_budget = 100;  // little is delivered before the pause
    if (i < kPaused) sinks[i].after_read = [&](Sink& sink) { reactor.pause(sink); };
    sinks[i].begin();
    sources.emplace_back(reactor, pipes[i].writer);
  }
  for (std::size_t i = 0; i < kPaused; ++i) sources[i].write(text);
  ASSERT_TRUE(poll_until(reactor, [&] {
    return std::all_of(sinks.begin(), sinks.end() - 1, [](Sink& s) { return !s.text.empty(); });
  }));
  for (int i = 0; i < 100; ++i) reactor.poll();
  sinks[kPaused].turn_budget = 64 * 1024;
  sources[kPaused].write(text);
  EXPECT_TRUE(poll_until(reactor, [&] { return sinks[kPaused].text.size() == text.size(); }));
  EXPECT_TRUE(sinks[kPaused].text == text);
  EXPECT_GT(rig.uring().stats().reads, 0U) << "buffers were never scarce";
  for (std::size_t i = 0; i < kPaused; ++i) {
    sinks[i].after_read = nullptr;
    sinks[i].turn_budget = 64 * 1024;
    reactor.resume(sinks[i]);
  }
  ASSERT_TRUE(poll_until(reactor, [&] {
    return std::all_of(sinks.begin(), sinks.end(),
                       [&](Sink& s) { return s.text.size() == text.size(); });
  }));
  for (Sink& sink : sinks) {
    EXPECT_TRUE(sink.text == text);
    reactor.cancel(sink);
  }
  ASSERT_TRUE(poll_until(reactor, [&] {
    return std::all_of(sinks.begin(), sinks.end(), [](const Sink& s) { return s.over; });
  }));
  for (const PipeEnds& pipe : pipes) {
    reactor.close(pipe.reader);
    reactor.close(pipe.writer);
  }
}

TEST(UringReceive, DeliversBeforeTheEndWhatTheRingHadTakenForAPausedRead) {
  ReceivingRig rig;
  Reactor& reactor = rig.reactor();
  const PipeEnds pipe = rig.make_pipe();
  Sink sink(reactor, pipe.reader);
  sink.turn_budget = 10;
  sink.after_read = [&](Sink& self) { reactor.pause(self); };
  sink.begin();
  reactor.poll();
  const std::string text = pattern(1'000);
  ASSERT_EQ(::write(pipe.writer, text.data(), text.size()), 1'000);
  ASSERT_TRUE(poll_until(reactor, [&] { return !sink.text.empty(); }));
  sink.after_read = nullptr;
  reactor.cancel(sink);
  ASSERT_TRUE(poll_until(reactor, [&] { return sink.over; }));
  EXPECT_EQ(sink.error, ECANCELED);
  EXPECT_TRUE(sink.text == text);
  reactor.close(pipe.reader);
  reactor.close(pipe.writer);
}

TEST(UringReceive, LeavesToTheKernelWhatALoudWriterSendsBeyondTheBudget) {
  ReceivingRig rig;
  Reactor& reactor = rig.reactor();
  const PipeEnds loud = rig.make_pipe();
  const PipeEnds quiet = rig.make_pipe();
  Sink all(reactor, loud.reader);
  Sink little(reactor, quiet.reader);
  all.turn_budget = 1'000;
  all.begin();
  little.begin();
  Source source(reactor, loud.writer);
  const std::string text = pattern(1'500'000);
  source.write(text);
  for (int i = 1; i <= 50; ++i) {
    ASSERT_EQ(::write(quiet.writer, "x", 1), 1);
    const std::size_t before = all.text.size();
    reactor.poll();
    EXPECT_LE(all.text.size() - before, 1'000U);
  }
  // What the socket holds and what came before the ring was stopped, not all of the buffers.
  EXPECT_LT(source.written, 550'000U);
  EXPECT_TRUE(poll_until(reactor, [&] { return little.text.size() == 50; }));
  EXPECT_TRUE(poll_until(reactor, [&] { return all.text.size() == text.size(); }));
  EXPECT_TRUE(all.text == text);
  EXPECT_EQ(all.most_at_once, 1'000U);
  reactor.close(loud.writer);
  reactor.cancel(little);
  ASSERT_TRUE(poll_until(reactor, [&] { return all.over && little.over; }));
  EXPECT_EQ(all.error, 0);
  for (const Handle handle : {loud.reader, quiet.reader, quiet.writer}) reactor.close(handle);
}

TEST(UringReceive, AllocatesNothingInSteadyState) {
  if (!allocation_count().has_value()) GTEST_SKIP() << "a sanitizer counts for itself";
  ReceivingRig rig;
  Reactor& reactor = rig.reactor();
  class Counter final : public ReadOp {
   public:
    void on_read(std::span<char> bytes) override { seen += bytes.size(); }
    void on_read_end(int) override { ++ends; }
    std::size_t seen = 0;
    int ends = 0;
  } counter;
  const PipeEnds pipe = rig.make_pipe();
  const std::string text = pattern(50'000);
  counter.handle = pipe.reader;
  counter.way = ReadOp::Way::buffers;
  const auto round = [&](int number) {
    reactor.start(counter);
    ASSERT_EQ(::write(pipe.writer, text.data(), text.size()), 50'000);
    ASSERT_TRUE(poll_until(
        reactor, [&] { return counter.seen == static_cast<std::size_t>(number) * text.size(); }));
    reactor.cancel(counter);
    ASSERT_TRUE(poll_until(reactor, [&] { return counter.ends == number; }));
  };
  round(1);
  const std::size_t before = allocation_count().value();
  for (int number = 2; number <= 50; ++number) round(number);
  EXPECT_EQ(allocation_count().value(), before);
  EXPECT_EQ(rig.uring().stats().reads, 0U) << "not by buffers";
  reactor.close(pipe.reader);
  reactor.close(pipe.writer);
}

}  // namespace berth::inline v0::io
