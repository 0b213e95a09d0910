#include "reactor_conformance.h"

#include <berth/core/prng.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <thread>

namespace berth::io {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr seconds kPatience{10};

std::string pattern(std::size_t size, std::uint64_t seed = 1) {
  Prng random(seed);
  std::string text(size, '\0');
  for (char& byte : text) byte = static_cast<char>('a' + random.below(26));
  return text;
}

}  // namespace

// ---- the small operations
// --------------------------------------------------------------------------------------------

void Sink::on_read(std::span<char> bytes) {
  EXPECT_FALSE(over) << "bytes after the end";
  EXPECT_FALSE(bytes.empty());
  text.append(bytes.data(), bytes.size());
  most_at_once = std::max(most_at_once, bytes.size());
  ++reads;
  if (after_read) after_read(*this);
}

void Sink::on_read_end(int error_value) {
  EXPECT_FALSE(started());
  over = true;
  error = error_value;
  ++ends;
}

void Sink::begin() {
  over = false;
  reactor_.start(*this);
}

void Source::write(std::string bytes) {
  bytes_ = std::move(bytes);
  part_ = iovec{bytes_.data(), bytes_.size()};
  parts = std::span(&part_, 1);
  done = false;
  reactor_.start(*this);
}

void Source::on_written(int error_value) {
  EXPECT_FALSE(started());
  done = true;
  error = error_value;
  ++ends;
  sent.append(bytes_, 0, written);
  if (error == 0) {
    EXPECT_EQ(written, bytes_.size());
  }
  if (after_write) after_write();
}

// ---- the fixture
// -----------------------------------------------------------------------------------------------------

class ReactorConformance::Watcher final : public TurnHook, public TimerOp {
 public:
  explicit Watcher(Reactor& reactor) : reactor_(reactor) { reactor.add_turn_hook(*this); }
  void on_turn_end() override {
    if (happened && happened()) {
      happened = nullptr;
      reactor_.stop();
    }
  }
  void on_timer() override {
    timed_out = true;
    reactor_.stop();
  }
  std::function<bool()> happened;
  bool timed_out = false;

 private:
  Reactor& reactor_;
};

void ReactorConformance::SetUp() {
  rig_ = GetParam().make();
  ASSERT_NE(rig_, nullptr);
  watcher_ = std::make_unique<Watcher>(reactor());
  handles_before_ = rig_->open_handles();
}

void ReactorConformance::TearDown() {
  if (rig_ == nullptr) return;
  EXPECT_EQ(rig_->open_handles(), handles_before_) << "handles leaked";
  static_cast<TurnHook&>(*watcher_).unlink();
  watcher_.reset();
  rig_.reset();
}

bool ReactorConformance::run_until(std::function<bool()> happened) {
  if (happened()) return true;
  watcher_->happened = std::move(happened);
  watcher_->timed_out = false;
  reactor().arm(*watcher_, reactor().clock().now() + kPatience);
  reactor().run();
  reactor().disarm(*watcher_);
  watcher_->happened = nullptr;
  return !watcher_->timed_out;
}

void ReactorConformance::settle() {
  for (int quiet = 0, turns = 0; quiet < 10 && turns < 100'000; ++turns) {
    quiet = reactor().poll() ? 0 : quiet + 1;
  }
}

bool ReactorConformance::run_task(Task<void> task) {
  Scope scope(reactor());
  scope.spawn(std::move(task));
  const bool ended = run_until([&] { return scope.size() == 0; });
  EXPECT_TRUE(ended) << "the coroutine did not end";
  if (!ended) std::abort();  // its frame cannot be taken away
  return ended;
}

void ReactorConformance::close(PipeEnds& pipe) {
  if (pipe.reader != kNoHandle) reactor().close(pipe.reader);
  if (pipe.writer != kNoHandle) reactor().close(pipe.writer);
  pipe = PipeEnds{};
}

