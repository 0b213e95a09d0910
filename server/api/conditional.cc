#include <berth/server/api/conditional.h>

#include <berth/core/hash.h>
#include <berth/server/api/problem.h>

#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kIdempotencyKeyMax = 255;

/// Two texts of one size with one hash are not met by chance; nobody gains by making them.
std::string hash_of(std::string_view text) {
  return std::to_string(fnv1a(text)) + "-" + std::to_string(text.size());
}

}  // namespace

std::string etag_of(std::string_view text) {
  return '"' + hash_of(text) + '"';
}

bool names_etag(std::string_view header, std::string_view etag) {
  while (!header.empty()) {
    const std::size_t comma = header.find(',');
    std::string_view tag = header.substr(0, comma);
    header.remove_prefix(comma == std::string_view::npos ? header.size() : comma + 1);
    while (!tag.empty() && tag.front() == ' ') tag.remove_prefix(1);
    while (!tag.empty() && tag.back() == ' ') tag.remove_suffix(1);
    if (tag == "*" || tag == etag) return true;
  }
  return false;
}

io::HttpResponse json_if_changed(const io::HttpRequest& request, std::string body,
                                 const std::string& etag) {
  const bool known = names_etag(request.header("if-none-match"), etag);
  io::HttpResponse response = json_response(known ? 304 : 200, known ? "" : std::move(body));
  response.headers.emplace_back("ETag", etag);
  return response;
}

Result<void> check_preconditions(const io::HttpRequest& request, std::string_view etag,
                                 bool exists) {
  if (request.has_header("if-match") &&
      (!exists || !names_etag(request.header("if-match"), etag))) {
    return fail(ErrorKind::conflict, "precondition_failed",
                "If-Match: it is not what you know any more");
  }
  if (exists && names_etag(request.header("if-none-match"), etag)) {
    return fail(ErrorKind::conflict, "precondition_failed", "If-None-Match: it is there");
  }
  return {};
}

Result<RequestKey> request_key_of(const io::HttpRequest& request) {
  RequestKey key = {std::string(request.header("idempotency-key")), hash_of(request.body)};
  if (key.key.size() <= kIdempotencyKeyMax) return key;
  return fail(ErrorKind::invalid, "bad_field", "Idempotency-Key: above 255 bytes");
}

}  // namespace berth::server
