// Following an event stream over many connections.
#include <berth/io/awaitables.h>
#include <berth/io/http_client.h>

#include <algorithm>
#include <utility>

namespace berth::io {

namespace {

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

// Reads one connection's stream to its end; an error if it broke. Ends early when `stop` is asked.
Task<Result<void>> read_stream(Reactor* reactor, HttpClient* client, Duration silence_max,
                               Relay* relay, StopToken stop) {
  SseParser parser(*relay);
  for (;;) {
    const TimePoint deadline = reactor->clock().now() + silence_max;
    const Result<std::string_view> piece = co_await client->read_body(deadline, stop);
    if (!piece.has_value()) co_return fail(piece.error());
    if (piece->empty()) co_return Result<void>();
    Result<void> fed = parser.feed(*piece);
    if (!fed.has_value() || stop.stop_requested()) co_return fed;
  }
}

}  // namespace

Task<Result<SseFollowEnd>> follow_events(Reactor* reactor, HttpClient* client,
                                         HttpClientRequest request, SseFollowOptions options,
                                         SseSink* sink, StopToken stop) {
  Relay relay(*sink);
  relay.last_id = std::move(options.last_event_id);
  SseFollowEnd end;
  Duration delay = options.retry_first;
  int failures = 0;
  request.headers.emplace_back("Accept", "text/event-stream");
  for (;;) {
    HttpClientRequest attempt = request;
    if (!relay.last_id.empty()) attempt.headers.emplace_back("Last-Event-ID", relay.last_id);
    const std::uint64_t events_before = relay.events;
    const TimePoint deadline = reactor->clock().now() + options.silence_max;
    Result<HttpClientResponse> answer = co_await client->begin(std::move(attempt), deadline, stop);
    Result<void> outcome;
    bool ended = false;
    if (!answer.has_value()) {
      outcome = fail(std::move(answer.error()));
    } else if (answer->status == 200) {
      outcome = co_await read_stream(reactor, client, options.silence_max, &relay, stop);
      ended = outcome.has_value() && !options.reconnect;
    } else if (answer->status == 204) {
      ended = true;
    } else if (worth_another_try(answer->status) && options.reconnect) {
      outcome = fail(ErrorKind::unavailable, "refused",
                     "the server answered " + std::to_string(answer->status));
    } else {
      end.answer = std::move(*answer);
      for (;;) {
        const Result<std::string_view> piece = co_await client->read_body(deadline, stop);
        if (!piece.has_value() || piece->empty()) break;
        end.answer.body.append(*piece);
        if (end.answer.body.size() > 1024 * 1024) break;
      }
      end.reason = SseFollowEnd::Reason::refused;
      end.last_event_id = std::move(relay.last_id);
      co_await client->close();
      co_return end;
    }
    co_await client->close();
    end.last_event_id = relay.last_id;
    if (ended) end.reason = SseFollowEnd::Reason::ended;
    if (ended || stop.stop_requested()) co_return end;
    if (!outcome.has_value() && !options.reconnect) co_return fail(std::move(outcome.error()));

    if (relay.events != events_before) {
      failures = 0;
      delay = options.retry_first;
    }
    if (++failures > options.failures_max) {
      if (outcome.has_value()) {
        co_return fail(ErrorKind::unavailable, "no_progress", "the stream ends without an event");
      }
      co_return fail(std::move(outcome.error()));
    }
    // The server's wish is for a stream that worked; a server that is not there is asked as we see
    // fit.
    const Duration pause = outcome.has_value() && relay.retry > delay ? relay.retry : delay;
    const bool slept = co_await Sleep(*reactor, reactor->clock().now() + pause, stop);
    if (!slept) co_return end;
    delay = std::min(delay * 2, options.retry_max);
  }
}

}  // namespace berth::io
