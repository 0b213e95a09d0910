// A target that is taken holds clean texts, and gives the same when it is encoded and read again.
#include <berth/core/uri.h>

#include <string>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using berth::append_percent_encoded;
  const std::string_view text = berth::fuzz::Input(data, size).rest();
  const auto target = berth::parse_target(text);
  if (!target.has_value()) return 0;
  std::string encoded = "/";
  for (const std::string& segment : target->path) {
    FUZZ_CHECK(!segment.empty() && segment != "." && segment != "..");
    for (const char c : segment) FUZZ_CHECK(static_cast<unsigned char>(c) >= 0x20);
    if (encoded.size() > 1) encoded += '/';
    append_percent_encoded(encoded, segment);
  }
  char separator = '?';
  for (const auto& [name, value] : target->query) {
    encoded += separator;
    separator = '&';
    append_percent_encoded(encoded, name);
    encoded += '=';
    append_percent_encoded(encoded, value);
  }
  berth::TargetLimits limits;
  limits.size_max *= 3;
  const auto again = berth::parse_target(encoded, limits);
  FUZZ_CHECK(again.has_value());
  FUZZ_CHECK(again->path == target->path && again->query == target->query);
  return 0;
}
