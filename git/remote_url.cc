#include <berth/git/credentials.h>
#include <berth/git/remote_url.h>

#include <algorithm>

namespace berth::git {

std::string redacted(const std::string& url) {
  const std::size_t scheme = url.find("://");
  std::string shown = url.substr(0, url.find_first_of("?#"));
  if (scheme == std::string::npos) return shown;
  const std::size_t start = scheme + 3;
  const std::size_t slash = std::min(shown.find('/', start), shown.size());
  const std::size_t at = shown.rfind('@', slash);
  if (at != std::string::npos && at >= start) shown.erase(start, at + 1 - start);
  return shown;
}

namespace detail {
namespace {

tl::unexpected<Error> bad(const std::string& text, const char* why) {
  return fail(ErrorKind::invalid, "bad_url", redacted(text) + ": " + why);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  });
  return text;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::string percent_decoded(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool coded = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                       hex_digit(text[i + 2]) >= 0;
    plain +=
        coded ? static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])) : text[i];
    if (coded) i += 2;
  }
  return plain;
}

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// Hosts and users that a program behind us would take for an option, and bytes that have no place
/// in a URL.
bool is_harmless(const std::string& text) {
  return !text.starts_with("-") && std::all_of(text.begin(), text.end(), [](char c) {
    return c > 0x20 && c != 0x7f && c != '\'' && c != '"' && c != '`' && c != '$' && c != '\\';
  });
}

/// "user:password@host:port/path" behind the scheme.
Result<RemoteUrl> parse_authority(const std::string& text, const std::string& rest,
                                  RemoteUrl::Kind kind) {
  RemoteUrl url{.kind = kind};
  const std::size_t slash = rest.find('/');
  if (slash == std::string::npos || slash + 1 == rest.size()) return bad(text, "names no path");
  std::string authority = rest.substr(0, slash);
  const std::string path = without_slashes(rest.substr(slash));
  const std::size_t at = authority.rfind('@');
  if (at != std::string::npos) {
    const std::string user = authority.substr(0, at);
    const std::size_t end = user.find(':');
    url.user = percent_decoded(user.substr(0, end));
    if (end != std::string::npos) url.password = percent_decoded(user.substr(end + 1));
    authority.erase(0, at + 1);
  }
  authority = lower(authority);
  const std::size_t colon = authority.find(':', authority.find(']') + 1);
  url.host = authority.substr(0, colon);
  url.port = colon != std::string::npos       ? authority.substr(colon + 1)
             : kind == RemoteUrl::Kind::https ? "443"
                                              : "22";
  if (url.host.empty() || !is_harmless(authority) || !is_harmless(url.user)) {
    return bad(text, "names no host that can be used");
  }
  if (!std::all_of(path.begin(), path.end(), [](char c) { return c > 0x20 && c != 0x7f; })) {
    return bad(text, "holds a character that must be encoded");
  }
  if (path.find_first_of("?#") != std::string::npos) return bad(text, "has a query");
  const bool ssh = kind == RemoteUrl::Kind::ssh;
  url.url =
      (ssh ? "ssh://" + (url.user.empty() ? "" : url.user + "@") : "https://") + authority + path;
  url.name = url.url;
  return url;
}

}  // namespace

Result<RemoteUrl> parse_remote_url(const std::string& text) {
  if (std::any_of(text.begin(), text.end(), [](char c) { return c >= 0 && c < 0x20; })) {
    return fail(ErrorKind::invalid, "bad_url", "the URL holds a control character");
  }
  if (text.starts_with("/")) {
    const std::string path = without_slashes(text);
    return RemoteUrl{.url = path, .name = path};
  }
  const std::size_t scheme = text.find("://");
  if (scheme != std::string::npos) {
    const std::string name = lower(text.substr(0, scheme));
    const std::string rest = text.substr(scheme + 3);
    if (name == "file") {
      if (!rest.starts_with("/")) return bad(text, "a file URL names an absolute path, no host");
      const std::string path = without_slashes(percent_decoded(rest));
      if (path.find('\0') != std::string::npos) return bad(text, "names no path");
      return RemoteUrl{.url = path, .name = path};
    }
    if (name == "https") return parse_authority(text, rest, RemoteUrl::Kind::https);
    if (name == "ssh") return parse_authority(text, rest, RemoteUrl::Kind::ssh);
    return bad(text, "only file, https and ssh are supported");
  }
  // user@host:path, as scp has it
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos || text.find('/') < colon ||
      text.find("::") != std::string::npos) {
    return bad(text, "neither an absolute path nor a URL");
  }
  std::string path = text.substr(colon + 1);
  if (!path.starts_with("/")) path = "/~/" + path;
  return parse_authority(text, text.substr(0, colon) + path, RemoteUrl::Kind::ssh);
}

}  // namespace detail
}  // namespace berth::git