std::pair<Handle, Handle> ReactorConformance::make_connection() {
  Listener listener;
  listener.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  reactor().start(listener);
  const Address address = reactor().local_address(listener.listener).value();
  const Handle client = reactor().connect(address).value();
  EXPECT_TRUE(run_until([&] { return listener.connections.size() == 1; }));
  reactor().cancel(listener);
  EXPECT_TRUE(run_until([&] { return listener.over; }));
  EXPECT_EQ(listener.error, ECANCELED);
  reactor().close(listener.listener);
  return {client, listener.connections.at(0)};
}

// ---- reading
// ---------------------------------------------------------------------------------------------------------

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

// ---- pause and resume
// --------------------------------------------------------------------------------------------------

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

// ---- ends and cancellation
// ---------------------------------------------------------------------------------------------

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
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  EXPECT_EQ(sink.error, ECANCELED);
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

// ---- sockets
// -----------------------------------------------------------------------------------------------------------

TEST_P(ReactorConformance, AcceptsConnectionsUntilCancelled) {
  Listener listener;
  listener.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  reactor().start(listener);
  const Address address = reactor().local_address(listener.listener).value();
  EXPECT_FALSE(address.text.ends_with(":0")) << address.text;
  std::vector<Handle> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(reactor().connect(address).value());
  ASSERT_TRUE(run_until([&] { return listener.connections.size() == 50; }));
  EXPECT_FALSE(listener.over);
  reactor().cancel(listener);
  reactor().cancel(listener);
  ASSERT_TRUE(run_until([&] { return listener.over; }));
  EXPECT_EQ(listener.error, ECANCELED);
  for (const Handle client : clients) reactor().close(client);
  for (const Handle connection : listener.connections) reactor().close(connection);
  reactor().close(listener.listener);
}

