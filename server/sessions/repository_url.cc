#include <berth/server/sessions/repository_url.h>

#include <berth/core/json_doc.h>

#include <algorithm>
#include <cctype>

namespace berth::server {

bool is_repository_url(std::string_view text) {
  const std::size_t scheme = text.find("://");
  if (scheme != std::string_view::npos) {
    std::string name(text.substr(0, scheme));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return name == "file" || name == "https" || name == "ssh";
  }
  const std::size_t colon = text.find(':');
  return colon != std::string_view::npos && colon > 0 && text.find('/') > colon;
}

Result<void> check_repository_url(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  const std::string_view rest = url.substr(scheme + 3);
  const std::string_view authority = rest.substr(0, rest.find('/'));
  const std::size_t at = authority.rfind('@');
  if (at == std::string_view::npos || authority.substr(0, at).find(':') == std::string_view::npos) {
    return {};
  }
  return fail(ErrorKind::invalid, "bad_field",
              "repository: the URL must not hold a password, name it in [remotes] of the "
              "configuration");
}

std::string repository_url_of(const SessionRow& row) {
  // The options are what the session was opened with; only a URL is worth reading them.
  if (row.repository.empty() || row.options.find("\"repository\":\"/") != std::string::npos) {
    return {};
  }
  const Result<JsonDoc> options = JsonDoc::parse(row.options);
  if (!options.has_value()) return {};
  std::string text(options->root().get_string("repository").value_or(""));
  return is_repository_url(text) ? text : std::string();
}

}  // namespace berth::server
