#include <berth/core/hex.h>
#include <berth/server/auth/secret.h>

#include <openssl/sha.h>

#include <array>
#include <cstdint>

namespace berth::server {

namespace {

constexpr std::string_view kPrefix = "berth_";
constexpr std::size_t kIdLength = 26;  // of a ULID
constexpr std::size_t kSecretLength = 43;

}  // namespace

std::string make_secret(Random& random) {
  static constexpr char kDigits[] =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
  std::string secret;
  for (int word = 0; word < 4; ++word) {
    std::uint64_t bits = random.next();
    for (int i = 0; i < 10; ++i, bits >>= 6) secret += kDigits[bits & 63];
  }
  // 4 bits of each word are left over.
  std::uint64_t rest = random.next();
  for (; secret.size() < kSecretLength; rest >>= 6) secret += kDigits[rest & 63];
  return secret;
}

std::string sha256_hex(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::string hex;
  for (const unsigned char byte : digest) append_hex(hex, byte, 2);
  return hex;
}

bool equal_in_constant_time(std::string_view given, std::string_view wanted) {
  unsigned difference = given.size() == wanted.size() ? 0U : 1U;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const char other = wanted.empty() ? '\0' : wanted[i % wanted.size()];
    difference |= static_cast<unsigned>(static_cast<unsigned char>(given[i] ^ other));
  }
  return difference == 0;
}

std::string write_token(std::string_view id, std::string_view secret) {
  std::string text(kPrefix);
  text.append(id).append("_").append(secret);
  return text;
}

std::optional<TokenText> parse_token(std::string_view text) {
  if (text.size() != kPrefix.size() + kIdLength + 1 + kSecretLength) return std::nullopt;
  if (!text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  if (text[kIdLength] != '_') return std::nullopt;
  return TokenText{text.substr(0, kIdLength), text.substr(kIdLength + 1)};
}

}  // namespace berth::server