TEST_P(ReactorConformance, TalksBothWaysOverAConnection) {
  auto [client, server] = make_connection();
  Sink at_server(reactor(), server);
  Sink at_client(reactor(), client);
  Source from_client(reactor(), client);
  Source from_server(reactor(), server);
  at_server.begin();
  at_client.begin();
  const std::string up = pattern(700'000, 1);
  const std::string down = pattern(900'000, 2);
  from_client.write(up);
  from_server.write(down);
  ASSERT_TRUE(run_until(
      [&] { return at_server.text.size() == up.size() && at_client.text.size() == down.size(); }));
  EXPECT_TRUE(at_server.text == up);
  EXPECT_TRUE(at_client.text == down);
  reactor().cancel(at_server);
  reactor().cancel(at_client);
  ASSERT_TRUE(run_until([&] { return at_server.over && at_client.over; }));
  reactor().close(client);
  reactor().close(server);
}

TEST_P(ReactorConformance, HalfClosesAConnection) {
  auto [client, server] = make_connection();
  Sink at_server(reactor(), server);
  Sink at_client(reactor(), client);
  Source from_client(reactor(), client);
  Source from_server(reactor(), server);
  at_server.begin();
  at_client.begin();
  from_client.write("that is all");
  ASSERT_TRUE(run_until([&] { return from_client.done; }));
  reactor().shutdown_write(client);
  ASSERT_TRUE(run_until([&] { return at_server.over; }));
  EXPECT_EQ(at_server.text, "that is all");
  EXPECT_EQ(at_server.error, 0);
  from_server.write("an answer");
  EXPECT_TRUE(run_until([&] { return at_client.text == "an answer"; }));
  reactor().close(server);
  ASSERT_TRUE(run_until([&] { return at_client.over; }));
  EXPECT_EQ(at_client.error, 0);
  reactor().close(client);
}

TEST_P(ReactorConformance, WritesOnAConnectionThatIsStillBeginning) {
  Listener listener;
  listener.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  reactor().start(listener);
  const Handle client =
      reactor().connect(reactor().local_address(listener.listener).value()).value();
  Source from_client(reactor(), client);
  Sink at_client(reactor(), client);
  at_client.begin();
  from_client.write("at once");
  ASSERT_TRUE(run_until([&] { return listener.connections.size() == 1; }));
  Sink at_server(reactor(), listener.connections[0]);
  at_server.begin();
  EXPECT_TRUE(run_until([&] { return at_server.text == "at once"; }));
  for (Sink* sink : {&at_server, &at_client}) reactor().cancel(*sink);
  reactor().cancel(listener);
  ASSERT_TRUE(run_until([&] { return at_server.over && at_client.over && listener.over; }));
  for (const Handle handle : {client, listener.connections[0], listener.listener}) {
    reactor().close(handle);
  }
}

TEST_P(ReactorConformance, TellsARefusedConnectionAtTheLatestInTheFirstRead) {
  const Handle listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  const Address address = reactor().local_address(listener).value();
  reactor().close(listener);
  Result<Handle> client = reactor().connect(address);
  if (!client.has_value()) {
    EXPECT_EQ(client.error().kind, ErrorKind::unavailable);
    return;
  }
  Sink sink(reactor(), *client);
  sink.begin();
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  EXPECT_EQ(sink.error, ECONNREFUSED);
  reactor().close(*client);
}

TEST_P(ReactorConformance, RefusesAddressesThatMakeNoSense) {
  for (const char* text : {"", "8420", "nowhere:1", "127.0.0.1", "127.0.0.1:99999", "[::1:5"}) {
    Result<Handle> listener = reactor().listen(Address{text});
    ASSERT_FALSE(listener.has_value()) << text;
    EXPECT_EQ(listener.error().kind, ErrorKind::invalid) << text;
    Result<Handle> client = reactor().connect(Address{text});
    ASSERT_FALSE(client.has_value()) << text;
    EXPECT_EQ(client.error().kind, ErrorKind::invalid) << text;
  }
}

TEST_P(ReactorConformance, RefusesAnAddressThatIsTaken) {
  const Handle first = reactor().listen(Address{"127.0.0.1:0"}).value();
  Result<Handle> second = reactor().listen(reactor().local_address(first).value());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::conflict);
  reactor().close(first);
}

TEST_P(ReactorConformance, PollsAHandleOnce) {
  PipeEnds pipe = make_pipe();
  Source source(reactor(), pipe.writer);
  Waiter waiter;
  waiter.handle = pipe.reader;
  reactor().start(waiter);
  settle();
  EXPECT_EQ(waiter.calls, 0);
  source.write("x");
  ASSERT_TRUE(run_until([&] { return waiter.calls > 0 && source.done; }));
  settle();
  EXPECT_EQ(waiter.calls, 1);
  EXPECT_EQ(waiter.error, 0);
  reactor().start(waiter);  // it is still readable
  ASSERT_TRUE(run_until([&] { return waiter.calls == 2; }));
  EXPECT_EQ(waiter.error, 0);
  close(pipe);
}

TEST_P(ReactorConformance, EndsACancelledPollOnce) {
  PipeEnds pipe = make_pipe();
  Waiter waiter;
  waiter.handle = pipe.reader;
  reactor().start(waiter);
  settle();
  reactor().cancel(waiter);
  reactor().cancel(waiter);
  ASSERT_TRUE(run_until([&] { return waiter.calls > 0; }));
  settle();
  EXPECT_EQ(waiter.calls, 1);
  EXPECT_EQ(waiter.error, ECANCELED);
  close(pipe);
}

// ---- timers
// ------------------------------------------------------------------------------------------------------------

TEST_P(ReactorConformance, FiresTimersInOrderOfTimeAndThenOfArming) {
  std::vector<int> fired;
  std::deque<Alarm> alarms;
  const TimePoint start = reactor().clock().now();
  const std::vector<int> delays = {5, 1, 3, 1, 4, 2, 3};
  for (std::size_t i = 0; i < delays.size(); ++i) {
    Alarm& alarm = alarms.emplace_back([&fired, i] { fired.push_back(static_cast<int>(i)); });
    reactor().arm(alarm, start + milliseconds(delays[i]));
  }
  ASSERT_TRUE(run_until([&] { return fired.size() == delays.size(); }));
  EXPECT_EQ(fired, (std::vector<int>{1, 3, 5, 2, 6, 4, 0}));
  EXPECT_GE(reactor().clock().now(), start + milliseconds(5));
}

TEST_P(ReactorConformance, FiresATimerOfThePastInTheNextTurnNotInsideArm) {
  int fired = 0;
  Alarm alarm([&] { ++fired; });
  reactor().arm(alarm, reactor().clock().now() - seconds(1));
  EXPECT_EQ(fired, 0);
  EXPECT_TRUE(alarm.started());
  reactor().poll();
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(alarm.started());
}

TEST_P(ReactorConformance, MovesATimerThatIsArmedAgain) {
  std::vector<std::string> fired;
  Alarm moved([&] { fired.emplace_back("moved"); });
  Alarm fixed([&] { fired.emplace_back("fixed"); });
  const TimePoint start = reactor().clock().now();
  reactor().arm(moved, start + milliseconds(1));
  reactor().arm(fixed, start + milliseconds(2));
  reactor().arm(moved, start + milliseconds(3));
  ASSERT_TRUE(run_until([&] { return fired.size() == 2; }));
  EXPECT_EQ(fired, (std::vector<std::string>{"fixed", "moved"}));
}

TEST_P(ReactorConformance, NeverFiresADisarmedTimerNotEvenOneThatIsDue) {
  int first_fired = 0;
  int second_fired = 0;
  Alarm second([&] { ++second_fired; });
  Alarm first([&] {
    ++first_fired;
    reactor().disarm(second);
  });
  const TimePoint past = reactor().clock().now() - seconds(1);
  reactor().arm(first, past);
  reactor().arm(second, past);
  ASSERT_TRUE(run_until([&] { return first_fired == 1; }));
  settle();
  EXPECT_EQ(second_fired, 0);
  EXPECT_FALSE(second.started());
  reactor().disarm(second);  // not armed: nothing to do
}

TEST_P(ReactorConformance, RearmsATimerInItsOwnCallbackForTheNextTurn) {
  int fired = 0;
  Alarm* self = nullptr;
  Alarm alarm([&] {
    if (++fired < 5) reactor().arm(*self, reactor().clock().now());
  });
  self = &alarm;
  reactor().arm(alarm, reactor().clock().now());
  reactor().poll();
  EXPECT_EQ(fired, 1);
  EXPECT_TRUE(run_until([&] { return fired == 5; }));
}

TEST_P(ReactorConformance, KeepsHundredsOfTimersInOrderThroughMovesAndDisarms) {
  Prng random(7);
  struct Entry {
    std::unique_ptr<Alarm> alarm;
    TimePoint when;
    bool expected = false;
  };
  std::vector<Entry> entries(300);
  std::vector<std::size_t> fired;
  const TimePoint start = reactor().clock().now();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].alarm = std::make_unique<Alarm>([&fired, i] { fired.push_back(i); });
  }
  for (int step = 0; step < 3'000; ++step) {
    Entry& entry = entries[random.below(entries.size())];
    if (random.one_in(4)) {
      reactor().disarm(*entry.alarm);
      entry.expected = false;
    } else {
      // All in the past: one turn fires them all, in order.
      entry.when = start - milliseconds(random.below(1'000'000));
      reactor().arm(*entry.alarm, entry.when);
      entry.expected = true;
    }
  }
  std::size_t expected = 0;
  for (const Entry& entry : entries) expected += entry.expected ? 1U : 0U;
  ASSERT_TRUE(run_until([&] { return fired.size() >= expected; }));
  settle();
  ASSERT_EQ(fired.size(), expected);
  for (std::size_t i = 0; i + 1 < fired.size(); ++i) {
    EXPECT_LE(entries[fired[i]].when, entries[fired[i + 1]].when);
  }
  for (const std::size_t i : fired) EXPECT_TRUE(entries[i].expected) << i;
}

