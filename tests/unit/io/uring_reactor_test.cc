#include <berth/io/fd_reactor.h>
#include <berth/io/stream.h>
#include <berth/io/uring_ring.h>

#include "allocation_count.h"
#include "plain_rig.h"
#include "reactor_conformance.h"
#include "uring_rig.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <thread>

namespace berth::inline v0::io {

using std::chrono::milliseconds;

namespace {

constexpr UringSizes kTinySizes = {2, 4};

std::string engine_name_of(const testing::TestParamInfo<EngineUnderTest>& info) {
  return info.param.name;
}
std::unique_ptr<ReactorRig> make_uring_rig() {
  return std::make_unique<UringRig>();
}
std::unique_ptr<ReactorRig> make_tiny_rig() {
  return std::make_unique<UringRig>(kTinySizes);
}
std::unique_ptr<ReactorRig> make_plain_rig() {
  return std::make_unique<UringRig>(make_plain_reactor);
}

template <typename Fn>
bool poll_until(Reactor& reactor, Fn happened) {
  for (int i = 0; i < 100'000; ++i) {
    if (happened()) return true;
    reactor.poll();
  }
  return false;
}

/// Stops the loop at a time: for tests that must let real time pass.
void run_for(Reactor& reactor, Duration time) {
  Alarm alarm([&] { reactor.stop(); });
  reactor.arm(alarm, reactor.clock().now() + time);
  reactor.run();
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Uring, ReactorConformance,
                         testing::Values(EngineUnderTest{"uring", make_uring_rig}), engine_name_of);
// A completion ring so small that it overflows all the time: multishot polls end and are armed
// again.
INSTANTIATE_TEST_SUITE_P(TinyUring, ReactorConformance,
                         testing::Values(EngineUnderTest{"tiny", make_tiny_rig}), engine_name_of);
// Without what only a ring can do: the way of an engine on an epoll set.
INSTANTIATE_TEST_SUITE_P(Plain, ReactorConformance,
                         testing::Values(EngineUnderTest{"plain", make_plain_rig}), engine_name_of);

TEST(UringReactor, RearmsPollsThatAFullCompletionRingEnded) {
  UringRig rig(kTinySizes);
  Reactor& reactor = rig.reactor();
  std::vector<PipeEnds> pipes;
  std::deque<Sink> sinks;
  for (std::size_t i = 0; i < 100; ++i) {
    pipes.push_back(rig.make_pipe());
    sinks.emplace_back(reactor, pipes[i].reader).begin();
  }
  reactor.poll();
  for (int round = 0; round < 20; ++round) {
    for (const PipeEnds& pipe : pipes) ASSERT_EQ(::write(pipe.writer, "line\n", 5), 5);
    const std::size_t wanted = static_cast<std::size_t>(round + 1) * 5;
    ASSERT_TRUE(poll_until(reactor,
                           [&] {
                             return std::all_of(sinks.begin(), sinks.end(), [&](const Sink& sink) {
                               return sink.text.size() == wanted;
                             });
                           }))
        << "round " << round;
  }
  EXPECT_GT(rig.uring().stats().polls_rearmed, 0U) << "the ring never overflowed";
  EXPECT_EQ(rig.uring().stats().watchdog_finds, 0U);
  for (Sink& sink : sinks) reactor.cancel(sink);
  ASSERT_TRUE(poll_until(reactor, [&] {
    return std::all_of(sinks.begin(), sinks.end(), [](const Sink& sink) { return sink.over; });
  }));
  for (const PipeEnds& pipe : pipes) {
    reactor.close(pipe.reader);
    reactor.close(pipe.writer);
  }
}

// Submission and waiting are one call: reads that end and start again, timers and posts included.
TEST(UringReactor, EntersTheKernelOnceATurn) {
  Result<std::unique_ptr<UringRing>> made = UringRing::create({});
  UringRing& ring = **made;
  UringRig rig(FdReactor::create("uring", std::move(*made)).value());
  Reactor& reactor = rig.reactor();
  std::vector<PipeEnds> pipes;
  std::deque<Sink> sinks;
  for (std::size_t i = 0; i < 20; ++i) {
    pipes.push_back(rig.make_pipe());
    sinks.emplace_back(reactor, pipes[i].reader).begin();
  }
  Job posted([] {});
  for (int round = 1; round <= 10; ++round) {
    for (const PipeEnds& pipe : pipes) ASSERT_EQ(::write(pipe.writer, "line\n", 5), 5);
    for (Sink& sink : sinks) reactor.cancel(sink);  // total: what was written stays for the next
    reactor.post_remote(posted);
    for (int turn = 0; turn < 10; ++turn) {
      const std::uint64_t before = ring.enter_count();
      reactor.poll();
      EXPECT_LE(ring.enter_count() - before, 2U) << "one call, and one for more than it brought";
    }
    for (Sink& sink : sinks) {
      ASSERT_TRUE(sink.over);
      sink.begin();
    }
    const std::uint64_t before = ring.enter_count();
    reactor.poll();
    EXPECT_EQ(ring.enter_count() - before, 1U);
  }
  for (Sink& sink : sinks) reactor.cancel(sink);
  ASSERT_TRUE(poll_until(reactor, [&] {
    return std::all_of(sinks.begin(), sinks.end(), [](const Sink& sink) { return sink.over; });
  }));
  for (const PipeEnds& pipe : pipes) {
    reactor.close(pipe.reader);
    reactor.close(pipe.writer);
  }
}

TEST(UringReactor, AllocatesNothingInSteadyState) {
  if (!allocation_count().has_value()) GTEST_SKIP() << "a sanitizer counts for itself";
  UringRig rig;
  Reactor& reactor = rig.reactor();
  class Counter final : public ReadOp {
   public:
    void on_read(std::span<char> bytes) override { seen += bytes.size(); }
    void on_read_end(int) override {}
    std::size_t seen = 0;
  } counter;
  class Writer final : public WriteOp {
   public:
    void on_written(int) override { ++writes; }
    int writes = 0;
  } writer;
  class Ticker final : public TimerOp {
   public:
    void on_timer() override { ++ticks; }
    int ticks = 0;
  } ticker;
  class Nothing final : public Runnable {
   public:
    void run() override { ++runs; }
    int runs = 0;
  } posted, remote;
  const PipeEnds pipe = rig.make_pipe();
  counter.handle = pipe.reader;
  writer.handle = pipe.writer;
  reactor.start(counter);
  std::string bytes(100'000, 'x');  // more than the pipe holds: the write waits
  iovec part = {};
  const auto step = [&](int round) {
    part = iovec{bytes.data(), bytes.size()};
    writer.parts = std::span(&part, 1);
    reactor.start(writer);
    reactor.arm(ticker, reactor.clock().now());
    reactor.post(posted);
    reactor.post_remote(remote);
    return poll_until(reactor, [&] {
      return writer.writes == round && ticker.ticks == round && posted.runs == round &&
             remote.runs == round && counter.seen == static_cast<std::size_t>(round) * bytes.size();
    });
  };
  ASSERT_TRUE(step(1));
  const std::size_t before = allocation_count().value();
  for (int round = 2; round <= 50; ++round) ASSERT_TRUE(step(round));
  EXPECT_EQ(allocation_count().value(), before);
  reactor.cancel(counter);
  ASSERT_TRUE(poll_until(reactor, [&] { return !counter.started(); }));
  reactor.close(pipe.reader);
  reactor.close(pipe.writer);
}

TEST(UringReactor, ReadsFilesThatCannotBePolled) {
  UringRig rig;
  std::array<char, 32> path = {"/tmp/berth-reactor-XXXXXX"};
  const int file = ::mkstemp(path.data());
  ASSERT_GE(file, 0);
  ::unlink(path.data());
  const std::string text = pattern(200'000);
  ASSERT_EQ(::write(file, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ::lseek(file, 0, SEEK_SET);
  Sink sink(rig.reactor(), rig.reactor().adopt(file).value());
  sink.begin();
  ASSERT_TRUE(poll_until(rig.reactor(), [&] { return sink.over; }));
  EXPECT_TRUE(sink.text == text);
  EXPECT_EQ(sink.error, 0);
  rig.reactor().close(file);
}

TEST(UringReactor, EndsTheReadOfAFileOnceHoweverOftenItIsCancelledAndPaused) {
  UringRig rig;
  Reactor& reactor = rig.reactor();
  Sink sink(reactor, reactor.adopt(::open("/dev/zero", O_RDONLY | O_CLOEXEC)).value());
  sink.turn_budget = 100;
  sink.begin();
  ASSERT_TRUE(poll_until(reactor, [&] { return sink.text.size() >= 300; }));
  reactor.cancel(sink);
  reactor.cancel(sink);
  reactor.pause(sink);
  reactor.resume(sink);
  ASSERT_TRUE(poll_until(reactor, [&] { return sink.over; }));
  EXPECT_EQ(sink.error, ECANCELED);
  EXPECT_EQ(sink.ends, 1);
  reactor.close(sink.handle);
}

TEST(UringReactor, SaysThatABadHandleIsBad) {
  UringRig rig;
  EXPECT_FALSE(rig.reactor().adopt(987'654).has_value());
  Sink sink(rig.reactor(), 987'654);
  sink.begin();
  ASSERT_TRUE(poll_until(rig.reactor(), [&] { return sink.over; }));
  EXPECT_EQ(sink.error, EBADF);
  Source source(rig.reactor(), 987'654);
  source.write("x");
  ASSERT_TRUE(poll_until(rig.reactor(), [&] { return source.done; }));
  EXPECT_EQ(source.error, EBADF);
}

TEST(UringReactor, GoesOnAcceptingWhenDescriptorsWereShortForAWhile) {
  UringRig rig;
  Reactor& reactor = rig.reactor();
  Listener listener;
  listener.listener = reactor.listen(Address{"127.0.0.1:0"}).value();
  const Handle client = connect_to(reactor, reactor.local_address(listener.listener).value());
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {static_cast<rlim_t>(client), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  reactor.start(listener);  // the kernel looks at the limit when accepting begins
  for (int i = 0; i < 100; ++i) reactor.poll();
  EXPECT_TRUE(listener.connections.empty());
  EXPECT_FALSE(listener.over) << listener.error;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  run_for(reactor, milliseconds(150));
  EXPECT_EQ(listener.connections.size(), 1U);
  reactor.cancel(listener);
  ASSERT_TRUE(poll_until(reactor, [&] { return listener.over; }));
  reactor.close(client);
  for (const Handle connection : listener.connections) reactor.close(connection);
  reactor.close(listener.listener);
}

TEST(UringReactor, CancelsAnAcceptThatWaitsForDescriptors) {
  UringRig rig;
  Reactor& reactor = rig.reactor();
  Listener listener;
  listener.listener = reactor.listen(Address{"127.0.0.1:0"}).value();
  const Handle client = connect_to(reactor, reactor.local_address(listener.listener).value());
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {static_cast<rlim_t>(client), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  reactor.start(listener);  // the kernel looks at the limit when accepting begins
  for (int i = 0; i < 20; ++i) reactor.poll();
  reactor.cancel(listener);
  EXPECT_TRUE(poll_until(reactor, [&] { return listener.over; }));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(listener.error, ECANCELED);
  EXPECT_TRUE(listener.connections.empty());
  reactor.close(client);
  reactor.close(listener.listener);
}

TEST(UringReactor, ServesAllOfAThousandPipesInOneTurn) {
  UringRig rig;
  Reactor& reactor = rig.reactor();
  std::vector<PipeEnds> pipes;
  std::deque<Sink> sinks;
  for (std::size_t i = 0; i < 1'000; ++i) {
    pipes.push_back(rig.make_pipe());
    sinks.emplace_back(reactor, pipes[i].reader).begin();
  }
  reactor.poll();
  for (const PipeEnds& pipe : pipes) ASSERT_EQ(::write(pipe.writer, "line\n", 5), 5);
  reactor.poll();
  const auto served = std::count_if(sinks.begin(), sinks.end(),
                                    [](const Sink& sink) { return sink.text == "line\n"; });
  EXPECT_EQ(served, 1'000);
  for (Sink& sink : sinks) reactor.cancel(sink);
  ASSERT_TRUE(poll_until(reactor, [&] {
    return std::all_of(sinks.begin(), sinks.end(), [](const Sink& sink) { return sink.over; });
  }));
  for (const PipeEnds& pipe : pipes) {
    reactor.close(pipe.reader);
    reactor.close(pipe.writer);
  }
}

TEST(UringReactor, LeavesTheRestOfMuchInputToTheNextTurns) {
  UringRig rig;
  Reactor& reactor = rig.reactor();
  std::vector<PipeEnds> pipes;
  std::deque<Sink> sinks;
  const std::string bytes = pattern(60'000);
  for (std::size_t i = 0; i < 60; ++i) {
    pipes.push_back(rig.make_pipe());
    sinks.emplace_back(reactor, pipes[i].reader).begin();
    ASSERT_EQ(::write(pipes[i].writer, bytes.data(), bytes.size()), 60'000);
  }
  const auto total = [&] {
    std::size_t sum = 0;
    for (const Sink& sink : sinks) sum += sink.text.size();
    return sum;
  };
  std::size_t before = 0;
  int turns = 0;
  for (; total() < 60 * bytes.size() && turns < 100; ++turns) {
    reactor.poll();
    EXPECT_LE(total() - before, 1024U * 1024 + bytes.size());
    before = total();
  }
  EXPECT_EQ(turns, 4) << "3.6 MB in turns of 1 MiB";
  for (const Sink& sink : sinks) EXPECT_TRUE(sink.text == bytes);

  // And it does not wait for an event before it goes on.
  for (Sink& sink : sinks) {
    sink.after_read = [&](Sink&) {
      if (total() == 120 * bytes.size()) reactor.stop();
    };
  }
  for (const PipeEnds& pipe : pipes) {
    ASSERT_EQ(::write(pipe.writer, bytes.data(), bytes.size()), 60'000);
  }
  Alarm too_late([&] { reactor.stop(); });
  reactor.arm(too_late, reactor.clock().now() + milliseconds(500));
  reactor.run();
  EXPECT_TRUE(too_late.started()) << "it waited";
  reactor.disarm(too_late);
  EXPECT_EQ(total(), 120 * bytes.size());
  for (Sink& sink : sinks) reactor.cancel(sink);
  ASSERT_TRUE(poll_until(reactor, [&] {
    return std::all_of(sinks.begin(), sinks.end(), [](const Sink& sink) { return sink.over; });
  }));
  for (const PipeEnds& pipe : pipes) {
    reactor.close(pipe.reader);
    reactor.close(pipe.writer);
  }
}

TEST(UringReactor, MayBeBuiltOnAnotherThreadThanItRunsOn) {
  UringRig rig;
  int ran = 0;
  Job job([&] { ++ran; });
  std::thread loop([&] {
    rig.reactor().post(job);
    poll_until(rig.reactor(), [&] { return ran == 1; });
  });
  loop.join();
  EXPECT_EQ(ran, 1);
}

TEST(UringReactor, GivesAStreamsReaderTheBytesThatWonAgainstCancelRead) {
  UringRig rig;
  Reactor& reactor = rig.reactor();
  const PipeEnds pipe = rig.make_pipe();
  const std::unique_ptr<ByteStream> stream = make_stream(reactor, pipe.reader);
  std::vector<std::string> answers;
  const auto read_twice = [](ByteStream& from, std::vector<std::string>* into) -> Task<void> {
    for (int i = 0; i < 2; ++i) {
      Result<std::string_view> bytes = co_await from.read();
      into->push_back(bytes.has_value() ? std::string(*bytes) : bytes.error().code);
    }
    co_await from.close();
  };
  Scope scope(reactor);
  scope.spawn(read_twice(*stream, &answers));
  reactor.poll();
  // The timer runs before the read of that turn, and what it posts before the reader resumes.
  Job cancel([&] { stream->cancel_read(); });
  Alarm alarm([&] { reactor.post(cancel); });
  ASSERT_EQ(::write(pipe.writer, "won", 3), 3);
  reactor.arm(alarm, reactor.clock().now());
  ASSERT_TRUE(poll_until(reactor, [&] { return scope.size() == 0; }));
  EXPECT_EQ(answers, (std::vector<std::string>{"won", "cancelled"}));
  reactor.close(pipe.writer);
}

TEST(UringReactor, FindsNoLostEventsInTwoWatchdogPeriods) {
  UringRig rig;
  const PipeEnds pipe = rig.make_pipe();
  Sink sink(rig.reactor(), pipe.reader);
  sink.begin();
  ASSERT_EQ(::write(pipe.writer, "x", 1), 1);
  run_for(rig.reactor(), milliseconds(2'100));
  EXPECT_EQ(sink.text, "x");
  EXPECT_EQ(rig.uring().stats().watchdog_finds, 0U);
  rig.reactor().cancel(sink);
  ASSERT_TRUE(poll_until(rig.reactor(), [&] { return sink.over; }));
  rig.reactor().close(pipe.reader);
  rig.reactor().close(pipe.writer);
}

}  // namespace berth::inline v0::io
