#include <berth/server/sessions/remote_credentials.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kSecretBytesMax = 64 * 1024;

}  // namespace

std::string remote_host_of(std::string_view url) {
  const std::size_t scheme = url.find("://");
  std::string_view rest = scheme == std::string_view::npos ? url : url.substr(scheme + 3);
  rest = rest.substr(0, rest.find('/'));
  rest.remove_prefix(rest.rfind('@') + 1);  // npos + 1 is 0
  std::string host(rest);
  std::transform(host.begin(), host.end(), host.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string_view usual = url.starts_with("ssh:") ? ":22" : ":443";
  if (host.ends_with(usual)) host.resize(host.size() - usual.size());
  return host;
}

Result<std::string> RemoteCredentials::variable(const RemoteAccess& access,
                                                const std::string& name) const {
  std::optional<std::string> value = environment_.get(name);
  if (value && !value->empty()) return *std::move(value);
  return fail(ErrorKind::not_found, "no_credential",
              "remotes.\"" + access.host + "\": the variable " + name + " is not set");
}

Result<std::string> RemoteCredentials::password_of(const RemoteAccess& access) const {
  if (!access.password_env.empty()) return variable(access, access.password_env);
  Result<std::string> text = files_.read(access.password_file, kSecretBytesMax);
  if (!text.has_value()) {
    return fail(ErrorKind::not_found, "no_credential",
                "remotes.\"" + access.host + "\": " + text.error().message);
  }
  while (text->ends_with('\n') || text->ends_with('\r')) text->pop_back();
  return text;
}

Result<git::Credential> RemoteCredentials::get(const git::CredentialRequest& request) {
  const std::string host = remote_host_of(request.url);
  const auto access = std::find_if(remotes_.begin(), remotes_.end(),
                                   [&](const RemoteAccess& one) { return one.host == host; });
  if (access == remotes_.end()) {
    return fail(ErrorKind::not_found, "no_credential", "no [remotes.\"" + host + "\"]");
  }
  git::Credential credential;
  credential.user = access->user.empty() ? request.user : access->user;
  const bool has_password = !access->password_env.empty() || !access->password_file.empty();
  if (request.password && has_password) {
    Result<std::string> password = password_of(*access);
    if (!password.has_value()) return fail(std::move(password.error()));
    credential.password = *std::move(password);
    return credential;
  }
  if (!request.ssh_key || (access->ssh_key.empty() && !access->ssh_agent)) {
    return fail(ErrorKind::not_found, "no_credential",
                "[remotes.\"" + host + "\"] names nothing that is asked for");
  }
  credential.private_key = access->ssh_key;
  credential.ssh_agent = access->ssh_agent;
  if (!access->ssh_passphrase_env.empty()) {
    Result<std::string> phrase = variable(*access, access->ssh_passphrase_env);
    if (!phrase.has_value()) return fail(std::move(phrase.error()));
    credential.passphrase = *std::move(phrase);
  }
  return credential;
}

}  // namespace berth::server
