#include <berth/server/cli/patient.h>

#include <berth/io/awaitables.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace berth::server {

namespace {

constexpr Duration kPauseFirst = std::chrono::milliseconds(100);
constexpr Duration kPauseMax = std::chrono::seconds(2);
constexpr int kRetryAfterMax = 30;

bool worth_another_try(int status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

bool worth_another_try(const Error& error) {
  return error.kind == ErrorKind::unavailable || error.kind == ErrorKind::timed_out;
}

/// What the server asks for, within reason.
Duration retry_after(const io::HttpClientResponse& response) {
  const std::string_view header = response.header("retry-after");
  int seconds = 0;
  std::from_chars(header.data(), header.data() + header.size(), seconds);
  return std::chrono::seconds(std::clamp(seconds, 0, kRetryAfterMax));
}

}  // namespace

Task<Result<RemoteAnswer>> PatientClient::ask(Request request, StopToken stop) {
  io::Reactor& reactor = remote_.reactor();
  const Duration answer_max =
      request.answer_max > Duration::zero() ? request.answer_max : patience_.answer_max;
  std::optional<TimePoint> give_up;
  Duration pause = kPauseFirst;
  for (;;) {
    io::HttpClientRequest attempt;
    attempt.method = request.method;
    attempt.target = request.target;
    attempt.body = request.body;
    attempt.headers = request.headers;
    remote_.authorize(attempt.headers);
    if (!attempt.body.empty()) attempt.headers.emplace_back("Content-Type", "application/json");
    Result<io::HttpClientResponse> response =
        co_await client_->fetch(std::move(attempt), reactor.clock().now() + answer_max, stop);
    Duration wait = pause;
    if (!response.has_value()) {
      if (!worth_another_try(response.error())) co_return fail(std::move(response.error()));
      // A full server that says so is there; one that is silent has its time.
      if (!give_up) give_up = reactor.clock().now() + patience_.unreachable_max;
      if (reactor.clock().now() >= *give_up) co_return fail(std::move(response.error()));
    } else if (!worth_another_try(response->status)) {
      RemoteAnswer answer;
      answer.response = std::move(*response);
      Result<JsonDoc> document = JsonDoc::parse(answer.response.body);
      if (document.has_value()) answer.document.emplace(std::move(*document));
      co_return answer;
    } else {
      give_up.reset();
      wait = std::max(wait, retry_after(*response));
    }
    const bool slept = co_await io::Sleep(reactor, reactor.clock().now() + wait, stop);
    if (!slept) co_return fail(ErrorKind::cancelled, "cancelled", "stopped");
    pause = std::min(pause * 2, kPauseMax);
  }
}

std::string refusal_text(const io::HttpClientResponse& response) {
  Result<JsonDoc> problem = JsonDoc::parse(response.body);
  if (!problem.has_value() || !problem->root().get_string("detail")) {
    return fmt::format("the server answered {}", response.status);
  }
  const JsonView root = problem->root();
  return printable(fmt::format("{} [{} {}]", *root.get_string("detail"), response.status,
                               root.get_string("code").value_or("error")));
}

}  // namespace berth::server
