// The promise "no allocation in steady state", along the ways that bytes take: each test runs its
// way until everything has its size, and then counts.
#include "allocation_count.h"
#include "uring_rig.h"

#include <berth/core/frame_pool.h>
#include <berth/core/json_scan.h>
#include <berth/core/ndjson.h>
#include <berth/core/scope.h>
#include <berth/core/slice.h>
#include <berth/io/awaitables.h>

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <string>

namespace berth::inline v0::io {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

class Allocations : public testing::Test {
 protected:
  void SetUp() override {
    if (!allocation_count().has_value()) GTEST_SKIP() << "a sanitizer counts for itself";
  }
  void TearDown() override {
    if (pipe_.reader == kNoHandle) return;
    reactor().close(pipe_.reader);
    reactor().close(pipe_.writer);
  }
  Reactor& reactor() { return rig_.reactor(); }
  /// Turns the loop until `happened()`, for ten seconds at most.
  template <typename Fn>
  bool turn_until(Fn happened) {
    const auto end = std::chrono::steady_clock::now() + seconds(10);
    while (!happened()) {
      if (std::chrono::steady_clock::now() > end) return false;
      reactor().poll();
    }
    return true;
  }

  UringRig rig_;
  PipeEnds pipe_ = rig_.make_pipe();
};

/// The read path of an agent's pipe: bytes, lines, fields.
class Reader final : public ReadOp, private LineSink {
 public:
  void on_read(std::span<char> bytes) override { framer_.feed({bytes.data(), bytes.size()}); }
  void on_read_end(int) override {}
  int routed = 0;
  int refused = 0;

 private:
  void on_line(Line& line) override {
    const ScanResult scanned = scanner_.scan_line(line.text());
    if (scanned.has_value() && scanned->session_id == "s1" &&
        scanned->update_kind == "agent_message_chunk") {
      ++routed;
    } else {
      ++refused;
    }
  }
  void on_overlong(std::uint64_t, std::string_view) override { ++refused; }

  LineFramer framer_{*this};
  JsonScanner scanner_;
};

class Writer final : public WriteOp {
 public:
  void on_written(int error) override {
    ++writes;
    if (error != 0) ++failures;
  }
  int writes = 0;
  int failures = 0;
};

std::string update_line(std::size_t text_bytes) {
  return R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s1","update":)"
         R"({"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"a\n)" +
         std::string(text_bytes, 'x') + "\"}}}}\n";
}

TEST_F(Allocations, NoneFromThePipeToTheFieldsOfALine) {
  // Lines of many sizes, so that some lie in two reads and are joined.
  std::string bytes;
  int lines = 0;
  for (std::size_t size = 100; bytes.size() < 300'000; size = size * 7 % 2039 + 50, ++lines) {
    bytes += update_line(size);
  }
  Reader reader;
  reader.handle = pipe_.reader;
  reader.turn_budget = 10'000;
  reactor().start(reader);
  Writer writer;
  writer.handle = pipe_.writer;
  iovec part = {};
  const auto round = [&](int number) {
    part = iovec{bytes.data(), bytes.size()};
    writer.parts = std::span(&part, 1);
    reactor().start(writer);
    return turn_until([&] { return writer.writes == number && reader.routed == number * lines; });
  };
  ASSERT_TRUE(round(1));
  ASSERT_TRUE(round(2));

  const std::size_t before = allocation_count().value();
  for (int number = 3; number <= 12; ++number) ASSERT_TRUE(round(number));
  EXPECT_EQ(allocation_count().value() - before, 0U) << "for " << 10 * lines << " lines";

  EXPECT_EQ(reader.refused, 0);
  EXPECT_EQ(writer.failures, 0);
  reactor().cancel(reader);
  ASSERT_TRUE(turn_until([&] { return !reader.started(); }));
}

/// Bytes that are filled, written and filled again.
class Batch final : public SharedBytes {
 public:
  Slice all() { return Slice(*this, text_); }
  int unused = 0;

 private:
  void on_unused() override { ++unused; }
  std::string text_ = std::string(500, 'e');
};

TEST_F(Allocations, NoneForAGatherWriteOfSharedSlices) {
  class Counter final : public ReadOp {
   public:
    void on_read(std::span<char> bytes) override { seen += bytes.size(); }
    void on_read_end(int) override {}
    std::size_t seen = 0;
  } counter;
  counter.handle = pipe_.reader;
  reactor().start(counter);
  Writer writer;
  writer.handle = pipe_.writer;
  Batch batch;
  SliceChain chain;
  std::array<iovec, 16> parts;
  const auto round = [&](int number) {
    for (int i = 0; i < 16; ++i) chain.append(batch.all());
    const std::size_t bytes = chain.bytes();
    writer.parts = std::span(parts).first(chain.gather(std::span<iovec>(parts)));
    reactor().start(writer);
    const bool written = turn_until([&] {
      return writer.writes == number && counter.seen == static_cast<std::size_t>(number) * bytes;
    });
    chain.consume(bytes);
    return written && batch.unused == number;
  };
  ASSERT_TRUE(round(1));
  const std::size_t before = allocation_count().value();
  for (int number = 2; number <= 100; ++number) ASSERT_TRUE(round(number));
  EXPECT_EQ(allocation_count().value() - before, 0U);
  reactor().cancel(counter);
  ASSERT_TRUE(turn_until([&] { return !counter.started(); }));
}

TEST_F(Allocations, NoneForATimerThatIsArmedAgainAndAgain) {
  class Ticker final : public TimerOp {
   public:
    explicit Ticker(Reactor& of) : reactor_(of) {}
    void on_timer() override {
      ++ticks;
      reactor_.arm(*this, reactor_.clock().now() + microseconds(1));
    }
    int ticks = 0;

   private:
    Reactor& reactor_;
  } ticker(reactor());
  class Late final : public TimerOp {
    void on_timer() override {}
  } late;
  reactor().arm(ticker, reactor().clock().now());
  reactor().arm(late, reactor().clock().now() + seconds(100));
  ASSERT_TRUE(turn_until([&] { return ticker.ticks >= 3; }));
  const std::size_t before = allocation_count().value();
  ASSERT_TRUE(turn_until([&] {
    reactor().arm(late, reactor().clock().now() + seconds(100));  // moved, as idle timers are
    return ticker.ticks >= 500;
  }));
  EXPECT_EQ(allocation_count().value() - before, 0U);
  reactor().disarm(ticker);
  reactor().disarm(late);
}

Task<int> pause(FramePool&, Reactor* reactor, int number) {
  co_await Sleep(*reactor, reactor->clock().now());
  co_return number + 1;
}

Task<void> count_up(FramePool* pool, Reactor* reactor, int* number) {
  while (*number < 1000) *number = co_await pause(*pool, reactor, *number);
}

TEST_F(Allocations, NoneForTasksWhoseFramesComeFromAPool) {
  FramePool pool;
  int number = 0;
  Scope scope(reactor());
  scope.spawn(count_up(&pool, &reactor(), &number));
  ASSERT_TRUE(turn_until([&] { return number >= 10; }));
  const std::size_t before = allocation_count().value();
  ASSERT_TRUE(turn_until([&] { return number >= 999; }));
  EXPECT_EQ(allocation_count().value() - before, 0U);
  ASSERT_TRUE(turn_until([&] { return scope.size() == 0; }));
}

}  // namespace
}  // namespace berth::inline v0::io
