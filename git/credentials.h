// git/credentials.h — secrets for remotes, asked for when they are needed and kept nowhere.
#pragma once

#include <berth/core/result.h>

#include <string>

namespace berth::git {

struct CredentialRequest {
  std::string url;   ///< Without user and password.
  std::string user;  ///< As the URL names it; may be empty.
  bool password = false;
  bool ssh_key = false;
  int attempt = 1;  ///< The one before was refused.
};

/// What is set is used: a password, else a key file, else the agent at SSH_AUTH_SOCK.
struct Credential {
  std::string user;
  std::string password;     ///< Or a token.
  std::string private_key;  ///< Path of the file.
  std::string public_key;   ///< Path; may be empty.
  std::string passphrase;
  bool ssh_agent = false;
};

/// Where credentials come from: the operator's configuration by reference. Called on the thread of
/// the call that needs one; may block. What it gives gets into no file, error or log.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  /// Error `not_found` when there is none for this: the fetch then ends with `denied`.
  virtual Result<Credential> get(const CredentialRequest& request) = 0;
};

/// The URL as it may be shown: user and password between "//" and "@" are cut out, and a query.
std::string redacted(const std::string& url);

}  // namespace berth::git
