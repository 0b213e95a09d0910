#include <berth/core/histogram.h>
#include <berth/core/log.h>
#include <berth/core/trace.h>

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace berth {
namespace {

using namespace std::string_literals;

constexpr const char* kGood = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(Trace, ReadsAndWritesTheExampleOfTheStandard) {
  const auto trace = parse_trace(kGood, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
  ASSERT_TRUE(trace.has_value());
  EXPECT_EQ(trace->trace_id, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(trace->span_id, "b7ad6b7169203331");
  EXPECT_TRUE(trace->sampled());
  EXPECT_EQ(trace->state, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
  EXPECT_EQ(to_traceparent(*trace), kGood);
  EXPECT_EQ(trace_id_of(kGood), trace->trace_id);
}

TEST(Trace, TakesNothingThatTheStandardForbids) {
  const std::string good = kGood;
  const auto with = [&good](std::size_t at, char c) {
    std::string text = good;
    text[at] = c;
    return text;
  };
  for (const std::string& bad : std::initializer_list<std::string>{
           std::string(), good.substr(0, 54), good + "-", good + "0",
           with(0, 'f').replace(1, 1, "f"), with(2, '_'), with(35, '_'), with(52, '_'),
           with(10, 'A'), with(10, 'g'), with(40, 'G'), with(54, 'x'),
           "00-00000000000000000000000000000000-b7ad6b7169203331-01",
           "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"}) {
    EXPECT_FALSE(parse_trace(bad, "").has_value()) << bad;
  }
}

TEST(Trace, ReadsLaterVersionsAsTheFirst) {
  std::string later = kGood;
  later[1] = '1';
  EXPECT_TRUE(parse_trace(later, "").has_value());
  EXPECT_TRUE(parse_trace(later + "-more", "").has_value());
  EXPECT_FALSE(parse_trace(later + "more", "").has_value());
}

TEST(Trace, DropsAStateThatDoesNotFit) {
  EXPECT_EQ(parse_trace(kGood, std::string(512, 'a'))->state.size(), 512u);
  EXPECT_EQ(parse_trace(kGood, std::string(513, 'a'))->state, "");
  EXPECT_EQ(parse_trace(kGood, "a=\n")->state, "");
}

TEST(Trace, ChildrenKeepTheTraceAndGetASpanOfTheirOwn) {
  Prng random(7);
  const TraceContext root = begin_trace(random, false);
  const TraceContext child = next_span(root, random);
  EXPECT_EQ(child.trace_id, root.trace_id);
  EXPECT_NE(child.span_id, root.span_id);
  EXPECT_FALSE(child.sampled());
  EXPECT_EQ(parse_trace(to_traceparent(child), "")->span_id, child.span_id);
}

TEST(LogSink, IsGivenTheTraceOfAMessageThatHasOne) {
  class Lines final : public LogSink {
   public:
    using LogSink::write;
    void write(LogLevel, std::string_view, std::string_view message,
               std::string_view trace_id) override {
      lines.emplace_back(message, trace_id);
    }
    std::vector<std::pair<std::string, std::string>> lines;
  } log;
  log.write(LogLevel::info, "turn", "failed", trace_id_of(kGood));
  log.write(LogLevel::info, "turn", "plain");
  ASSERT_EQ(log.lines.size(), 2u);
  EXPECT_EQ(log.lines[0], std::pair("failed"s, "0af7651916cd43dd8448eb211c80319c"s));
  EXPECT_EQ(log.lines[1], std::pair("plain"s, ""s));
}

TEST(Histogram, CountsInTheFirstBucketWhoseBoundIsNotExceeded) {
  static constexpr std::array kBounds = {0.001, 0.5};
  Histogram times(kBounds);
  times.add(std::chrono::milliseconds(1));
  times.add(std::chrono::milliseconds(2));
  times.add(std::chrono::milliseconds(500));
  times.add(std::chrono::seconds(3));
  EXPECT_EQ(times.count(0), 1u);
  EXPECT_EQ(times.count(1), 2u);
  EXPECT_EQ(times.count(2), 1u);
  EXPECT_EQ(times.total(), 4u);
  EXPECT_NEAR(times.sum_seconds(), 3.503, 1e-9);
}

}  // namespace
}  // namespace berth
