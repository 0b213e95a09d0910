#include <berth/server/auth/client.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

namespace berth::server {

namespace {

constexpr std::string_view kUnix = "unix";
constexpr std::size_t kHostMax = 255;
constexpr std::size_t kChainMax = 32;  // proxies in a row; what is farther away is not looked at

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Without port and brackets.
std::string_view bare(std::string_view address) {
  if (address.starts_with('[')) return address.substr(1, address.find(']') - 1);
  // Two colons and no brackets: IPv6 as X-Forwarded-For has it.
  const std::size_t colon = address.find(':');
  return colon == address.rfind(':') ? address.substr(0, colon) : address;
}

/// What is said by all lines of that name, in their order.
std::string joined(const io::HttpRequest& request, std::string_view name) {
  std::string all;
  for (const auto& [key, value] : request.headers) {
    if (key != name) continue;
    if (!all.empty()) all += ',';
    all += value;
  }
  return all;
}

/// The pieces between separators that stand in no quoted string.
std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  bool quoted = false;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && text[i] == separator) {
      parts.push_back(trim(text.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  parts.push_back(trim(text.substr(begin)));
  return parts;
}

std::string unquoted(std::string_view value) {
  if (value.size() < 2 || !value.starts_with('"') || !value.ends_with('"')) {
    return std::string(value);
  }
  std::string out;
  for (std::size_t i = 1; i + 1 < value.size(); ++i) {
    if (value[i] == '\\' && i + 2 < value.size()) ++i;
    out += value[i];
  }
  return out;
}

bool equal_in_any_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

/// `name` of one element of Forwarded (RFC 7239, section 4); empty without it.
std::string parameter(std::string_view element, std::string_view name) {
  for (const std::string_view pair : split(element, ';')) {
    const std::size_t equals = pair.find('=');
    if (equals == pair.npos || !equal_in_any_case(trim(pair.substr(0, equals)), name)) continue;
    return unquoted(trim(pair.substr(equals + 1)));
  }
  return {};
}

/// As a peer is written; what is no address ("unknown", "_gazonk") stays as it is.
std::string as_peer(std::string_view said) {
  const std::string_view address = bare(said);
  if (said.starts_with(kUnix)) return "unknown";  // nobody is a local program by saying so
  if (!io::parse_ip(address)) return std::string(said.substr(0, kHostMax));
  if (address.find(':') == address.npos) return std::string(address);
  return "[" + std::string(address) + "]";
}

/// What Host may hold, or nothing.
std::string plain_host(std::string_view host) {
  const bool plain = !host.empty() && host.size() <= kHostMax &&
                     std::all_of(host.begin(), host.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '.' || c == '-' || c == ':' ||
                              c == '[' || c == ']' || c == '_';
                     });
  return plain ? std::string(host) : std::string();
}

}  // namespace

bool is_base_path(std::string_view path) {
  char before = 'x';
  for (const char c : path) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.';
    if (!plain && (c != '/' || before == '/')) return false;
    before = c;
  }
  return path.empty() || (path.front() == '/' && path.back() != '/');
}

Result<TrustedProxies> TrustedProxies::parse(const std::vector<std::string>& texts) {
  TrustedProxies made;
  for (const std::string& text : texts) {
    if (text == kUnix) {
      made.unix_ = true;
      continue;
    }
    const std::optional<io::IpNetwork> network = io::IpNetwork::parse(text);
    if (!network) {
      return fail(
          ErrorKind::invalid, "bad_config",
          "trusted_proxies must be addresses, networks like 10.0.0.0/8, or unix, not " + text);
    }
    made.networks_.push_back(*network);
  }
  return made;
}

bool TrustedProxies::contains(std::string_view peer) const {
  if (peer.starts_with("unix:")) return unix_;
  if (networks_.empty()) return false;
  const std::optional<io::IpAddress> address = io::parse_ip(bare(peer));
  return address &&
         std::any_of(networks_.begin(), networks_.end(), [&address](const io::IpNetwork& network) {
           return network.contains(*address);
         });
}

Client client_of(const io::HttpRequest& request, const TrustedProxies& trusted,
                 ProxyHeader header) {
  Client client;
  client.address = request.peer;
  client.host = request.header("host");
  if (trusted.empty() || !trusted.contains(request.peer)) return client;
  const bool standard = header == ProxyHeader::forwarded;
  const std::string chain = joined(request, standard ? "forwarded" : "x-forwarded-for");
  std::string host;
  const std::vector<std::string_view> elements = split(chain, ',');
  const std::size_t looked_at = std::min(elements.size(), kChainMax);
  for (std::size_t i = 0; i < looked_at; ++i) {
    const std::string_view element = elements[elements.size() - 1 - i];
    const std::string from = standard ? parameter(element, "for") : std::string(element);
    if (from.empty()) break;
    client.address = as_peer(from);
    if (standard) host = plain_host(parameter(element, "host"));
    if (!trusted.contains(client.address)) break;
  }
  // What the nearest proxy wrote stands last.
  if (!standard) host = plain_host(split(joined(request, "x-forwarded-host"), ',').back());
  if (!host.empty()) client.host = std::move(host);
  const std::string prefix(split(joined(request, "x-forwarded-prefix"), ',').back());
  if (prefix.size() <= kHostMax && is_base_path(prefix)) client.prefix = prefix;
  return client;
}

}  // namespace berth::server
