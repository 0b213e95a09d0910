#include <berth/io/dial.h>

#include "http_engines.h"
#include "reactor_conformance.h"

#include <berth/io/offload_threads.h>
#include <berth/io/resolver.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cstring>
#include <filesystem>

namespace berth::inline v0::io {
namespace {

using std::chrono::milliseconds;

std::vector<Address> addresses(std::initializer_list<const char*> texts) {
  std::vector<Address> all;
  for (const char* text : texts) all.push_back({text});
  return all;
}

std::string joined(const std::vector<Address>& all) {
  std::string text;
  for (const Address& address : all) text += address.text + " ";
  return text;
}

/// A UNIX listener whose queue is full: who connects to it waits.
class FullListener {
 public:
  FullListener() {
    folder_ = "/tmp/berth-dial-XXXXXX";
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
    sockaddr_un own = {};
    own.sun_family = AF_UNIX;
    const std::string path = folder_ + "/full";
    std::memcpy(own.sun_path, path.data(), path.size());
    const auto* raw = reinterpret_cast<const sockaddr*>(&own);
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::bind(listener_, raw, sizeof own), 0);
    EXPECT_EQ(::listen(listener_, 0), 0);
    client_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(client_, raw, sizeof own), 0);
  }
  ~FullListener() {
    ::close(client_);
    ::close(listener_);
    std::filesystem::remove_all(folder_);
  }
  /// Makes room for one more.
  void take_one() { ::close(::accept(listener_, nullptr, nullptr)); }
  Address address() const { return {"unix:" + folder_ + "/full"}; }

 private:
  std::string folder_;
  int listener_ = -1;
  int client_ = -1;
};

class DialTest : public ReactorConformance {
 protected:
  void SetUp() override {
    ReactorConformance::SetUp();
    listener_.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
    live = reactor().local_address(listener_.listener).value();
    reactor().start(listener_);
    const Handle gone = reactor().listen(Address{"127.0.0.1:0"}).value();
    dead = reactor().local_address(gone).value();
    reactor().close(gone);
  }
  void TearDown() override {
    reactor().cancel(listener_);
    EXPECT_TRUE(run_until([&] { return listener_.over; }));
    for (const Handle connection : listener_.connections) reactor().close(connection);
    reactor().close(listener_.listener);
    ReactorConformance::TearDown();
  }
  static Task<void> keep(Task<Result<Handle>> task, Result<Handle>* result) {
    *result = co_await std::move(task);
  }
  Result<Handle> run(Task<Result<Handle>> task) {
    Result<Handle> result = kNoHandle;
    began_ = reactor().clock().now();
    run_task(keep(std::move(task), &result));
    took = reactor().clock().now() - began_;
    return result;
  }
  void expect_connected(const Result<Handle>& result) {
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_EQ(reactor().local_address(*result)->text, live.text);
    reactor().close(*result);
  }

  Address live;
  Address dead;
  Duration took{};

 private:
  Listener listener_;
  TimePoint began_{};
};

class OneName final : public Resolver {
 public:
  Result<std::vector<Address>> resolve(std::string_view host_and_port) override {
    if (host_and_port != "berth.test:80") {
      return fail(ErrorKind::not_found, "no_such_host", "there is no such host");
    }
    return found;
  }
  std::vector<Address> found;
};

}  // namespace

TEST(InterleaveFamilies, TakesTurnsAndKeepsTheOrderWithinAFamily) {
  EXPECT_EQ(joined(interleave_families(
                addresses({"[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"}))),
            "[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1 ");
  EXPECT_EQ(joined(interleave_families(addresses({"1.1.1.1:1", "2.2.2.2:1", "[::1]:1"}))),
            "1.1.1.1:1 [::1]:1 2.2.2.2:1 ");
  EXPECT_EQ(joined(interleave_families({})), "");
}

TEST_P(DialTest, TriesTheNextAddressAtOnceWhenOneFails) {
  expect_connected(run(dial_addresses(&reactor(), {dead, dead, live, dead})));
  EXPECT_LT(took, kNextAttemptDelay);
}

TEST_P(DialTest, GivesASilentAddressAQuarterOfASecond) {
  const FullListener silent;
  expect_connected(run(dial_addresses(&reactor(), {silent.address(), live})));
  EXPECT_GE(took, kNextAttemptDelay);
  EXPECT_LT(took, 4 * kNextAttemptDelay);
}

TEST_P(DialTest, AnEarlierAttemptMayStillWin) {
  FullListener slow;
  FullListener silent;
  Alarm wake([&] { slow.take_one(); });
  reactor().arm(wake, reactor().clock().now() + kNextAttemptDelay + milliseconds(30));
  const Result<Handle> result =
      run(dial_addresses(&reactor(), {slow.address(), silent.address(), silent.address()}));
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(reactor().local_address(*result)->text, slow.address().text);
  reactor().close(*result);
}

TEST_P(DialTest, SaysWhyWhenNobodyAnswers) {
  Result<Handle> result = run(dial_addresses(&reactor(), {dead, dead}));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::unavailable);
  EXPECT_EQ(result.error().code, std::string_view("connection_failed"));
  EXPECT_NE(result.error().message.find(dead.text), std::string::npos) << result.error().message;
  result = run(dial_addresses(&reactor(), {{"nonsense"}}));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::invalid);
  result = run(dial_addresses(&reactor(), {}));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::not_found);
}

TEST_P(DialTest, EndsAtTheDeadlineAndWhenAskedTo) {
  const FullListener silent;
  const TimePoint deadline = reactor().clock().now() + milliseconds(40);
  Result<Handle> result = run(dial_addresses(&reactor(), {silent.address()}, deadline));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::timed_out);

  StopSource stop;
  Alarm ask([&] { stop.request_stop(); });
  reactor().arm(ask, reactor().clock().now() + milliseconds(10));
  result =
      run(dial_addresses(&reactor(), {silent.address(), live}, TimePoint::max(), stop.token()));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::cancelled);
  result = run(dial_addresses(&reactor(), {live}, TimePoint::max(), stop.token()));
  ASSERT_FALSE(result.has_value()) << "it was asked before";
  EXPECT_EQ(result.error().kind, ErrorKind::cancelled);
}

TEST_P(DialTest, LooksNamesUpOnALane) {
  const auto offload = OffloadThreads::start({}).value();
  OneName resolver;
  resolver.found = {dead, live};
  const NameLookup names{&resolver, offload.get(), Lane::files};
  expect_connected(run(dial(&reactor(), names, "berth.test:80")));
  expect_connected(run(dial(&reactor(), {}, live.text)));
  Result<Handle> result = run(dial(&reactor(), names, "other.test:80"));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().kind, ErrorKind::not_found);
  result = run(dial(&reactor(), {}, "berth.test:80"));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, std::string_view("no_resolver"));
}

INSTANTIATE_TEST_SUITE_P(Engines, DialTest, testing::Values(http_engines().front()),
                         name_of_engine);

}  // namespace berth::inline v0::io
