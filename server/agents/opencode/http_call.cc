#include <berth/server/agents/opencode/http_call.h>

#include <berth/core/uri.h>

#include <utility>

namespace berth::server::opencode {

Result<JsonDoc> HttpAnswer::json() const {
  Result<JsonDoc> doc = JsonDoc::parse(body);
  if (doc.has_value()) return doc;
  return fail(ErrorKind::invalid, "agent_error",
              "opencode answered " + std::to_string(status) + " without JSON");
}

std::string basic_authorization(std::string_view password) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string plain = "opencode:" + std::string(password);
  std::string out = "Basic ";
  for (std::size_t i = 0; i < plain.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (i + j < plain.size() ? static_cast<unsigned char>(plain[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += i + j <= plain.size() ? kDigits[(bits >> (18 - 6 * j)) & 63] : '=';
    }
  }
  return out;
}

std::string target_of(std::string_view path, std::string_view directory) {
  std::string target(path);
  target += "?directory=";
  append_percent_encoded(target, directory);
  return target;
}

Task<Result<HttpAnswer>> http_call(io::Reactor* reactor, Endpoint endpoint, std::string method,
                                   std::string target, std::string body, Duration timeout,
                                   StopToken stop, HttpHeaders headers) {
  const std::unique_ptr<io::HttpClient> client = io::make_http_client(*reactor, endpoint.origin);
  io::HttpClientRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers = std::move(headers);
  request.headers.emplace_back("Authorization", endpoint.authorization);
  request.headers.emplace_back("Connection", "close");
  if (!body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  request.body = std::move(body);
  Result<io::HttpClientResponse> response =
      co_await client->fetch(std::move(request), reactor->clock().now() + timeout, stop);
  co_await client->close();
  if (!response.has_value()) co_return fail(std::move(response.error()));
  co_return HttpAnswer{response->status, std::move(response->body)};
}

}  // namespace berth::server::opencode
