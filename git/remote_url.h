// git/remote_url.h — a URL of a remote, taken apart. Private to this folder.
#pragma once

#include <berth/core/result.h>

#include <cstdint>
#include <string>

namespace berth::git::detail {

struct RemoteUrl {
  enum class Kind : std::uint8_t { local, https, ssh } kind = Kind::local;
  std::string url;   ///< What is connected to and stored: without a password, and for https without
                     ///< a user; for `local` the absolute path.
  std::string name;  ///< The same however it was written; what is hashed.
  std::string host;
  std::string port;
  std::string user;
  std::string password;
};

/// Error `invalid` "bad_url", whose message holds no secret.
Result<RemoteUrl> parse_remote_url(const std::string& text);

}  // namespace berth::git::detail
