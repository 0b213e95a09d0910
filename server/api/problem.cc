#include <berth/server/api/problem.h>

#include <berth/core/assert.h>
#include <berth/core/json_writer.h>
#include <berth/server/ops/limits_table.h>

#include <optional>

namespace berth::server {

int status_of(const Error& error) {
  const std::string_view code = error.code;
  if (code == "unauthorized") return 401;
  if (code == "method_not_allowed") return 405;
  if (code == "interaction_gone" || code == "interaction_expired") return 410;
  if (code == "bad_json" || code == "bad_target") return 400;
  if (code == "prompt_too_big" || code == "state_too_big") return 413;
  if (code == "precondition_failed") return 412;
  if (code == "range_not_satisfiable") return 416;
  switch (error.kind) {
    case ErrorKind::invalid:
      return 422;
    case ErrorKind::not_found:
      return 404;
    case ErrorKind::conflict:
    case ErrorKind::busy:
      return 409;
    case ErrorKind::overloaded:
      return 429;
    case ErrorKind::unavailable:
      return 503;
    case ErrorKind::timed_out:
      return 504;
    case ErrorKind::cancelled:
      return 503;
    case ErrorKind::unsupported:
      return 422;
    case ErrorKind::denied:
      return 403;
    case ErrorKind::internal:
      return 500;
  }
  return 500;
}

namespace {

std::string_view title_of(int status) {
  switch (status) {
    case 400:
      return "Bad request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not found";
    case 405:
      return "Method not allowed";
    case 408:
      return "Request timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 412:
      return "Precondition failed";
    case 413:
      return "Content too large";
    case 414:
      return "URI too long";
    case 416:
      return "Range not satisfiable";
    case 417:
      return "Expectation failed";
    case 422:
      return "Unprocessable content";
    case 429:
      return "Too many requests";
    case 431:
      return "Header fields too large";
    case 501:
      return "Not implemented";
    case 503:
      return "Service unavailable";
    case 504:
      return "Timeout";
    case 505:
      return "HTTP version not supported";
    default:
      return "Internal error";
  }
}

bool is_retryable(ErrorKind kind) {
  return kind == ErrorKind::busy || kind == ErrorKind::overloaded ||
         kind == ErrorKind::unavailable || kind == ErrorKind::timed_out;
}

constexpr std::size_t kDetailMax = 1000;
constexpr std::size_t kFieldMax = 100;

/// The text up to `max` bytes, cut between characters: what a client sent is not told again at
/// length.
std::string cut(std::string_view text, std::size_t max) {
  if (text.size() <= max) return std::string(text);
  while (max > 0 && (static_cast<unsigned char>(text[max]) & 0xC0U) == 0x80U) --max;
  return std::string(text.substr(0, max)) + "...";
}

/// The name, or when a client's own word in it is odd, that of what holds the word.
std::string_view plain_part(std::string_view name) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-[]";
  const std::size_t odd = name.find_first_not_of(kPlain);
  if (odd == name.npos) return name;
  const std::size_t cut = name.find_last_of(".[", odd);
  return cut == name.npos ? std::string_view() : name.substr(0, cut);
}

/// What of the request does not fit. Messages about that begin with it, and with the element that
/// holds it: "prompt[0].text: must be ...", "answers[1]: kind: ...".
std::optional<std::string> field_of(const Error& error) {
  if (error.kind != ErrorKind::invalid) return std::nullopt;
  const bool unknown = std::string_view(error.code) == "unknown_field";  // whatever its name is
  std::optional<std::string> field;
  std::string_view rest = error.message;
  for (std::size_t end = rest.find(": "); end != rest.npos; end = rest.find(": ")) {
    const std::string_view name = unknown ? rest.substr(0, end) : plain_part(rest.substr(0, end));
    if (name.empty() && !unknown) break;
    field = field.has_value() ? *field + "." + std::string(name) : std::string(name);
    if (!name.ends_with(']')) break;
    rest.remove_prefix(end + 2);
  }
  return field;
}

}  // namespace

io::HttpResponse problem(int status, const Error& error, std::string_view body) {
  io::HttpResponse response;
  response.status = status;
  response.content_type = kProblemType;
  JsonWriter writer(response.body);
  writer.begin_object()
      .member("type", std::string("https://berth.example/problems/") + error.code)
      .member("title", title_of(status))
      .member_int64("status", status)
      .member("detail", cut(error.message, kDetailMax))
      .member("code", error.code)
      .member("kind", to_string(error.kind))
      .member_bool("retryable", is_retryable(error.kind));
  response.limit = limit_named_by(error.code, error.message);
  if (!response.limit.empty()) writer.member("limit", response.limit);
  if (const auto field = field_of(error)) writer.member("field", cut(*field, kFieldMax));
  if (!body.empty()) writer.member_raw("body", body);
  writer.end_object();
  if (status == 429 || status == 503) response.headers.emplace_back("Retry-After", "1");
  if (status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

void add_to_problem(io::HttpResponse& response, std::string_view members) {
  BERTH_ASSERT(response.body.ends_with('}') && members.size() > 2);
  response.body.pop_back();
  response.body += ',';
  response.body += members.substr(1);
}

io::HttpResponse json_response(int status, std::string body) {
  io::HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

}  // namespace berth::server
