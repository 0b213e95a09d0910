// server/api/problem.h — errors as application/problem+json (RFC 9457).
#pragma once

#include <berth/core/error.h>
#include <berth/io/http_server.h>

#include <string>
#include <string_view>

namespace berth::server {

inline constexpr std::string_view kProblemType = "application/problem+json";

/// The HTTP status of an error: its kind decides, some codes have one of their own.
int status_of(const Error& error);

/// The document, and the `limit` that it names. `body`, if not empty, is JSON put in as "body":
/// what a conflict is about.
io::HttpResponse problem(int status, const Error& error, std::string_view body = {});
inline io::HttpResponse problem(const Error& error, std::string_view body = {}) {
  return problem(status_of(error), error, body);
}

/// Puts the members of `members`, a JSON object that is not empty, into a problem document.
void add_to_problem(io::HttpResponse& response, std::string_view members);

io::HttpResponse json_response(int status, std::string body);

}  // namespace berth::server
