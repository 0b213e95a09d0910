// Following an event stream over many connections.
#include <berth/io/awaitables.h>
#include <berth/io/http_client.h>

#include <algorithm>
#include <utility>

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kRefusalBytesMax = std::size_t{1} << 20;

/// Passes events on, and remembers what the next connection needs to know.
class Relay final : public SseSink {
 public:
  explicit Relay(SseSink& sink) : sink_(sink) {}
  void on_event(const SseEvent& event) override {
    ++events;
    // Before the sink: it may ask for the end, and then this is the last one it was given.
    if (!event.id.empty()) last_id = event.id;
    sink_.on_event(event);
  }
  void on_retry(std::chrono::milliseconds delay) override {
    retry = delay;
    sink_.on_retry(delay);
  }
  void on_comment(std::string_view text) override { sink_.on_comment(text); }

  std::uint64_t events = 0;
  std::string last_id;
  Duration retry = Duration::zero();

 private:
  SseSink& sink_;
};

bool worth_another_try(int status) {
  return status == 502 || status == 503 || status == 504;
}

/// One call of follow_events().
class Follower {
 public:
  Follower(Reactor& reactor, HttpClient& client, HttpClientRequest request,
           SseFollowOptions options, SseSink& sink, StopToken stop)
      : reactor_(reactor),
        client_(client),
        request_(std::move(request)),
        options_(std::move(options)),
        relay_(sink),
        stop_(stop) {
    relay_.last_id = std::move(options_.last_event_id);
    request_.headers.emplace_back("Accept", "text/event-stream");
  }

  Task<Result<SseFollowEnd>> run();

 private:
  /// What one connection came to.
  enum class Outcome { over, refused, ended, broken };

  Task<Outcome> follow_once();
  Task<Outcome> read_stream();
  Task<void> read_refusal(HttpClientResponse head);
  Outcome broken(Error error) {
    error_ = std::move(error);
    return Outcome::broken;
  }
  TimePoint deadline() { return reactor_.clock().now() + options_.silence_max; }

  Reactor& reactor_;
  HttpClient& client_;
  HttpClientRequest request_;
  SseFollowOptions options_;
  Relay relay_;
  StopToken stop_;
  HttpClientResponse refusal_;
  Error error_;  // of the last connection that broke
};

Task<Result<SseFollowEnd>> Follower::run() {
  Duration delay = options_.retry_first;
  int failures = 0;
  for (;;) {
    const std::uint64_t events_before = relay_.events;
    const Outcome outcome = co_await follow_once();
    co_await client_.close();
    SseFollowEnd end;
    end.last_event_id = relay_.last_id;
    if (outcome == Outcome::refused) {
      end.reason = SseFollowEnd::Reason::refused;
      end.answer = std::move(refusal_);
      co_return end;
    }
    if (outcome == Outcome::over || (outcome == Outcome::ended && !options_.reconnect)) {
      end.reason = SseFollowEnd::Reason::ended;
      co_return end;
    }
    if (stop_.stop_requested()) co_return end;
    if (!options_.reconnect) co_return fail(std::move(error_));

    if (relay_.events != events_before) {
      failures = 0;
      delay = options_.retry_first;
    }
    if (++failures > options_.failures_max) co_return fail(std::move(error_));
    // The server's wish is for a stream that worked; one that is not there is asked as we see fit.
    const bool wished = outcome == Outcome::ended && relay_.retry > delay;
    const Duration pause = wished ? relay_.retry : delay;
    const bool slept = co_await Sleep(reactor_, reactor_.clock().now() + pause, stop_);
    if (!slept) co_return end;
    delay = std::min(delay * 2, options_.retry_max);
  }
}

Task<Follower::Outcome> Follower::follow_once() {
  HttpClientRequest attempt = request_;
  if (!relay_.last_id.empty()) attempt.headers.emplace_back("Last-Event-ID", relay_.last_id);
  Result<HttpClientResponse> answer = co_await client_.begin(std::move(attempt), deadline(), stop_);
  if (!answer.has_value()) co_return broken(std::move(answer.error()));
  if (answer->status == 204) co_return Outcome::over;
  if (answer->status == 200) {
    const Outcome outcome = co_await read_stream();
    co_return outcome;
  }
  if (worth_another_try(answer->status) && options_.reconnect) {
    co_return broken(make_error(ErrorKind::unavailable, "refused",
                                "the server answered " + std::to_string(answer->status)));
  }
  co_await read_refusal(std::move(*answer));
  co_return Outcome::refused;
}

Task<Follower::Outcome> Follower::read_stream() {
  SseParser parser(relay_);
  for (;;) {
    const Result<std::string_view> piece = co_await client_.read_body(deadline(), stop_);
    if (!piece.has_value()) co_return broken(piece.error());
    if (piece->empty()) {
      error_ =
          make_error(ErrorKind::unavailable, "no_progress", "the stream ends without an event");
      co_return Outcome::ended;
    }
    Result<void> fed = parser.feed(*piece);
    if (!fed.has_value()) co_return broken(std::move(fed.error()));
    if (stop_.stop_requested()) co_return Outcome::ended;
  }
}

Task<void> Follower::read_refusal(HttpClientResponse head) {
  refusal_ = std::move(head);
  while (refusal_.body.size() < kRefusalBytesMax) {
    const Result<std::string_view> piece = co_await client_.read_body(deadline(), stop_);
    if (!piece.has_value() || piece->empty()) co_return;
    refusal_.body.append(*piece);
  }
}

}  // namespace

Task<Result<SseFollowEnd>> follow_events(Reactor* reactor, HttpClient* client,
                                         HttpClientRequest request, SseFollowOptions options,
                                         SseSink* sink, StopToken stop) {
  Follower follower(*reactor, *client, std::move(request), std::move(options), *sink, stop);
  Result<SseFollowEnd> end = co_await follower.run();
  co_return end;
}

}  // namespace berth::inline v0::io
