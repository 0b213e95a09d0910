#include <berth/server/egress/policy.h>

#include <berth/core/http_token.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>

namespace berth::server::egress {

namespace {

constexpr std::size_t kHostMax = 253;  // RFC 1035

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::optional<std::uint16_t> port_of(std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, port);
  if (text.empty() || read.ec != std::errc() || read.ptr != end || port == 0) return std::nullopt;
  return port;
}

/// A name or address without anything that means something to a resolver, a log or a header.
bool is_host(std::string_view host) {
  return !host.empty() && host.size() <= kHostMax &&
         std::all_of(host.begin(), host.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c == ':';
         });
}

struct Split {
  std::string_view host;
  std::string_view port;  // empty: none was given
};

/// `name:port`, `name`, `[::1]:port`, `[::1]`.
std::optional<Split> split(std::string_view text) {
  Split out;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    out.host = text.substr(1, end - 1);
    if (out.host.find(':') == std::string_view::npos) return std::nullopt;  // a name
    text.remove_prefix(end + 1);
    if (text.empty()) return out;
    if (!text.starts_with(':')) return std::nullopt;
    out.port = text.substr(1);
  } else {
    const std::size_t colon = text.find(':');
    out.host = text.substr(0, colon);
    if (colon == std::string_view::npos) return out;
    out.port = text.substr(colon + 1);
  }
  if (out.port.empty()) return std::nullopt;
  return out;
}

tl::unexpected<Error> bad_request(std::string_view why) {
  return fail(ErrorKind::invalid, "bad_request", std::string(why));
}

/// Headers of the way to the proxy, which are nobody else's business (RFC 9110, 7.6.1), and Host,
/// which the target replaces.
bool is_of_this_hop(std::string_view name) {
  static constexpr std::array kNames = {
      "connection",          "proxy-connection", "keep-alive",         "te",
      "proxy-authorization", "upgrade",          "proxy-authenticate", "host"};
  const std::string known = lower(name);
  return std::find(kNames.begin(), kNames.end(), known) != kNames.end();
}

Result<std::string> headers_to_pass_on(std::string_view lines) {
  std::string out;
  while (!lines.empty()) {
    const std::size_t end = lines.find("\r\n");
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 2);
    const std::size_t colon = line.find(':');
    const bool good = colon != std::string_view::npos && is_token(line.substr(0, colon)) &&
                      line.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
    if (!good) return bad_request("a header that is none");
    if (!is_of_this_hop(line.substr(0, colon))) out.append(line).append("\r\n");
  }
  return out;
}

}  // namespace

Result<Pattern> parse_pattern(std::string_view text) {
  Pattern pattern;
  std::string_view rest = text;
  if (rest.starts_with("*.")) {
    pattern.names_below = true;
    rest.remove_prefix(2);
  }
  const std::optional<Split> parts = split(rest);
  bool good = parts && is_host(parts->host);
  if (good && parts->port == "*") {
    pattern.any_port = true;
  } else if (good && !parts->port.empty()) {
    const std::optional<std::uint16_t> port = port_of(parts->port);
    good = port.has_value();
    pattern.port = port.value_or(0);
  }
  if (!good) {
    return fail(ErrorKind::invalid, "bad_pattern",
                "'" + std::string(text) + "' is not HOST, HOST:PORT, HOST:* or *.HOST");
  }
  pattern.host = lower(parts->host);
  return pattern;
}

Verdict judge(const std::vector<Pattern>& patterns, std::string_view host, std::uint16_t port) {
  Verdict verdict = Verdict::denied;
  for (const Pattern& pattern : patterns) {
    const bool port_fits = pattern.any_port || pattern.port == port ||
                           (pattern.port == 0 && (port == 80 || port == 443));
    const bool host_fits = pattern.names_below
                               ? host.size() > pattern.host.size() + 1 &&
                                     host.ends_with(pattern.host) &&
                                     host[host.size() - pattern.host.size() - 1] == '.'
                               : host == pattern.host;
    if (!port_fits || !host_fits) continue;
    const bool exact = !pattern.names_below && pattern.port != 0;
    verdict = std::max(verdict, exact ? Verdict::allowed_anywhere : Verdict::allowed);
  }
  return verdict;
}

Result<Request> parse_request(std::string_view head) {
  const std::size_t line_end = head.find("\r\n");
  if (line_end == std::string_view::npos || !head.ends_with("\r\n\r\n")) {
    return bad_request("no HTTP request");
  }
  const std::string_view line = head.substr(0, line_end);
  const std::string_view lines = head.substr(line_end + 2, head.size() - line_end - 4);
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  // A server that ends lines at a line feed would read a method that holds one as a whole request
  // for another host.
  if (first == std::string_view::npos || first == last || !is_token(line.substr(0, first)) ||
      !line.substr(last + 1).starts_with("HTTP/1.")) {
    return bad_request("the request line is not METHOD TARGET VERSION");
  }
  const std::string_view method = line.substr(0, first);
  std::string_view target = line.substr(first + 1, last - first - 1);
  Request request;
  request.tunnel = method == "CONNECT";
  std::string_view path;
  if (!request.tunnel) {
    constexpr std::string_view kScheme = "http://";
    if (lower(target.substr(0, kScheme.size())) != kScheme) {
      return bad_request("the target is neither http://... nor that of a CONNECT");
    }
    target.remove_prefix(kScheme.size());
    const std::size_t slash = std::min(target.find_first_of("/?"), target.size());
    path = target.substr(slash);
    target = target.substr(0, slash);
  }
  const std::optional<Split> parts = split(target);
  const std::optional<std::uint16_t> port = !parts || (parts->port.empty() && request.tunnel)
                                                ? std::nullopt
                                            : parts->port.empty() ? std::optional<std::uint16_t>(80)
                                                                  : port_of(parts->port);
  if (!port || !is_host(parts->host)) return bad_request("the target names no host and port");
  request.host = lower(parts->host);
  request.port = *port;
  if (request.tunnel) return request;
  if (path.find_first_of(std::string_view(" \t\r\n\0", 5)) != std::string_view::npos) {
    return bad_request("the target holds white space");
  }
  Result<std::string> headers = headers_to_pass_on(lines);
  if (!headers.has_value()) return fail(std::move(headers.error()));
  request.head.append(method).append(" ");
  request.head.append(path.starts_with('/') ? "" : "/").append(path).append(" HTTP/1.1\r\n");
  // What was judged is what the server is asked for (RFC 9112, 3.2.2).
  request.head.append("Host: ").append(target).append("\r\n");
  request.head.append(*headers).append("Connection: close\r\n\r\n");
  return request;
}

std::string host_and_port(std::string_view host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string_view::npos;
  return (v6 ? "[" + std::string(host) + "]" : std::string(host)) + ":" + std::to_string(port);
}

}  // namespace berth::server::egress
