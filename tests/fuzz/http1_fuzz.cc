// Requests and responses do not depend on the chunks; what is taken has one framing, clean headers,
// and reads the same when it is written again.
#include <berth/core/http1.h>

#include <string>
#include <vector>

#include "fuzz.h"

namespace {

using namespace berth;

/// All messages of a connection as text, then how it ended.
struct Transcript {
  std::vector<std::string> messages;
  std::string end;
  bool operator==(const Transcript&) const = default;
};

void check_head(const HttpHeaders& headers) {
  int lengths = 0;
  int codings = 0;
  for (const auto& [name, value] : headers) {
    FUZZ_CHECK(!name.empty());
    for (const char c : name)
      FUZZ_CHECK(c > ' ' && c < 0x7F && c != ':' && !(c >= 'A' && c <= 'Z'));
    FUZZ_CHECK(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
    lengths += name == "content-length" ? 1 : 0;
    codings += name == "transfer-encoding" ? 1 : 0;
  }
  FUZZ_CHECK(lengths + codings <= 1);
}

std::string text_of(HttpRequestHead& head) {
  check_head(head.headers);
  std::string again;
  FUZZ_CHECK(append_request_head(again, head.method, head.target, head.headers).has_value());
  if (head.minor_version == 1) {
    HttpRequestParser parser;
    const HttpFeed step = parser.feed(again);
    FUZZ_CHECK(step.has_value() && step->consumed == again.size());
    FUZZ_CHECK(parser.head().headers == head.headers && parser.head().method == head.method);
    FUZZ_CHECK(parser.head().target == head.target);
    FUZZ_CHECK(parser.head().has_body == head.has_body);
  }
  return again + (head.keep_alive ? "K" : "C") + (head.has_body ? "B" : "-") +
         (head.expects_continue ? "E" : "-") + "\n";
}

std::string text_of(HttpResponseHead& head) {
  check_head(head.headers);
  FUZZ_CHECK(head.status >= 200 && head.status <= 599);
  std::string text = std::to_string(head.status) + head.reason + "\n";
  for (const auto& [name, value] : head.headers) text += name + ":" + value + "\n";
  return text + (head.keep_alive ? "K" : "C") + "\n";
}

template <typename Parser>
Transcript run(std::string_view text, std::uint8_t seed, const Http1Limits& limits) {
  Transcript transcript;
  Parser parser(limits);
  std::string body;
  std::string pending;  // what the parser left of earlier chunks
  fuzz::Chunks chunks(text, seed);
  while (true) {
    const fuzz::Padded input(pending, 'x', 0);
    std::string_view rest = input.text();
    while (!rest.empty() || parser.state() == HttpState::complete) {
      const HttpState before = parser.state();
      const HttpFeed step = parser.feed(rest);
      if (!step.has_value()) {
        FUZZ_CHECK(parser.state() == HttpState::failed && !parser.feed("x").has_value());
        transcript.end = std::to_string(step.error().status) + step.error().error.message;
        return transcript;
      }
      FUZZ_CHECK(step->consumed <= rest.size());
      FUZZ_CHECK(step->consumed > 0 || parser.state() != before || before == HttpState::complete);
      body += step->body;
      FUZZ_CHECK(body.size() <= limits.body_max);
      rest.remove_prefix(step->consumed);
      if (parser.state() != HttpState::complete) continue;
      transcript.messages.push_back(text_of(parser.head()) + body);
      body.clear();
      parser.reset();
    }
    if (chunks.done()) break;
    pending = seed == 0 ? std::string(text) : std::string(chunks.next());
    if (seed == 0) {
      while (!chunks.done()) chunks.next();
    }
  }
  transcript.end = parser.state() == HttpState::body ? "body" + body : "head";
  return transcript;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto seed = static_cast<std::uint8_t>(input.byte() | 1);
  Http1Limits limits;
  if (seed % 4 == 1) {
    limits = {.start_line_max = 64,
              .header_bytes_max = 128,
              .header_count_max = 4,
              .body_max = 32,
              .chunk_line_max = 16,
              .extension_bytes_max = 24};
  }
  const std::string_view text = input.rest();
  FUZZ_CHECK(run<HttpRequestParser>(text, seed, limits) == run<HttpRequestParser>(text, 0, limits));
  FUZZ_CHECK(run<HttpResponseParser>(text, seed, limits) ==
             run<HttpResponseParser>(text, 0, limits));
  return 0;
}
