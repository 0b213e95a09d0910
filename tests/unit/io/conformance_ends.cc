// What every engine promises about ends and cancellation.
#include "reactor_conformance.h"

#include <berth/core/prng.h>

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

TEST_P(ReactorConformance, DeliversAllDataBeforeTheEndEvenInSmallShares) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.turn_budget = 1;
  Source source(reactor(), pipe.writer);
  source.write(pattern(300));
  ASSERT_TRUE(run_until([&] { return source.done; }));
  reactor().close(std::exchange(pipe.writer, kNoHandle));
  sink.begin();
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  EXPECT_EQ(sink.text, pattern(300));
  EXPECT_EQ(sink.error, 0);
  close(pipe);
}

TEST_P(ReactorConformance, EndsACancelledReadOnce) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.begin();
  settle();
  reactor().cancel(sink);
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  settle();
  EXPECT_EQ(sink.error, ECANCELED);
  EXPECT_EQ(sink.ends, 1);
  reactor().cancel(sink);  // one that is not started: nothing to do
  settle();
  EXPECT_EQ(sink.ends, 1);
  close(pipe);
}

TEST_P(ReactorConformance, EndsAReadThatIsCancelledBeforeItsFirstTurn) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.begin();
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  EXPECT_EQ(sink.error, ECANCELED);
  close(pipe);
}

TEST_P(ReactorConformance, EndsAReadThatIsCancelledWhilePaused) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  sink.begin();
  reactor().pause(sink);
  source.write("held back");
  settle();
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over && source.done; }));
  EXPECT_EQ(sink.error, ECANCELED);
  close(pipe);
}

TEST_P(ReactorConformance, EndsAReadThatIsPausedAndResumedAfterItsCancel) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.begin();
  settle();
  reactor().cancel(sink);
  reactor().pause(sink);
  settle();
  if (sink.started()) reactor().resume(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  EXPECT_EQ(sink.ends, 1);
  close(pipe);
}

TEST_P(ReactorConformance, LosesNothingBetweenACancelledReadAndTheNextOne) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.turn_budget = 64;
  Source source(reactor(), pipe.writer);
  sink.after_read = [&](Sink& self) { reactor().cancel(self); };
  const std::string bytes = pattern(1'000);
  source.write(bytes);
  for (int i = 0; i < 100 && sink.text.size() < bytes.size(); ++i) {
    sink.begin();
    ASSERT_TRUE(run_until([&] { return sink.over; }));
    EXPECT_EQ(sink.error, ECANCELED);
  }
  EXPECT_EQ(sink.text, bytes);
  close(pipe);
}

TEST_P(ReactorConformance, CancelsOthersFromInsideACallback) {
  constexpr std::size_t kPipes = 8;
  std::vector<PipeEnds> pipes;
  std::deque<Sink> sinks;
  std::deque<Source> sources;
  for (std::size_t i = 0; i < kPipes; ++i) {
    pipes.push_back(make_pipe());
    Sink& sink = sinks.emplace_back(reactor(), pipes[i].reader);
    sink.after_read = [&](Sink&) {
      for (Sink& other : sinks) reactor().cancel(other);
    };
    sources.emplace_back(reactor(), pipes[i].writer).write("x");
  }
  for (Sink& sink : sinks) sink.begin();
  ASSERT_TRUE(run_until([&] {
    return std::all_of(sinks.begin(), sinks.end(), [](const Sink& sink) { return sink.over; });
  }));
  for (const Sink& sink : sinks) EXPECT_EQ(sink.ends, 1);
  ASSERT_TRUE(run_until([&] {
    return std::all_of(sources.begin(), sources.end(), [](const Source& s) { return s.done; });
  }));
  for (PipeEnds& pipe : pipes) close(pipe);
}

TEST_P(ReactorConformance, SaysHowMuchOfACancelledWriteWasTaken) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  const std::string bytes = pattern(3'000'000);
  source.write(bytes);
  settle();
  reactor().cancel(source);
  reactor().cancel(source);
  ASSERT_TRUE(run_until([&] { return source.done; }));
  EXPECT_EQ(source.error, ECANCELED);
  EXPECT_EQ(source.ends, 1);
  EXPECT_LT(source.sent.size(), bytes.size());
  reactor().close(std::exchange(pipe.writer, kNoHandle));
  sink.begin();
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  EXPECT_TRUE(sink.text == source.sent);
  close(pipe);
}

TEST_P(ReactorConformance, AnswersAWriteToNobodyWithEpipeAndNoSignal) {
  PipeEnds pipe = make_pipe();
  reactor().close(std::exchange(pipe.reader, kNoHandle));
  Source source(reactor(), pipe.writer);
  source.write("hello?");
  ASSERT_TRUE(run_until([&] { return source.done; }));
  EXPECT_EQ(source.error, EPIPE);
  EXPECT_EQ(source.written, 0U);
  close(pipe);
}

TEST_P(ReactorConformance, AnswersAWriteThatWaitsWithEpipeWhenTheReaderGoes) {
  PipeEnds pipe = make_pipe();
  Source source(reactor(), pipe.writer);
  source.write(pattern(1'000'000));
  settle();
  ASSERT_FALSE(source.done);
  reactor().close(std::exchange(pipe.reader, kNoHandle));
  ASSERT_TRUE(run_until([&] { return source.done; }));
  EXPECT_EQ(source.error, EPIPE);
  close(pipe);
}

TEST_P(ReactorConformance, WritesThousandsOfPartsEmptyOnesIncluded) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.begin();
  std::vector<std::string> words;
  std::string all;
  for (int i = 0; i < 3'000; ++i) {
    words.push_back(i % 7 == 0 ? "" : std::to_string(i) + ",");
    all += words.back();
  }
  std::vector<iovec> parts;
  for (std::string& word : words) parts.push_back(iovec{word.data(), word.size()});
  class Parts final : public WriteOp {
   public:
    void on_written(int error_value) override { error = error_value; }
    int error = -1;
  } write;
  write.handle = pipe.writer;
  write.parts = parts;
  reactor().start(write);
  ASSERT_TRUE(run_until([&] { return write.error != -1 && sink.text.size() == all.size(); }));
  EXPECT_EQ(write.error, 0);
  EXPECT_EQ(write.written, all.size());
  EXPECT_EQ(sink.text, all);
  write.error = -1;
  write.parts = {};
  reactor().start(write);
  ASSERT_TRUE(run_until([&] { return write.error == 0; })) << "a write of nothing ends too";
  EXPECT_EQ(write.written, 0U);
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  close(pipe);
}

}  // namespace berth::inline v0::io
