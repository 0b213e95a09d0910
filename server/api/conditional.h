// server/api/conditional.h — requests that hold only if: validators (ETag, If-Match, If-None-Match)
// and the key that makes a retry harmless.
#pragma once

#include <berth/core/result.h>
#include <berth/io/http_server.h>

#include <string>
#include <string_view>

namespace berth::server {

/// A strong validator of a whole text, with its quotes: another text, another tag.
std::string etag_of(std::string_view text);

/// Whether the list of a condition header holds `etag`, or is `*`. Weak tags match nothing.
bool names_etag(std::string_view header, std::string_view etag);

/// 200 with the JSON and its ETag, or 304 when the client has it (If-None-Match).
io::HttpResponse json_if_changed(const io::HttpRequest& request, std::string body,
                                 const std::string& etag);
inline io::HttpResponse json_if_changed(const io::HttpRequest& request, std::string body) {
  const std::string etag = etag_of(body);
  return json_if_changed(request, std::move(body), etag);
}

/// Error `conflict` ("precondition_failed") when If-Match or If-None-Match say that what has `etag`
/// must not be changed. `exists`: there is something for `*`.
Result<void> check_preconditions(const io::HttpRequest& request, std::string_view etag,
                                 bool exists = true);

struct RequestKey {
  std::string key;  ///< Idempotency-Key; empty without one.
  std::string body_hash;
};
/// Error `bad_field` for one above 255 bytes.
Result<RequestKey> request_key_of(const io::HttpRequest& request);

}  // namespace berth::server
