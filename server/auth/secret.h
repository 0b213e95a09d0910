// server/auth/secret.h — secrets: made, written as tokens, kept as hashes, compared.
#pragma once

#include <berth/core/prng.h>

#include <optional>
#include <string>
#include <string_view>

namespace berth::server {

/// 256 bits as 43 characters of base64url. `random` must be the platform's.
std::string make_secret(Random& random);

/// In lower-case hex. One round and no salt are enough for what make_secret() made: there is no
/// list of 2^256 guesses, and no two are alike. It would not do for a password.
std::string sha256_hex(std::string_view text);

/// Takes as long for any `given` of one length, wherever the first difference is.
bool equal_in_constant_time(std::string_view given, std::string_view wanted);

/// `berth_<id>_<secret>`: the id says which token it is, also to whoever finds one in a log.
struct TokenText {
  std::string_view id;
  std::string_view secret;
};
std::string write_token(std::string_view id, std::string_view secret);
/// A view into `text`; nothing when it is no such token.
std::optional<TokenText> parse_token(std::string_view text);

}  // namespace berth::server
