#include <berth/io/ip_network.h>

#include <arpa/inet.h>
#include <charconv>
#include <string>

namespace berth::inline v0::io {

namespace {

constexpr unsigned kBits = 128;
constexpr unsigned kBitsOfVersion4 = 32;

}  // namespace

std::optional<IpAddress> parse_ip(std::string_view text) {
  const std::string name(text);
  IpAddress bytes{};
  if (::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1) return bytes;
  bytes[10] = bytes[11] = 0xff;
  if (::inet_pton(AF_INET, name.c_str(), bytes.data() + 12) == 1) return bytes;
  return std::nullopt;
}

std::optional<IpNetwork> IpNetwork::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string_view name = text.substr(0, slash);
  const std::optional<IpAddress> address = parse_ip(name);
  if (!address) return std::nullopt;
  const unsigned whole = name.find(':') == name.npos ? kBitsOfVersion4 : kBits;
  unsigned bits = whole;
  if (slash != text.npos) {
    const char* const end = text.data() + text.size();
    const auto [stop, bad] = std::from_chars(text.data() + slash + 1, end, bits);
    if (bad != std::errc() || stop != end || bits > whole) return std::nullopt;
  }
  return IpNetwork{*address, bits + kBits - whole};
}

bool IpNetwork::contains(const IpAddress& one) const {
  for (unsigned bit = 0; bit < bits; ++bit) {
    const auto mask = static_cast<std::uint8_t>(0x80U >> bit % 8);
    if (((one[bit / 8] ^ address[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

}  // namespace berth::inline v0::io
