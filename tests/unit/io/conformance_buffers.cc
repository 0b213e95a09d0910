// What every engine promises about both ways in which a socket is read: by readiness and by buffers
// that the kernel was given before.
#include "reactor_conformance.h"

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

constexpr ReadOp::Way kWays[] = {ReadOp::Way::readiness, ReadOp::Way::buffers};

/// One direction of a connection: written at one end, read at the other.
struct Line {
  Line(Reactor& reactor, std::pair<Handle, Handle> ends, ReadOp::Way way)
      : source(reactor, ends.first), sink(reactor, ends.second) {
    sink.way = way;
  }
  Source source;
  Sink sink;
};

bool complete(const std::deque<Line>& lines, std::size_t bytes) {
  return std::all_of(lines.begin(), lines.end(), [bytes](const Line& line) {
    return line.source.done && line.sink.text.size() == bytes;
  });
}

}  // namespace

TEST_P(ReactorConformance, ReadsAConnectionToItsEndInBothWays) {
  for (const ReadOp::Way way : kWays) {
    Line line(reactor(), make_connection(), way);
    line.sink.begin();
    const std::string bytes = pattern(2'000'000);
    line.source.write(bytes);
    ASSERT_TRUE(run_until([&] { return line.source.done; }));
    reactor().close(line.source.handle);
    ASSERT_TRUE(run_until([&] { return line.sink.over; }));
    EXPECT_EQ(line.sink.error, 0);
    EXPECT_EQ(line.sink.ends, 1);
    EXPECT_TRUE(line.sink.text == bytes) << line.sink.text.size();
    reactor().close(line.sink.handle);
  }
}

TEST_P(ReactorConformance, DeliversTheLastBytesBeforeTheHangUpHoweverSmallTheShares) {
  for (const ReadOp::Way way : kWays) {
    for (const bool paused : {false, true}) {
      Line line(reactor(), make_connection(), way);
      line.sink.turn_budget = 7;
      line.sink.begin();
      if (paused) reactor().pause(line.sink);
      const std::string bytes = pattern(400);
      line.source.write(bytes);
      ASSERT_TRUE(run_until([&] { return line.source.done; }));
      reactor().close(line.source.handle);
      settle();
      if (paused) {
        EXPECT_EQ(line.sink.text, "");
        reactor().resume(line.sink);
      }
      ASSERT_TRUE(run_until([&] { return line.sink.over; }));
      EXPECT_EQ(line.sink.error, 0);
      EXPECT_EQ(line.sink.text, bytes);
      EXPECT_LE(line.sink.most_at_once, 7U);
      reactor().close(line.sink.handle);
    }
  }
}

// Each message takes a buffer of its own, however small it is.
TEST_P(ReactorConformance, ReadsThousandsOfSmallMessagesInBothWays) {
  for (const ReadOp::Way way : kWays) {
    Line line(reactor(), make_connection(), way);
    line.sink.begin();
    std::string all;
    int left = 3'000;
    line.source.after_write = [&] {
      if (left-- == 0) return;
      all += std::to_string(left) + ",";
      line.source.write(std::to_string(left) + ",");
    };
    line.source.after_write();
    ASSERT_TRUE(run_until([&] { return left < 0 && line.sink.text.size() == all.size(); }));
    EXPECT_EQ(line.sink.text, all);
    reactor().cancel(line.sink);
    ASSERT_TRUE(run_until([&] { return line.sink.over; }));
    reactor().close(line.source.handle);
    reactor().close(line.sink.handle);
  }
}

// Buffers that hold what paused readers may not see yet are missing to the others: that must cost
// nobody a byte, and nobody may wait for ever.
TEST_P(ReactorConformance, StaysInMotionWhileManyPausedReadersHoldWhatTheyGot) {
  constexpr std::size_t kConnections = 150;
  constexpr std::size_t kBytes = 60'000;
  for (const ReadOp::Way way : kWays) {
    std::deque<Line> paused;
    for (std::size_t i = 0; i < kConnections; ++i) {
      Line& line = paused.emplace_back(reactor(), make_connection(), way);
      line.sink.begin();
      // Half of them before the first byte came, half in the middle of it.
      if (i % 2 == 0) {
        reactor().pause(line.sink);
      } else {
        line.sink.after_read = [this](Sink& sink) { reactor().pause(sink); };
      }
      line.source.write(pattern(kBytes, i));
    }
    settle();
    Line lively(reactor(), make_connection(), way);
    lively.sink.begin();
    lively.source.write(pattern(1'000'000));
    ASSERT_TRUE(run_until([&] { return lively.sink.text.size() == 1'000'000; }));
    EXPECT_TRUE(lively.sink.text == pattern(1'000'000));
    for (Line& line : paused) {
      line.sink.after_read = nullptr;
      EXPECT_LT(line.sink.text.size(), kBytes + 1);
      reactor().resume(line.sink);
    }
    ASSERT_TRUE(run_until([&] { return complete(paused, kBytes); }));
    for (std::size_t i = 0; i < kConnections; ++i) {
      EXPECT_TRUE(paused[i].sink.text == pattern(kBytes, i)) << i;
      reactor().cancel(paused[i].sink);
    }
    reactor().cancel(lively.sink);
    ASSERT_TRUE(run_until([&] {
      return lively.sink.over && std::all_of(paused.begin(), paused.end(),
                                             [](const Line& line) { return line.sink.over; });
    }));
    for (const Line& line : paused) {
      reactor().close(line.source.handle);
      reactor().close(line.sink.handle);
    }
    reactor().close(lively.source.handle);
    reactor().close(lively.sink.handle);
  }
}

