#include <berth/server/auth/browser.h>

#include <algorithm>
#include <cctype>

namespace berth::server {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_ipv4(std::string_view name) {
  return !name.empty() && std::count(name.begin(), name.end(), '.') == 3 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c == '.' || is_digit(c); });
}

/// In lower case, without port and the dot that may end a full name.
std::string host_name(std::string_view host) {
  if (host.starts_with('[')) return lower(host.substr(0, host.find(']') + 1));
  std::string name = lower(host.substr(0, host.find(':')));
  if (name.ends_with('.')) name.pop_back();
  return name;
}

/// "https://ui.example:8080" to "ui.example:8080"; empty when it is no web origin.
std::string_view authority_of(std::string_view origin) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (origin.starts_with(scheme)) return origin.substr(scheme.size());
  }
  return {};
}

}  // namespace

bool is_own_host(std::string_view host, const std::vector<std::string>& allowed) {
  const std::string name = host_name(host);
  if (name.starts_with('[') || is_ipv4(name)) return true;
  if (name == "localhost" || name.ends_with(".localhost")) return true;
  return std::any_of(allowed.begin(), allowed.end(),
                     [&name](const std::string& own) { return host_name(own) == name; });
}

OriginVerdict judge_origin(std::string_view origin, std::string_view host,
                           const std::vector<std::string>& listed) {
  if (origin.empty()) return OriginVerdict::none;
  const std::string sent = lower(origin);
  if (!authority_of(sent).empty() && authority_of(sent) == lower(host)) return OriginVerdict::same;
  for (const std::string& one : listed) {
    if (lower(one) == sent) return OriginVerdict::listed;
  }
  return OriginVerdict::foreign;
}

bool is_origin(std::string_view text) {
  const std::string_view authority = authority_of(text);
  return !authority.empty() && std::all_of(authority.begin(), authority.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view(".-:[]").find(c) != std::string_view::npos;
  });
}

bool is_preflight(const io::HttpRequest& request) {
  return request.method == "OPTIONS" && request.has_header("origin") &&
         request.has_header("access-control-request-method");
}

void add_cors_headers(HttpHeaders& headers, std::string_view origin) {
  headers.emplace_back("Access-Control-Allow-Origin", origin);
  headers.emplace_back("Vary", "Origin");
  headers.emplace_back("Access-Control-Expose-Headers",
                       "Allow, ETag, Idempotent-Replayed, Location, Retry-After");
}

io::HttpResponse preflight_answer() {
  io::HttpResponse response;
  response.status = 204;
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE");
  response.headers.emplace_back("Access-Control-Allow-Headers",
                                "Accept, Authorization, Berth-Project, Content-Type, "
                                "Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Prefer, "
                                "Range, traceparent, tracestate");
  response.headers.emplace_back("Access-Control-Max-Age", "600");
  return response;
}

}  // namespace berth::server
