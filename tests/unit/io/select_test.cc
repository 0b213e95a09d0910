#include <berth/io/select.h>

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace berth::inline v0::io {

namespace {

const UringProbe kUsable = {true, "all there"};
const UringProbe kForbidden = {false, "a filter forbids it"};

class Lines final : public LogSink {
 public:
  void write(LogLevel, std::string_view component, std::string_view message,
             std::string_view) override {
    lines.push_back(std::string(component) + " | " + std::string(message));
  }
  std::vector<std::string> lines;
};

}  // namespace

TEST(Select, ReadsTheNamesOfEnginesAndNothingElse) {
  EXPECT_EQ(parse_engine("").value(), EngineChoice::automatic);
  EXPECT_EQ(parse_engine("auto").value(), EngineChoice::automatic);
  EXPECT_EQ(parse_engine("uring").value(), EngineChoice::uring);
  EXPECT_EQ(parse_engine("asio").value(), EngineChoice::asio);
  for (const char* wrong : {"epoll", "URING", "sim", " uring", "uring "}) {
    const auto refused = parse_engine(wrong);
    ASSERT_FALSE(refused.has_value()) << wrong;
    EXPECT_EQ(refused.error().kind, ErrorKind::invalid);
    EXPECT_NE(refused.error().message.find(wrong), std::string::npos);
    EXPECT_NE(refused.error().message.find("uring, asio or auto"), std::string::npos);
  }
}

TEST(Select, TakesTheRingWhereItCanAndSaysWhyWhereItCannot) {
  const EngineDecision usable = decide_engine(EngineChoice::automatic, kUsable).value();
  EXPECT_EQ(usable.engine, EngineChoice::uring);
  EXPECT_EQ(describe(usable), "engine uring: all there");
  const EngineDecision forbidden = decide_engine(EngineChoice::automatic, kForbidden).value();
  EXPECT_EQ(forbidden.engine, EngineChoice::asio);
  EXPECT_EQ(describe(forbidden), "engine asio (epoll): a filter forbids it");
}

TEST(Select, TakesWhatIsAskedForOrRefusesInWords) {
  EXPECT_EQ(decide_engine(EngineChoice::asio, kUsable).value().engine, EngineChoice::asio);
  EXPECT_EQ(decide_engine(EngineChoice::uring, kUsable).value().engine, EngineChoice::uring);
  const auto refused = decide_engine(EngineChoice::uring, kForbidden);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::unsupported);
  EXPECT_NE(refused.error().message.find("a filter forbids it"), std::string::npos);
}

TEST(Select, MakesTheReactorAndTellsTheLog) {
  Lines log;
  EXPECT_EQ(make_reactor(EngineChoice::asio, log).value()->engine_name(), "asio");
  EXPECT_EQ(log.lines, (std::vector<std::string>{"engine | engine asio (epoll): as asked for"}));
  const auto chosen = make_reactor(EngineChoice::automatic, log).value();
  ASSERT_EQ(log.lines.size(), 2U);
  EXPECT_NE(log.lines[1].find(chosen->engine_name()), std::string::npos);
}

}  // namespace berth::inline v0::io