TEST_P(ReactorConformance, HoldsTimeStillWithinATurn) {
  TimePoint first;
  TimePoint second;
  Job late([&] { second = reactor().clock().now(); });
  Job early([&] {
    first = reactor().clock().now();
    std::string work;
    for (int i = 0; i < 20'000; ++i) work += pattern(10, static_cast<std::uint64_t>(i));
    EXPECT_EQ(work.size(), 200'000U);
  });
  reactor().post(early);
  reactor().post(late);
  ASSERT_TRUE(run_until([&] { return second != TimePoint(); }));
  EXPECT_EQ(first, second);
}

// ---- posting, hooks, stop
// ------------------------------------------------------------------------------------------------

TEST_P(ReactorConformance, RunsPostedRunnablesInOrderAndNeverInsidePost) {
  std::vector<int> ran;
  Job third([&] { ran.push_back(3); });
  Job first([&] {
    ran.push_back(1);
    reactor().post(third);
    ran.push_back(-1);
  });
  Job second([&] { ran.push_back(2); });
  reactor().post(first);
  reactor().post(second);
  EXPECT_TRUE(ran.empty());
  ASSERT_TRUE(run_until([&] { return ran.size() == 4; }));
  EXPECT_EQ(ran, (std::vector<int>{1, -1, 2, 3}));
}

TEST_P(ReactorConformance, ForgetsAPostedRunnableThatUnlinksItself) {
  bool other_ran = false;
  Job never([] { FAIL(); });
  Job other([&] { other_ran = true; });
  reactor().post(never);
  reactor().post(other);
  never.unlink();
  EXPECT_TRUE(run_until([&] { return other_ran; }));
}

TEST_P(ReactorConformance, DeliversBytesAlthoughARunnablePostsItselfForEver) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  bool enough = false;
  Job* self = nullptr;
  Job restless([&] {
    if (!enough) reactor().post(*self);
  });
  self = &restless;
  reactor().post(restless);
  sink.begin();
  source.write("heard");
  int timer_fired = 0;
  Alarm alarm([&] { ++timer_fired; });
  reactor().arm(alarm, reactor().clock().now());
  EXPECT_TRUE(run_until([&] { return sink.text == "heard" && timer_fired == 1; }));
  enough = true;
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over && !restless.linked(); }));
  close(pipe);
}

