#include <berth/io/broadcast.h>

#include "allocation_count.h"
#include "http_engines.h"
#include "reactor_conformance.h"

namespace berth::inline v0::io {
namespace {

/// Frames of a fixed width tell which entries came.
std::string frame(std::uint64_t seq) {
  std::string number = std::to_string(seq);
  return "<" + std::string(8 - number.size(), '0') + number + ">";
}

/// Bytes that say how many slices hold them.
class Block final : public SharedBytes {
 public:
  Slice all() { return Slice(*this, text_); }

 private:
  void on_unused() override {}
  const std::string text_ = std::string(100'000, 'x');
};

class Reader final : public BroadcastCursor {
 public:
  Reader(Broadcast& log, Outlet& outlet) : BroadcastCursor(log, outlet) {}
  void on_lag() override {
    ++lags;
    if (after_lag) after_lag();
  }
  void on_end(int why) override {
    ended = true;
    error = why;
  }
  std::function<void()> after_lag;
  int lags = 0;
  bool ended = false;
  int error = -1;
};

/// A reader of the log, and its client at the other end.
struct Client {
  Client(Reactor& reactor, Broadcast& log, std::pair<Handle, Handle> connection)
      : port(make_handle_port(reactor, connection.second)),
        reader(log, *port),
        sink(reactor, connection.first) {}
  std::unique_ptr<Port> port;
  Reader reader;
  Sink sink;
};

/// What a store had of the log.
struct Page final : WriteOp {
  Page() { parts = std::span(&part, 1); }
  void on_written(int error) override {
    EXPECT_EQ(error, 0);
    over = true;
  }
  std::string text = "paged";
  iovec part = {text.data(), text.size()};
  bool over = false;
};

class BroadcastTest : public ReactorConformance {
 protected:
  void open(BroadcastLimits limits = {}) { log = std::make_unique<Broadcast>(reactor(), limits); }
  Client& add(std::uint64_t seq, bool reads = true) {
    clients.push_back(std::make_unique<Client>(reactor(), *log, make_connection()));
    Client& client = *clients.back();
    if (reads) client.sink.begin();
    EXPECT_TRUE(client.reader.join(seq));
    return client;
  }
  void append(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) log->append(Slice::copy_of(frame(log->next_seq())));
  }
  static std::string frames(std::uint64_t first, std::uint64_t last) {
    std::string text;
    for (std::uint64_t seq = first; seq <= last; ++seq) text += frame(seq);
    return text;
  }
  void TearDown() override {
    for (const auto& client : clients) {
      if (client->reader.position() != 0 && !client->reader.ended) client->reader.leave();
      if (client->sink.started()) reactor().cancel(client->sink);
      EXPECT_TRUE(run_until([&] { return client->reader.ended && !client->sink.started(); }));
      run_task(client->port->close());
      reactor().close(client->sink.handle);
    }
    clients.clear();
    log.reset();
    ReactorConformance::TearDown();
  }
  Block block;
  std::unique_ptr<Broadcast> log;
  std::vector<std::unique_ptr<Client>> clients;
};

/// The simulator allocates, so do tests' own hosts.
class BroadcastAllocations : public BroadcastTest {};

}  // namespace

TEST_P(BroadcastTest, GivesEachReaderAllFromItsPlaceOn) {
  open();
  append(5);
  for (const std::uint64_t seq : {1U, 3U, 6U}) add(seq);
  ASSERT_TRUE(run_until([&] { return clients[1]->sink.text.size() == 30; }));
  append(4);
  ASSERT_TRUE(run_until([&] {
    return clients[0]->sink.text.size() == 90 && clients[1]->sink.text.size() == 70 &&
           clients[2]->sink.text.size() == 40;
  }));
  EXPECT_EQ(clients[0]->sink.text, frames(1, 9));
  EXPECT_EQ(clients[1]->sink.text, frames(3, 9));
  EXPECT_EQ(clients[2]->sink.text, frames(6, 9));
  EXPECT_EQ(clients[2]->reader.position(), 10U);
}

TEST_P(BroadcastTest, WritesWhatOneTurnAppendedAtOnce) {
  open();
  for (int i = 0; i < 3; ++i) add(1);
  settle();
  Job burst([&] { append(16); });
  reactor().post(burst);
  ASSERT_TRUE(run_until([&] { return clients[2]->sink.text.size() == 160; }));
  EXPECT_EQ(log->stats().writes, 3U);
  EXPECT_EQ(log->stats().deliveries, 48U);
}

TEST_P(BroadcastTest, ASlowReaderLagsAndIsPagedFromElsewhere) {
  open({.entries_max = 16});
  Client& slow = add(1, false);
  std::uint64_t from = 0;
  slow.reader.after_lag = [&] { from = slow.reader.position(); };
  const std::string large(300'000, 'x');
  std::uint64_t appended = 0;
  while (!slow.reader.ended && slow.reader.lags == 0 && appended < 400) {
    log->append(Slice::copy_of(large));
    settle();
    ++appended;
    if (appended == 300) slow.sink.begin();
  }
  ASSERT_TRUE(run_until([&] { return slow.reader.lags == 1; }));
  EXPECT_LT(from, log->first_seq());
  EXPECT_FALSE(slow.reader.join(from)) << "that is gone";
  ASSERT_TRUE(run_until([&] { return slow.sink.text.size() >= (from - 1) * large.size(); }));
  settle();
  EXPECT_EQ(slow.sink.text.size(), (from - 1) * large.size()) << "all before it came whole";
  // The outlet is free for what a store has of it.
  Page page;
  slow.port->start(page);
  ASSERT_TRUE(run_until([&] { return page.over; }));
  ASSERT_TRUE(run_until([&] { return slow.sink.text.ends_with("paged"); }));
  const std::size_t before = slow.sink.text.size();
  ASSERT_TRUE(slow.reader.join(log->next_seq()));
  append(2);
  ASSERT_TRUE(run_until([&] { return slow.sink.text.size() == before + 20; }));
  EXPECT_TRUE(slow.sink.text.ends_with(frames(log->next_seq() - 2, log->next_seq() - 1)));
}

TEST_P(BroadcastTest, KeepsNoMoreThanItsBytes) {
  open({.bytes_max = 1000});
  append(500);
  EXPECT_EQ(log->bytes(), 1000U);
  EXPECT_EQ(log->first_seq(), 401U);
  log->append(Slice::copy_of(std::string(5000, 'x')));
  EXPECT_EQ(log->first_seq(), log->next_seq() - 1) << "the newest is kept whatever its size";
  append(1);
  EXPECT_EQ(log->bytes(), 10U);
}

TEST_P(BroadcastTest, AStuckReaderIsEndedAndHoldsNothing) {
  open({.bytes_max = 1 << 20, .stall_max = std::chrono::milliseconds(200)});
  Client& stuck = add(1, false);
  Client& quick = add(1);
  for (std::size_t i = 1; i <= 150; ++i) {
    log->append(block.all());
    ASSERT_TRUE(run_until([&] { return quick.sink.text.size() == i * 100'000; })) << i;
  }
  ASSERT_TRUE(run_until([&] { return stuck.reader.ended; }));
  EXPECT_EQ(stuck.reader.error, ETIMEDOUT);
  EXPECT_EQ(log->stats().stalls, 1U);
  EXPECT_LE(block.slices(), (1U << 20) / 100'000) << "those that the log keeps";
}

TEST_P(BroadcastTest, EntriesThatShareABlockGiveItBackWithTheLastOfThem) {
  open({.entries_max = 4});
  add(1);
  for (std::size_t i = 0; i < 4; ++i) log->append(block.all().part(i * 10, 10));
  ASSERT_TRUE(run_until([&] { return clients[0]->sink.text.size() == 40; }));
  settle();
  EXPECT_EQ(block.slices(), 4U) << "kept, and no longer written";
  append(3);
  EXPECT_EQ(block.slices(), 1U);
  append(1);
  EXPECT_EQ(block.slices(), 0U);
}

TEST_P(BroadcastTest, AReaderMayLeaveWhetherItWritesOrNot) {
  open();
  Client& idle = add(1);
  Client& busy = add(1, false);
  log->append(Slice::copy_of(std::string(30'000'000, 'x')));
  settle();
  idle.reader.leave();
  busy.reader.leave();
  busy.reader.leave();
  ASSERT_TRUE(run_until([&] { return idle.reader.ended && busy.reader.ended; }));
  EXPECT_EQ(busy.reader.error, ECANCELED);
  EXPECT_EQ(log->cursors(), 0U);
}

TEST_P(BroadcastTest, TellsAReaderWhoseClientIsGone) {
  open();
  Client& gone = add(1, false);
  reactor().close(gone.sink.handle);
  ASSERT_TRUE(run_until([&] {
    append(1);
    return gone.reader.ended;
  }));
  EXPECT_TRUE(gone.reader.error == EPIPE || gone.reader.error == ECONNRESET) << gone.reader.error;
  gone.sink.handle = reactor().listen(Address{"127.0.0.1:0"}).value();  // something to close
}

TEST_P(BroadcastAllocations, DeliversWithoutAllocating) {
  if (!allocation_count().has_value()) GTEST_SKIP() << "a sanitizer counts for itself";
  open({.entries_max = 64});
  for (int i = 0; i < 20; ++i) {
    Client& client = add(1);
    client.sink.text.reserve(1 << 20);
  }
  const std::vector<Slice> entries(8, Slice::copy_of(frame(1)));
  std::uint64_t expected = 0;
  std::size_t before = 0;
  for (int round = 0; round < 300; ++round) {
    if (round == 100) before = *allocation_count();
    for (const Slice& one : entries) log->append(one);
    expected += 80;
    while (clients.front()->sink.text.size() < expected ||
           clients.back()->sink.text.size() < expected) {
      reactor().poll();
    }
  }
  EXPECT_EQ(*allocation_count() - before, 0U) << "over 200 rounds to 20 clients";
  EXPECT_EQ(log->stats().deliveries, 300U * 8 * 20);
}

INSTANTIATE_TEST_SUITE_P(Engines, BroadcastAllocations,
                         testing::Values(http_engines()[0], http_engines()[1]), name_of_engine);
INSTANTIATE_TEST_SUITE_P(Engines, BroadcastTest, testing::ValuesIn(http_engines()), name_of_engine);

}  // namespace berth::inline v0::io