TEST_P(ReactorConformance, LosesNothingBetweenCancelledReadsOfAConnectionInBothWays) {
  for (const ReadOp::Way way : kWays) {
    Line line(reactor(), make_connection(), way);
    line.sink.turn_budget = 900;
    const std::string bytes = pattern(20'000);
    line.source.write(bytes);
    line.sink.after_read = [&](Sink& self) { reactor().cancel(self); };
    for (int i = 0; i < 30'000 && line.sink.text.size() < bytes.size(); ++i) {
      line.sink.begin();
      for (int turns = i % 3; turns > 0; --turns) reactor().poll();
      if (i % 5 == 0) reactor().cancel(line.sink);
      ASSERT_TRUE(run_until([&] { return line.sink.over; }));
      EXPECT_EQ(line.sink.error, ECANCELED);
      // The other way may go on where this one stopped.
      line.sink.way = kWays[i % 2];
    }
    EXPECT_TRUE(line.sink.text == bytes);
    ASSERT_TRUE(run_until([&] { return line.source.done; }));
    reactor().close(line.source.handle);
    reactor().close(line.sink.handle);
  }
}

TEST_P(ReactorConformance, PausesInsideTheCallbackOfAReadByBuffers) {
  Line line(reactor(), make_connection(), ReadOp::Way::buffers);
  line.sink.turn_budget = 100;
  std::size_t pieces = 0;
  line.sink.after_read = [&](Sink& self) {
    ++pieces;
    reactor().pause(self);
  };
  line.sink.begin();
  const std::string bytes = pattern(2'500);
  line.source.write(bytes);
  while (line.sink.text.size() < bytes.size()) {
    const std::size_t before = pieces;
    ASSERT_TRUE(run_until([&] { return pieces > before; })) << line.sink.text.size();
    settle();
    EXPECT_EQ(pieces, before + 1) << "read on although paused";
    reactor().resume(line.sink);
  }
  EXPECT_EQ(line.sink.text, bytes);
  reactor().cancel(line.sink);
  ASSERT_TRUE(run_until([&] { return line.sink.over && line.source.done; }));
  reactor().close(line.source.handle);
  reactor().close(line.sink.handle);
}

// A writer that fills what there is to fill once, to the last byte or one beside it, and then says
// nothing more: no event will come for what the first one did not fetch.
TEST_P(ReactorConformance, DeliversAllOfASilentWriterWhateverTheSizes) {
  constexpr std::size_t kPipe = 64 * 1024;
  for (const std::size_t size : {std::size_t{1}, kPipe - 1, kPipe, kPipe + 1, 3 * kPipe}) {
    for (const std::size_t budget : {std::size_t{4'096}, kPipe - 1, kPipe, 10 * kPipe}) {
      for (const bool reads_first : {false, true}) {
        PipeEnds pipe = make_pipe();
        Sink sink(reactor(), pipe.reader);
        sink.turn_budget = budget;
        Source source(reactor(), pipe.writer);
        if (reads_first) {
          sink.begin();
          reactor().poll();
        }
        source.write(pattern(size));
        reactor().poll();
        if (!reads_first) sink.begin();
        ASSERT_TRUE(run_until([&] { return source.done && sink.text.size() == size; }))
            << size << " bytes, budget " << budget << ": " << sink.text.size();
        EXPECT_TRUE(sink.text == pattern(size));
        EXPECT_LE(sink.most_at_once, budget);
        reactor().cancel(sink);
        ASSERT_TRUE(run_until([&] { return sink.over; }));
        close(pipe);
      }
    }
  }
}

}  // namespace berth::inline v0::io
