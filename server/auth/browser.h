// server/auth/browser.h — what a web page in a person's browser may do: Host, Origin and CORS, as
// pure decisions.
#pragma once

#include <berth/core/http1.h>
#include <berth/io/http_server.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// Whether a Host header names this server. Addresses always do: a page that has a name of its own
/// resolve to us (DNS rebinding) comes under that name. So do localhost and names below it;
/// other names must be in `allowed`, without port.
bool is_own_host(std::string_view host, const std::vector<std::string>& allowed);

enum class OriginVerdict : std::uint8_t {
  none,     ///< No page, or none that says so.
  same,     ///< The page is this server's own.
  listed,   ///< CORS is on for it.
  foreign,  ///< Any other page.
};
/// `origin` and `host` as in the headers; "null", the origin of files and sandboxes, is foreign.
OriginVerdict judge_origin(std::string_view origin, std::string_view host,
                           const std::vector<std::string>& listed);

/// "https://ui.example" or with a port; what may stand in `allowed_origins`.
bool is_origin(std::string_view text);

/// True for the question that a browser asks before a request of another origin.
bool is_preflight(const io::HttpRequest& request);
/// For the answer to a page whose origin is listed; those of a preflight have more.
void add_cors_headers(HttpHeaders& headers, std::string_view origin);
io::HttpResponse preflight_answer();

}  // namespace berth::server