TEST_P(ReactorConformance, CallsTurnHooksAfterWhatRanAndServesWhatTheyStart) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  class Flusher final : public TurnHook {
   public:
    explicit Flusher(Source& target) : source(target) {}
    void on_turn_end() override {
      if (gathered.empty() || !source.done) return;
      source.write(std::exchange(gathered, ""));
      ++flushes;
    }
    Source& source;
    std::string gathered;
    int flushes = 0;
  } flusher(source);
  reactor().add_turn_hook(flusher);
  sink.begin();
  Job a([&] { flusher.gathered += "a"; });
  Job b([&] { flusher.gathered += "b"; });
  reactor().post(a);
  reactor().post(b);
  EXPECT_TRUE(run_until([&] { return sink.text == "ab"; }));
  EXPECT_EQ(flusher.flushes, 1);
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  close(pipe);
}

TEST_P(ReactorConformance, RunsWhatOtherThreadsPost) {
  if (!rig_->has_threads()) GTEST_SKIP() << "one thread by design";
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kPosts = 2'000;
  std::vector<std::vector<std::size_t>> ran(kThreads);
  std::size_t total = 0;
  std::vector<std::deque<Job>> jobs(kThreads);
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    for (std::size_t i = 0; i < kPosts; ++i) {
      jobs[thread].emplace_back([&, thread, i] {
        ran[thread].push_back(i);
        ++total;
      });
    }
  }
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, &jobs, thread] {
      for (Job& job : jobs[thread]) reactor().post_remote(job);
    });
  }
  EXPECT_TRUE(run_until([&] { return total == kThreads * kPosts; }));
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<std::size_t>& order : ran) {
    EXPECT_EQ(order.size(), kPosts);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end())) << "each thread's posts stay in order";
  }
}

TEST_P(ReactorConformance, StopsFromAnotherThread) {
  if (!rig_->has_threads()) GTEST_SKIP() << "one thread by design";
  bool ran = false;
  Job job([&] { ran = true; });
  std::thread other([&] {
    reactor().post_remote(job);
    reactor().stop();
  });
  reactor().run();
  other.join();
  settle();
  EXPECT_TRUE(ran);
}

// ---- everything at once
// ------------------------------------------------------------------------------------------------

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

}  // namespace berth::io
