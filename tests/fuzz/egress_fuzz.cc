// What a proxy passes on of a request that it takes has one meaning, for the host that was judged.
#include <berth/server/egress/policy.h>

#include <algorithm>
#include <cctype>
#include <string>

#include "fuzz.h"

namespace {

using namespace berth::server::egress;

bool is_header(std::string_view line, std::string_view name) {
  if (line.size() <= name.size() || line[name.size()] != ':') return false;
  return std::equal(name.begin(), name.end(), line.begin(), [](char a, char b) {
    return a == std::tolower(static_cast<unsigned char>(b));
  });
}

/// A head that also lenient servers, which end lines at a line feed, read in one way.
void check_head(const Request& request) {
  std::string_view head = request.head;
  FUZZ_CHECK(head.ends_with("\r\nConnection: close\r\n\r\n"));
  FUZZ_CHECK(head.find('\0') == head.npos);
  std::string host;
  int hosts = 0;
  int lines = 0;
  for (;; ++lines) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(line.size() + 2);
    if (line.empty()) break;
    FUZZ_CHECK(line.find_first_of("\r\n") == line.npos);
    if (lines == 0) {
      const std::size_t space = line.find(' ');
      FUZZ_CHECK(std::count(line.begin(), line.end(), ' ') == 2 && line[space + 1] == '/');
      FUZZ_CHECK(std::all_of(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(space),
                             [](unsigned char c) { return c > ' ' && c < 0x7f; }));
      FUZZ_CHECK(line.ends_with(" HTTP/1.1"));
    } else if (is_header(line, "host")) {
      ++hosts;
      host = line.substr(6);
    }
    FUZZ_CHECK(lines == 0 || (line.front() != ' ' && line.front() != '\t'));  // no line goes on
  }
  FUZZ_CHECK(head.empty() && hosts == 1);
  std::transform(host.begin(), host.end(), host.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string bare = host_and_port(request.host, 1);  // ends in ":1"
  const auto name = std::string_view(bare).substr(0, bare.size() - 2);
  FUZZ_CHECK(host.starts_with(name) && (host.size() == name.size() || host[name.size()] == ':'));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = berth::fuzz::Input(data, size).rest();
  static_cast<void>(parse_pattern(text));
  const berth::Result<Request> request = parse_request(text);
  if (!request.has_value()) {
    FUZZ_CHECK(std::string_view(request.error().code) == "bad_request");
    return 0;
  }
  FUZZ_CHECK(request->port != 0 && request->tunnel == request->head.empty());
  const std::string target = host_and_port(request->host, request->port);
  const berth::Result<Pattern> pattern = parse_pattern(target);
  FUZZ_CHECK(pattern.has_value());
  FUZZ_CHECK(judge({*pattern}, request->host, request->port) == Verdict::allowed_anywhere);
  FUZZ_CHECK(judge({}, request->host, request->port) == Verdict::denied);
  if (!request->tunnel) check_head(*request);
  return 0;
}
