// server/sessions/remote_credentials.h — secrets for remotes, read where the configuration says
// they are.
#pragma once

#include <berth/git/credentials.h>
#include <berth/io/platform.h>
#include <berth/server/sessions/workspace_limits.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// "host" or "host:port" of a URL, in lower case; the usual port of https and ssh is left out.
std::string remote_host_of(std::string_view url);

/// Reads a secret each time that it is asked for, so that a new one is used at once; keeps none.
/// Called on the git lane; environment and files are read only.
class RemoteCredentials final : public git::CredentialSource {
 public:
  RemoteCredentials(const io::Environment& environment, io::Files& files,
                    std::vector<RemoteAccess> remotes)
      : environment_(environment), files_(files), remotes_(std::move(remotes)) {}

  /// `not_found` also when the variable or file is not there; the message names which.
  Result<git::Credential> get(const git::CredentialRequest& request) override;

 private:
  Result<std::string> variable(const RemoteAccess& access, const std::string& name) const;
  Result<std::string> password_of(const RemoteAccess& access) const;

  const io::Environment& environment_;
  io::Files& files_;
  const std::vector<RemoteAccess> remotes_;
};

}  // namespace berth::server
