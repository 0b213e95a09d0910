// The proxy of the sandboxes between a client and servers, on a simulated machine.
#include <berth/core/scope.h>
#include <berth/io/dial.h>
#include <berth/io/sim_platform.h>
#include <berth/io/stream.h>
#include <berth/server/egress/proxy.h>

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace berth::server::egress {
namespace {

/// Answers each connection once, when it has heard something, and then reads to its end.
class Outside final : public io::AcceptOp {
 public:
  Outside(io::SimPlatform& platform, const char* address, std::string reply)
      : scope_(platform.reactor()),
        over_(platform.reactor()),
        reactor_(platform.reactor()),
        reply_(std::move(reply)) {
    listener = reactor_.listen({address}).value();
    reactor_.start(*this);
  }
  void on_accept(io::Handle connection) override {
    ++connections;
    scope_.spawn(talk(connection));
  }
  void on_accept_end(int) override { over_.set(); }
  Task<void> end() {
    reactor_.cancel(*this);
    co_await over_.wait();
    co_await scope_.join();
    reactor_.close(listener);
  }

  int connections = 0;
  std::string heard;

 private:
  Task<void> talk(io::Handle connection) {
    const auto stream = io::make_stream(reactor_, connection);
    bool answered = false;
    for (;;) {
      const Result<std::string_view> got = co_await stream->read();
      if (!got.has_value() || got->empty()) break;
      heard.append(*got);
      if (answered) continue;
      answered = true;
      static_cast<void>(co_await stream->write(reply_));
    }
    co_await stream->close();
  }

  Scope scope_;
  Event over_;
  io::SimReactor& reactor_;
  std::string reply_;
};

class LinesLog final : public LogSink {
 public:
  void write(LogLevel, std::string_view component, std::string_view message,
             std::string_view) override {
    lines.push_back(std::string(component) + ": " + std::string(message));
  }
  std::vector<std::string> lines;
};

class EgressProxy : public testing::Test {
 protected:
  void TearDown() override {
    door.reset();
    machine.run_task(platform.reactor(), outside.end());
    machine.run_task(platform.reactor(), inner.end());
    machine.run_task(platform.reactor(), proxy().shutdown());
    EXPECT_EQ(proxy().stats().doors, 0U);
    EXPECT_EQ(proxy().stats().connections, 0U);
  }

  Proxy& proxy() {
    if (!proxy_) proxy_.emplace(platform, log, "/egress", limits);
    return *proxy_;
  }
  void open(const std::vector<const char*>& hosts) {
    Proxy::DoorSpec spec{"key", "agent", {}};
    for (const char* host : hosts) spec.allowed.push_back(parse_pattern(host).value());
    door = proxy().open(std::move(spec)).value();
  }

  /// All that comes back. The second text follows when the first was answered.
  std::string say(std::string first, std::string second = {}) {
    std::string heard;
    machine.run_task(platform.reactor(), client(std::move(first), std::move(second), &heard));
    return heard;
  }
  Task<void> client(std::string first, std::string second, std::string* heard) {
    const Result<io::Handle> handle =
        co_await io::dial(&platform.reactor(), {}, "unix:" + door->path());
    if (!handle.has_value()) co_return;
    const auto stream = io::make_stream(platform.reactor(), *handle);
    static_cast<void>(co_await stream->write(first));
    if (second.empty() && half_closes) stream->shutdown_write();
    for (;;) {
      const Result<std::string_view> got = co_await stream->read();
      if (!got.has_value() || got->empty()) break;
      heard->append(*got);
      if (second.empty()) continue;
      static_cast<void>(co_await stream->write(second));
      second.clear();
      stream->shutdown_write();
    }
    co_await stream->close();
  }

  io::SimMachine machine{11};
  io::SimPlatform platform{machine, "berth"};
  LinesLog log;
  Limits limits;
  bool half_closes = true;
  Outside outside{platform, "93.184.216.34:443", "good day"};
  Outside inner{platform, "10.0.0.7:443", "secret"};
  std::shared_ptr<Door> door;

 private:
  std::optional<Proxy> proxy_;
};

TEST_F(EgressProxy, TunnelsToAListedHost) {
  machine.add_host("api.example.org:443", {{"93.184.216.34:443"}});
  open({"api.example.org"});
  EXPECT_EQ(say("CONNECT api.example.org:443 HTTP/1.1\r\n\r\n", "hello"),
            "HTTP/1.1 200 Connection established\r\n\r\ngood day");
  EXPECT_EQ(outside.heard, "hello");
  EXPECT_EQ(proxy().stats().allowed, 1U);
  EXPECT_EQ(proxy().stats().bytes_out, 5U);
  EXPECT_EQ(proxy().stats().bytes_in, 8U);
}

TEST_F(EgressProxy, PassesAPlainRequestOnWithWhatFollowsIt) {
  machine.add_host("api.example.org:443", {{"93.184.216.34:443"}});
  open({"api.example.org"});
  EXPECT_EQ(say("POST http://api.example.org:443/v1 HTTP/1.1\r\nHost: other.example\r\n"
                "Content-Length: 4\r\n\r\nbody"),
            "good day");
  EXPECT_EQ(outside.heard,
            "POST /v1 HTTP/1.1\r\nHost: api.example.org:443\r\nContent-Length: 4\r\n"
            "Connection: close\r\n\r\nbody");
}

TEST_F(EgressProxy, RefusesWhatIsNotListedWithoutLookingItUp) {
  open({"api.example.org"});
  std::vector<std::string> heard;
  proxy().on_denial([&](const Denial& denial) {
    heard.push_back(std::string(denial.key) + " " + std::string(denial.agent) + " " +
                    denial.target);
  });
  const std::string answer = say("CONNECT secrets.evil.example:443 HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 403 Forbidden\r\n")) << answer;
  EXPECT_NE(answer.find("secrets.evil.example:443 is not in the list"), std::string::npos);
  // A name that was looked up would not be known, and be 502.
  say("CONNECT secrets.evil.example:443 HTTP/1.1\r\n\r\n");
  EXPECT_EQ(proxy().stats().denied, 2U);
  EXPECT_EQ(heard, std::vector<std::string>{"key agent secrets.evil.example:443"});
  EXPECT_EQ(log.lines.size(), 1U);
}

TEST_F(EgressProxy, RefusesAListedNameThatLeadsIntoAPrivateNetwork) {
  machine.add_host("api.example.org:443", {{"10.0.0.7:443"}, {"169.254.169.254:443"}});
  open({"api.example.org", "*.example.org", "10.0.0.7"});
  for (const char* target : {"api.example.org:443", "10.0.0.7:443"}) {
    const std::string answer = say(std::string("CONNECT ") + target + " HTTP/1.1\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 403 ")) << answer;
  }
  EXPECT_EQ(inner.connections, 0);
}

