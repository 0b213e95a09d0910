// server/agents/opencode/http_call.h — one request to an opencode server.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/core/result.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/http_client.h>

#include <string>
#include <string_view>

namespace berth::server::opencode {

/// Where a server listens and how it knows us; cheap to copy, valid without the server's object.
struct Endpoint {
  io::HttpOrigin origin;
  std::string authorization;  ///< Value of the header; never logged.
};

struct HttpAnswer {
  int status = 0;
  std::string body;

  bool ok() const { return status >= 200 && status < 300; }
  /// The body as JSON; opencode answers unknown paths with 200 and a page. Error `invalid`
  /// ("agent_error").
  Result<JsonDoc> json() const;
};

/// Basic authorization for opencode's user name and `password`.
std::string basic_authorization(std::string_view password);

/// A path with `?directory=`.
std::string target_of(std::string_view path, std::string_view directory);

/// On a connection of its own, so that a cancel never waits behind a prompt. Errors: those of
/// io::HttpClient. Cancellation: as the request.
Task<Result<HttpAnswer>> http_call(io::Reactor* reactor, Endpoint endpoint, std::string method,
                                   std::string target, std::string body, Duration timeout,
                                   StopToken stop, HttpHeaders headers = {});

}  // namespace berth::server::opencode
