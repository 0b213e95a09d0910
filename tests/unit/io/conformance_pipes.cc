// What every engine promises about reading and writing pipes.
#include "reactor_conformance.h"

#include <berth/core/prng.h>

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

// --- reading ---

TEST_P(ReactorConformance, DeliversBytesInOrderAndThenTheEnd) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  sink.begin();
  for (const char* word : {"one ", "two ", "three"}) {
    source.write(word);
    ASSERT_TRUE(run_until([&] { return source.done; }));
  }
  reactor().close(std::exchange(pipe.writer, kNoHandle));
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  EXPECT_EQ(sink.text, "one two three");
  EXPECT_EQ(sink.error, 0);
  EXPECT_EQ(sink.ends, 1);
  close(pipe);
}

TEST_P(ReactorConformance, DeliversWhatWasThereBeforeTheReadBegan) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  source.write("early");
  ASSERT_TRUE(run_until([&] { return source.done; }));
  sink.begin();
  EXPECT_TRUE(run_until([&] { return sink.text == "early"; }));
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  close(pipe);
}

TEST_P(ReactorConformance, DeliversAllOfAWriterThatFillsThePipeOnceAndStaysSilent) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.turn_budget = 700;  // many turns for one event
  Source source(reactor(), pipe.writer);
  const std::string bytes = pattern(50'000);
  sink.begin();
  source.write(bytes);
  ASSERT_TRUE(run_until([&] { return sink.text.size() == bytes.size(); }));
  EXPECT_EQ(sink.text, bytes);
  EXPECT_LE(sink.most_at_once, 700U);
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  close(pipe);
}

TEST_P(ReactorConformance, WritesMoreThanThePipeHolds) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  const std::string bytes = pattern(1'000'000);
  source.write(bytes);
  settle();
  EXPECT_FALSE(source.done);
  sink.begin();
  ASSERT_TRUE(run_until([&] { return source.done && sink.text.size() == bytes.size(); }));
  EXPECT_EQ(source.error, 0);
  EXPECT_TRUE(sink.text == bytes);
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  close(pipe);
}

