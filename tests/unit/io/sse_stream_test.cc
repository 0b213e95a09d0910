#include <berth/io/sse_stream.h>

#include "http_engines.h"
#include "http_rig.h"

namespace berth::inline v0::io {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Sends `/count` events from the client's Last-Event-ID on, three a connection; to `/quiet`
/// nothing, to `/flood` without end.
class Counting final : public HttpHandler {
 public:
  explicit Counting(Reactor& reactor) : reactor_(reactor) {}
  Task<void> handle(HttpExchange& exchange) override {
    SseStream stream(reactor_, exchange,
                     {.heartbeat = milliseconds(200), .stall_max = seconds(2), .retry = retry});
    Result<void> sent = co_await stream.start();
    const std::string_view from = stream.last_event_id();
    int next = from.empty() ? 1 : std::stoi(std::string(from)) + 1;
    const std::string target = exchange.request().target;
    for (int i = 0; sent.has_value() && target != "/quiet"; ++i, ++next) {
      if (target == "/count" && i == 3) break;
      const std::string id = std::to_string(next);
      const std::string data = "line one of " + id + "\nline two" + std::string(1000, '.');
      sent = co_await stream.send({.id = id, .type = "tick", .data = data});
    }
    if (target == "/quiet") {
      Event ended(reactor_);
      OnStop listener(ended);
      exchange.gone().listen(listener);
      co_await ended.wait();
    }
    if (!sent.has_value()) error = sent.error();
    co_await stream.close();
    ++ended_;
  }
  HttpResponse refuse(int, const Error&) override { return {}; }
  int ended() const { return ended_; }

  std::optional<milliseconds> retry;
  Error error;

 private:
  struct OnStop final : StopListener {
    explicit OnStop(Event& to_set) : event(to_set) {}
    void on_stop() override { event.set(); }
    Event& event;
  };
  Reactor& reactor_;
  int ended_ = 0;
};

class Collect final : public SseSink {
 public:
  Collect(StopSource& stop, std::size_t enough) : stop_(stop), enough_(enough) {}
  void on_event(const SseEvent& event) override {
    EXPECT_EQ(event.type, "tick");
    EXPECT_TRUE(event.data.starts_with("line one of " + std::string(event.id) + "\nline two"));
    ids.push_back(std::stoi(std::string(event.id)));
    if (ids.size() == enough_) stop_.request_stop();
  }
  void on_comment(std::string_view text) override { comments.emplace_back(text); }
  void on_retry(milliseconds delay) override { retry = delay; }
  std::vector<int> ids;
  std::vector<std::string> comments;
  milliseconds retry{0};

 private:
  StopSource& stop_;
  std::size_t enough_;
};

Task<void> follow(Reactor* reactor, HttpClient* client, std::string target, SseSink* sink,
                  StopToken stop, Result<SseFollowEnd>* end) {
  *end = co_await follow_events(reactor, client, {.target = std::move(target)}, {}, sink, stop);
}

class SseStreams : public ReactorConformance {
 protected:
  void SetUp() override {
    ReactorConformance::SetUp();
    counting = std::make_unique<Counting>(reactor());
    const Handle listener = reactor().listen(Address{"127.0.0.1:0"}).value();
    address = reactor().local_address(listener).value();
    server_ = make_http_server(reactor(), *counting, log_, {});
    scope_ = std::make_unique<Scope>(reactor());
    scope_->spawn(server_->serve(listener, scope_->stop_token()));
    client = make_http_client(reactor(), {address, "h"});
  }
  void TearDown() override {
    run_task(client->close());
    scope_->request_stop();
    EXPECT_TRUE(run_until([&] { return scope_->size() == 0; }));
    scope_.reset();
    server_.reset();
    ReactorConformance::TearDown();
  }
  std::unique_ptr<Counting> counting;
  std::unique_ptr<HttpClient> client;
  Address address;

 private:
  NullLog log_;
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<Scope> scope_;
};

}  // namespace

TEST_P(SseStreams, AReaderThatReconnectsMissesNothingAndSeesNothingTwice) {
  counting->retry = milliseconds(20);
  StopSource stop;
  Collect sink(stop, 10);
  Result<SseFollowEnd> end;
  run_task(follow(&reactor(), client.get(), "/count", &sink, stop.token(), &end));
  ASSERT_TRUE(end.has_value()) << end.error().message;
  ASSERT_GE(sink.ids.size(), 10U);
  for (std::size_t i = 0; i < sink.ids.size(); ++i) EXPECT_EQ(sink.ids[i], static_cast<int>(i) + 1);
  EXPECT_EQ(sink.retry, milliseconds(20));
  EXPECT_EQ(end->last_event_id, std::to_string(sink.ids.size()));
  EXPECT_GE(counting->ended(), 3) << "three events a connection";
}

TEST_P(SseStreams, GivesSignsOfLifeWhileNothingHappens) {
  StopSource stop;
  Collect sink(stop, 1);
  Result<SseFollowEnd> end;
  Scope scope(reactor());
  scope.spawn(follow(&reactor(), client.get(), "/quiet", &sink, stop.token(), &end));
  ASSERT_TRUE(run_until([&] { return sink.comments.size() >= 3; }));
  EXPECT_EQ(sink.comments[0], "hello");
  EXPECT_EQ(sink.comments[2], "hb");
  stop.request_stop();
  ASSERT_TRUE(run_until([&] { return scope.size() == 0; }));
  ASSERT_TRUE(run_until([&] { return counting->ended() == 1; })) << "the client is gone";
}

TEST_P(SseStreams, EndsAClientThatDoesNotRead) {
  const Handle deaf = connect_to(reactor(), address);
  Source request(reactor(), deaf);
  request.write("GET /flood HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(run_until([&] { return counting->ended() == 1; }));
  EXPECT_EQ(counting->error.kind, ErrorKind::timed_out) << counting->error.message;
  ASSERT_TRUE(run_until([&] { return request.done; }));
  reactor().close(deaf);
}

TEST_P(SseStreams, SendsNothingToHead) {
  RawClient head(reactor(), connect_to(reactor(), address));
  head.out.write("HEAD /count HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(run_until([&] { return head.in.over; }));
  EXPECT_TRUE(head.text().ends_with("\r\n\r\n")) << head.text();
  EXPECT_EQ(counting->error.kind, ErrorKind::cancelled);
  reactor().close(head.handle);
}

INSTANTIATE_TEST_SUITE_P(Engines, SseStreams, testing::ValuesIn(http_engines()), name_of_engine);

}  // namespace berth::inline v0::io
