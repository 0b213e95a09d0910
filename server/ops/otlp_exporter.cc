#include <berth/server/ops/otlp_exporter.h>

#include <berth/io/awaitables.h>
#include <berth/server/ops/otlp_json.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kBatch = 512;
constexpr Duration kGather = std::chrono::seconds(1);
constexpr Duration kAnswerMax = std::chrono::seconds(10);
constexpr Duration kLastAnswerMax = std::chrono::seconds(2);
constexpr Duration kRetryFirst = std::chrono::seconds(1);
constexpr Duration kRetryMax = std::chrono::seconds(30);

/// What the specification says to try again.
bool may_pass(int status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

enum class Sent : std::uint8_t { taken, refused, later };

Task<Sent> send(io::HttpClient* client, const OtlpTarget* target, std::string body,
                TimePoint deadline, StopToken stop) {
  io::HttpClientRequest request;
  request.method = "POST";
  request.target = target->path;
  request.headers = {{"Content-Type", "application/json"}};
  request.body = std::move(body);
  Result<io::HttpClientResponse> answer =
      co_await client->fetch(std::move(request), deadline, stop);
  if (!answer.has_value()) co_return Sent::later;
  if (answer->status >= 200 && answer->status < 300) co_return Sent::taken;
  co_return may_pass(answer->status) ? Sent::later : Sent::refused;
}

/// Says once that a collector is away, and once that it is back.
class Complaint {
 public:
  explicit Complaint(LogSink& log) : log_(log) {}
  void note(Sent sent, const std::string& endpoint) {
    const bool away = sent != Sent::taken;
    if (std::exchange(away_, away) == away) return;
    log_.write(away ? LogLevel::warning : LogLevel::info, "tracing",
               away ? endpoint + " does not take spans; they are dropped when there are too many"
                    : endpoint + " takes spans");
  }

 private:
  LogSink& log_;
  bool away_ = false;
};

}  // namespace

Result<OtlpTarget> OtlpTarget::parse(std::string_view url) {
  const std::size_t scheme = url.find("://");
  const std::size_t slash = scheme == url.npos ? url.npos : url.find('/', scheme + 3);
  Result<io::HttpOrigin> origin = io::HttpOrigin::parse(url.substr(0, slash));
  if (!origin.has_value()) return fail(std::move(origin.error()));
  if (origin->tls || !io::is_address(origin->address.text)) {
    return fail(ErrorKind::unsupported, "bad_url",
                "must be http:// with an address or localhost: a collector beside berth");
  }
  OtlpTarget target{std::move(*origin), "/v1/traces"};
  if (slash != url.npos && slash + 1 < url.size()) target.path = url.substr(slash);
  return target;
}

Task<void> export_spans(io::Platform* platform, Tracer* tracer, TracingConfig config, LogSink* log,
                        StopToken stop) {
  const Result<OtlpTarget> target = OtlpTarget::parse(config.otlp_endpoint);
  if (!target.has_value()) co_return;  // the configuration was refused before
  io::Reactor& reactor = platform->reactor();
  const auto client = io::make_http_client(reactor, target->origin);
  Complaint complaint(*log);
  Duration wait = kGather;
  bool more = true;
  while (more) {
    more = co_await tracer->some().wait(stop);
    if (more) more = co_await io::Sleep(reactor, reactor.clock().now() + wait, stop);
    bool away = false;
    while (tracer->waiting() > 0 && !away) {
      std::vector<Span> spans = tracer->take(kBatch);
      const std::size_t count = spans.size();
      const TimePoint deadline = reactor.clock().now() + (more ? kAnswerMax : kLastAnswerMax);
      const StopToken patience = more ? stop : StopToken();
      const Sent sent = co_await send(client.get(), &*target, otlp_json(spans, config.service_name),
                                      deadline, patience);
      complaint.note(sent, config.otlp_endpoint);
      if (sent == Sent::taken) {
        tracer->sent(count);
      } else if (sent == Sent::refused || !more) {
        tracer->drop(count);
      } else {
        tracer->give_back(std::move(spans));
      }
      away = sent == Sent::later;
    }
    wait = away ? std::clamp(wait * 2, kRetryFirst, kRetryMax) : kGather;
  }
  co_await client->close();
}

}  // namespace berth::server