TEST_P(ReactorConformance, GivesReadableAndWritablePaddingBehindTheBytes) {
  PipeEnds pipe = make_pipe();
  class Scribbler final : public ReadOp {
   public:
    void on_read(std::span<char> bytes) override {
      std::fill_n(bytes.data(), bytes.size() + kReadPadding, '!');
      seen += bytes.size();
    }
    void on_read_end(int) override {}
    std::size_t seen = 0;
  } scribbler;
  scribbler.handle = pipe.reader;
  Source source(reactor(), pipe.writer);
  reactor().start(scribbler);
  source.write(pattern(200'000));  // fills the segment to its end
  EXPECT_TRUE(run_until([&] { return scribbler.seen == 200'000; }));
  reactor().cancel(scribbler);
  ASSERT_TRUE(run_until([&] { return !scribbler.started(); }));
  close(pipe);
}

TEST_P(ReactorConformance, NeverCallsBackInsideStart) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  source.write("x");
  EXPECT_FALSE(source.done);
  sink.begin();
  EXPECT_TRUE(sink.text.empty());
  ASSERT_TRUE(run_until([&] { return source.done && sink.text == "x"; }));
  reactor().cancel(sink);
  EXPECT_FALSE(sink.over);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  close(pipe);
}

TEST_P(ReactorConformance, GivesEachOfAThousandPipesAtMostItsBudgetATurn) {
  constexpr std::size_t kPipes = 1000;
  constexpr std::size_t kBudget = 512;
  constexpr std::size_t kBytes = 3 * kBudget + 100;
  class TurnCounter final : public TurnHook {
   public:
    void on_turn_end() override { ++turn; }
    std::size_t turn = 0;
  } counter;
  reactor().add_turn_hook(counter);
  struct Share {
    std::size_t turn = 0;
    std::size_t bytes = 0;
  };
  std::vector<PipeEnds> pipes;
  std::deque<Sink> sinks;
  std::deque<Source> sources;
  std::vector<Share> shares(kPipes);
  std::size_t over_budget = 0;
  for (std::size_t i = 0; i < kPipes; ++i) {
    pipes.push_back(make_pipe());
    Sink& sink = sinks.emplace_back(reactor(), pipes[i].reader);
    sink.turn_budget = kBudget;
    sink.after_read = [&, i, last = std::size_t{0}](Sink& self) mutable {
      if (shares[i].turn != counter.turn) shares[i] = Share{counter.turn, 0};
      shares[i].bytes += self.text.size() - last;
      last = self.text.size();
      if (shares[i].bytes > kBudget) ++over_budget;
    };
    sink.begin();
    sources.emplace_back(reactor(), pipes[i].writer).write(pattern(kBytes, i));
  }
  std::size_t complete = 0;
  ASSERT_TRUE(run_until([&] {
    complete = 0;
    for (const Sink& sink : sinks) complete += sink.text.size() == kBytes ? 1U : 0U;
    return complete == kPipes;
  })) << complete;
  EXPECT_EQ(over_budget, 0U);
  for (std::size_t i = 0; i < kPipes; ++i) EXPECT_TRUE(sinks[i].text == pattern(kBytes, i)) << i;
  for (Sink& sink : sinks) reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] {
    return std::all_of(sinks.begin(), sinks.end(), [](const Sink& sink) { return sink.over; }) &&
           std::all_of(sources.begin(), sources.end(), [](const Source& s) { return s.done; });
  }));
  for (PipeEnds& pipe : pipes) close(pipe);
}

TEST_P(ReactorConformance, ServesAQuietPipeBesideALoudOne) {
  PipeEnds loud = make_pipe();
  PipeEnds quiet = make_pipe();
  Sink loud_sink(reactor(), loud.reader);
  Source loud_source(reactor(), loud.writer);
  bool stop_shouting = false;
  loud_source.after_write = [&] {
    if (!stop_shouting) loud_source.write(pattern(100'000));
  };
  Sink quiet_sink(reactor(), quiet.reader);
  Source quiet_source(reactor(), quiet.writer);
  loud_sink.begin();
  quiet_sink.begin();
  loud_source.write(pattern(100'000));
  ASSERT_TRUE(run_until([&] { return loud_sink.text.size() > 300'000; }));
  quiet_source.write("psst");
  EXPECT_TRUE(run_until([&] { return quiet_sink.text == "psst"; }));
  stop_shouting = true;
  ASSERT_TRUE(run_until([&] { return loud_source.done; }));
  reactor().cancel(loud_sink);
  reactor().cancel(quiet_sink);
  ASSERT_TRUE(run_until([&] { return loud_sink.over && quiet_sink.over; }));
  close(loud);
  close(quiet);
}

// --- pause and resume ---

TEST_P(ReactorConformance, DeliversNothingWhilePausedAndLosesNothing) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  sink.begin();
  reactor().pause(sink);
  source.write("kept");
  ASSERT_TRUE(run_until([&] { return source.done; }));
  settle();
  EXPECT_EQ(sink.text, "");
  reactor().resume(sink);
  EXPECT_TRUE(run_until([&] { return sink.text == "kept"; }));
  source.write(" and more");
  EXPECT_TRUE(run_until([&] { return sink.text == "kept and more"; }));
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  close(pipe);
}

TEST_P(ReactorConformance, PausesInsideItsOwnCallbackAfterEveryPiece) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.turn_budget = 100;
  Source source(reactor(), pipe.writer);
  std::size_t pieces = 0;
  sink.after_read = [&](Sink& self) {
    ++pieces;
    reactor().pause(self);
  };
  sink.begin();
  const std::string bytes = pattern(2'500);
  source.write(bytes);
  while (sink.text.size() < bytes.size()) {
    const std::size_t before = pieces;
    ASSERT_TRUE(run_until([&] { return pieces > before; })) << sink.text.size();
    settle();
    EXPECT_EQ(pieces, before + 1) << "read on although paused";
    reactor().resume(sink);
  }
  EXPECT_EQ(sink.text, bytes);
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over && source.done; }));
  close(pipe);
}

TEST_P(ReactorConformance, ResumesInsideItsOwnCallback) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.turn_budget = 10;
  Source source(reactor(), pipe.writer);
  sink.after_read = [&](Sink& self) {
    reactor().pause(self);
    reactor().resume(self);
  };
  sink.begin();
  source.write(pattern(95));
  EXPECT_TRUE(run_until([&] { return sink.text.size() == 95; }));
  EXPECT_LE(sink.most_at_once, 10U);
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  close(pipe);
}

TEST_P(ReactorConformance, ShowsTheEndOfAStreamThatEndedWhilePaused) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.turn_budget = 3;
  Source source(reactor(), pipe.writer);
  sink.begin();
  reactor().pause(sink);
  source.write("last words");
  ASSERT_TRUE(run_until([&] { return source.done; }));
  reactor().close(std::exchange(pipe.writer, kNoHandle));
  settle();
  EXPECT_FALSE(sink.over);
  reactor().resume(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  EXPECT_EQ(sink.text, "last words");
  EXPECT_EQ(sink.error, 0);
  close(pipe);
}

}  // namespace berth::inline v0::io
