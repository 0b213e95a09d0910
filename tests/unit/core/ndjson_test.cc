#include <berth/core/ndjson.h>

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace berth {
namespace {

/// Writes down what it is told, and touches the padding of each line so that a sanitizer sees a
/// missing one.
class Recorder : public LineSink {
 public:
  void on_line(Line& line) override {
    const volatile char* end = line.text().data() + line.text().size();
    for (std::size_t i = 0; i < kLinePadding; ++i) padding_sum += end[i];
    owned.push_back(line.owned());
    calls.push_back("line " + std::string(line.text()));
    if (take_lines) {
      taken.push_back(line.take());
      EXPECT_EQ(line.text(), taken.back().text());
    }
  }
  void on_overlong(std::uint64_t total_bytes, std::string_view head) override {
    calls.push_back("overlong " + std::to_string(total_bytes) + " " + std::string(head));
  }

  bool take_lines = false;
  int padding_sum = 0;
  std::vector<std::string> calls;
  std::vector<bool> owned;
  std::vector<LineBuffer> taken;
};

/// Feeds `bytes` from an allocation of exactly the promised size.
void feed(LineFramer& framer, std::string_view bytes) {
  std::vector<char> padded(bytes.begin(), bytes.end());
  padded.resize(bytes.size() + kLinePadding, 'P');
  framer.feed({padded.data(), bytes.size()});
}

using Calls = std::vector<std::string>;

TEST(Ndjson, CutsLinesInPlace) {
  Recorder sink;
  LineFramer framer(sink);
  feed(framer, "{\"a\":1}\n{\"b\":2}\n");
  EXPECT_EQ(sink.calls, (Calls{"line {\"a\":1}", "line {\"b\":2}"}));
  EXPECT_EQ(sink.owned, (std::vector<bool>{false, false}));
  EXPECT_EQ(framer.capacity(), 0U);
}

TEST(Ndjson, JoinsALineThatSpansThreeSegments) {
  Recorder sink;
  LineFramer framer(sink);
  feed(framer, "one\ntw");
  feed(framer, "o an");
  feed(framer, "d more\nthree\n");
  EXPECT_EQ(sink.calls, (Calls{"line one", "line two and more", "line three"}));
  EXPECT_EQ(sink.owned, (std::vector<bool>{false, true, false}));
}

TEST(Ndjson, StripsOneCarriageReturnEvenAcrossChunks) {
  Recorder sink;
  LineFramer framer(sink);
  feed(framer, "a\r\nb\r\r\nc\r");
  feed(framer, "\nd\re\n");
  EXPECT_EQ(sink.calls, (Calls{"line a", "line b\r", "line c", "line d\re"}));
}

TEST(Ndjson, SkipsBlankLines) {
  Recorder sink;
  LineFramer framer(sink);
  feed(framer, "\n\r\n  \t \r\n x\n");
  feed(framer, " ");
  feed(framer, " \n");
  EXPECT_EQ(sink.calls, (Calls{"line  x"}));
}

TEST(Ndjson, DeliversAnUnterminatedLastLineAtTheEnd) {
  Recorder sink;
  LineFramer framer(sink);
  feed(framer, "a\nlast\r");
  framer.finish();
  framer.finish();
  EXPECT_EQ(sink.calls, (Calls{"line a", "line last"}));
  EXPECT_EQ(framer.capacity(), 0U);
  feed(framer, "again\n");
  EXPECT_EQ(sink.calls.back(), "line again");
}

TEST(Ndjson, ReportsAnOverlongLineOnceAndGoesOn) {
  Recorder sink;
  LineFramer framer(sink, {.line_max = 8});
  feed(framer, "12345678\n123456789\nab");
  feed(framer, "cdefgh");
  feed(framer, "ij");
  feed(framer, "kl\nok\n123456789");
  framer.finish();
  EXPECT_EQ(sink.calls, (Calls{"line 12345678", "overlong 9 123456789", "overlong 12 abcdefghijkl",
                               "line ok", "overlong 9 123456789"}));
  EXPECT_EQ(framer.capacity(), 0U);
}

TEST(Ndjson, ShowsOnlyTheHeadOfAnOverlongLine) {
  Recorder sink;
  LineFramer framer(sink, {.line_max = 300});
  const std::string line(1000, 'x');
  feed(framer, line + "\n");
  for (char c : line) feed(framer, {&c, 1});
  feed(framer, "\n");
  const std::string expected = "overlong 1000 " + std::string(LineFramer::kHeadMax, 'x');
  EXPECT_EQ(sink.calls, (Calls{expected, expected}));
}

TEST(Ndjson, HoldsNoMemoryBetweenLines) {
  Recorder sink;
  LineFramer framer(sink);
  feed(framer, "abc");
  EXPECT_EQ(framer.pending(), 3U);
  EXPECT_GT(framer.capacity(), 0U);
  feed(framer, "\n");
  EXPECT_EQ(framer.capacity(), 0U);
}

TEST(Ndjson, GivesBackALargeCarryAfterItsLine) {
  Recorder sink;
  LineFramer framer(sink);
  feed(framer, std::string(200'000, 'x'));
  feed(framer, "\nnext");
  EXPECT_LE(framer.capacity(), LineFramer::kKeepMax);
  EXPECT_EQ(framer.pending(), 4U);
}

TEST(Ndjson, ATenMebibyteLineTakesLessThanTwiceItsSize) {
  constexpr std::size_t kSize = 10 << 20;
  Recorder sink;
  sink.take_lines = true;
  LineFramer framer(sink);
  std::size_t peak = 0;
  const std::string part(64 << 10, 'x');
  for (std::size_t fed = 0; fed < kSize; fed += part.size()) {
    feed(framer, part);
    peak = std::max(peak, framer.capacity());
  }
  feed(framer, "\n");
  ASSERT_EQ(sink.taken.size(), 1U);
  EXPECT_EQ(sink.taken[0].text().size(), kSize);
  EXPECT_LT(peak, 2 * kSize);
  EXPECT_LT(sink.taken[0].capacity(), kSize + kSize / 4);
  EXPECT_EQ(framer.capacity(), 0U);
}

TEST(Ndjson, TakingALineInTheCarryDoesNotMoveIt) {
  struct Taker : LineSink {
    void on_line(Line& line) override {
      const char* before = line.text().data();
      EXPECT_TRUE(line.owned());
      buffer = line.take();
      same = before == buffer.text().data();
    }
    void on_overlong(std::uint64_t, std::string_view) override { FAIL(); }
    LineBuffer buffer;
    bool same = false;
  } sink;
  LineFramer framer(sink);
  feed(framer, std::string(2000, 'x'));
  feed(framer, "yz\r\nnext\r");
  EXPECT_TRUE(sink.same);
  EXPECT_EQ(sink.buffer.text(), std::string(2000, 'x') + "yz");
  feed(framer, "\n");
  EXPECT_EQ(sink.buffer.text(), "next");
}

/// Every chunking of the same bytes must give the same calls.
TEST(Ndjson, TheSequenceOfLinesDoesNotDependOnTheChunks) {
  std::mt19937 prng(20261121);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(prng() % n); };
  for (int round = 0; round < 400; ++round) {
    std::string bytes;
    const std::size_t size = below(600);
    while (bytes.size() < size) {
      constexpr std::string_view kAlphabet = "\n\n\r ab{}\"\\";
      bytes += below(3) == 0 ? std::string(below(40), 'x')
                             : std::string(1, kAlphabet[below(kAlphabet.size())]);
    }
    const LineFramer::Limits limits{.line_max = 1 + below(50)};
    Recorder whole;
    LineFramer reference(whole, limits);
    feed(reference, bytes);
    reference.finish();
    for (int cut = 0; cut < 8; ++cut) {
      Recorder pieces;
      pieces.take_lines = cut % 2 == 0;
      LineFramer framer(pieces, limits);
      const std::size_t part_max = 1 + below(cut < 4 ? 5 : 100);
      for (std::size_t at = 0; at < bytes.size();) {
        const std::size_t part = std::min(bytes.size() - at, 1 + below(part_max));
        feed(framer, std::string_view(bytes).substr(at, part));
        at += part;
      }
      framer.finish();
      ASSERT_EQ(pieces.calls, whole.calls) << "round " << round << " cut " << cut;
    }
  }
}

}  // namespace
}  // namespace berth