TEST_F(EgressProxy, TriesThePublicAddressesOfANameThatHasBoth) {
  machine.add_host("api.example.org:443", {{"10.0.0.7:443"}, {"93.184.216.34:443"}});
  open({"api.example.org"});
  say("CONNECT api.example.org:443 HTTP/1.1\r\n\r\n", "x");
  EXPECT_EQ(inner.connections, 0);
  EXPECT_EQ(outside.connections, 1);
}

TEST_F(EgressProxy, LetsThroughToAPrivateNetworkWhatIsListedWithItsPort) {
  machine.add_host("models.intern:443", {{"10.0.0.7:443"}});
  open({"models.intern:443"});
  EXPECT_TRUE(say("CONNECT models.intern:443 HTTP/1.1\r\n\r\n", "x").ends_with("secret"));
}

TEST_F(EgressProxy, TellsWhatCouldNotBeReached) {
  machine.add_host("gone.example.org:443", {{"93.184.216.99:443"}});
  open({"*.example.org"});
  for (const char* host : {"gone.example.org", "unknown.example.org"}) {
    const std::string answer = say("CONNECT " + std::string(host) + ":443 HTTP/1.1\r\n\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 502 ")) << answer;
  }
  EXPECT_EQ(proxy().stats().failed, 2U);
  EXPECT_EQ(proxy().stats().denied, 0U);
}

TEST_F(EgressProxy, RefusesWhatIsNoRequest) {
  open({"api.example.org"});
  EXPECT_TRUE(say("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(say(std::string(limits.head_bytes_max + 1, 'x')).starts_with("HTTP/1.1 400 "));
  EXPECT_EQ(say("CONNECT api.exa"), "");
}

TEST_F(EgressProxy, HangsUpOnWhoSaysNothing) {
  open({"api.example.org"});
  half_closes = false;
  const TimePoint before = machine.now();
  EXPECT_EQ(say("CONNECT api.exa"), "");
  EXPECT_GE(machine.now() - before, limits.head_timeout);
}

TEST_F(EgressProxy, EndsATunnelInWhichNothingMoves) {
  machine.add_host("api.example.org:443", {{"93.184.216.34:443"}});
  open({"api.example.org"});
  half_closes = false;
  const TimePoint before = machine.now();
  say("CONNECT api.example.org:443 HTTP/1.1\r\n\r\n");
  EXPECT_GE(machine.now() - before, limits.idle_timeout);
}

TEST_F(EgressProxy, ServesNoMoreConnectionsThanItsLimits) {
  limits.connections_max = 2;
  limits.connections_total_max = 3;
  open({"api.example.org"});
  const std::shared_ptr<Door> first = door;
  std::vector<std::string> heard(6);
  Scope scope(platform.reactor());
  half_closes = false;
  for (std::size_t i = 0; i < 3; ++i) scope.spawn(client("GET", "", &heard[i]));
  machine.run_for(std::chrono::seconds(1));
  EXPECT_EQ(proxy().stats().connections, 2U);
  open({"api.example.org"});
  for (std::size_t i = 3; i < 6; ++i) scope.spawn(client("GET", "", &heard[i]));
  machine.run_for(std::chrono::seconds(1));
  EXPECT_EQ(proxy().stats().connections, 3U);
  EXPECT_EQ(proxy().stats().overloaded, 3U);
  machine.run_for(limits.head_timeout);
  EXPECT_EQ(scope.size(), 0U);
}

TEST_F(EgressProxy, EndsTheTunnelsOfADoorThatIsDropped) {
  machine.add_host("api.example.org:443", {{"93.184.216.34:443"}});
  open({"api.example.org"});
  half_closes = false;
  std::string heard;
  Scope scope(platform.reactor());
  scope.spawn(client("CONNECT api.example.org:443 HTTP/1.1\r\n\r\n", "", &heard));
  machine.run_for(std::chrono::seconds(1));
  EXPECT_EQ(proxy().stats().connections, 1U);
  door.reset();
  machine.run_for(std::chrono::seconds(1));
  EXPECT_EQ(scope.size(), 0U);
  EXPECT_EQ(proxy().stats().connections, 0U);
  EXPECT_EQ(proxy().stats().doors, 0U);
}

}  // namespace
}  // namespace berth::server::egress
