// Events do not depend on the chunks; parse(encode(x)) is exactly one event whose data is x.
#include <berth/core/sse.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fuzz.h"

namespace {

using namespace berth;

class Recorder : public SseSink {
 public:
  void on_event(const SseEvent& event) override {
    calls.push_back("event " + std::string(event.id) + "|" + std::string(event.type) + "|" +
                    std::string(event.data));
  }
  void on_retry(std::chrono::milliseconds delay) override {
    calls.push_back("retry " + std::to_string(delay.count()));
  }
  void on_comment(std::string_view text) override { calls.push_back(":" + std::string(text)); }
  std::vector<std::string> calls;
};

std::vector<std::string> parse(std::string_view stream, std::uint8_t seed, std::size_t event_max) {
  Recorder recorder;
  SseParser parser(recorder, {.event_max = event_max});
  if (seed == 0) {
    if (!parser.feed(stream).has_value()) recorder.calls.push_back("failed");
    return recorder.calls;
  }
  fuzz::Chunks chunks(stream, seed);
  while (!chunks.done()) {
    const fuzz::Padded chunk(chunks.next(), '\n', 0);
    if (parser.feed(chunk.text()).has_value()) continue;
    FUZZ_CHECK(!parser.feed("x").has_value());
    recorder.calls.push_back("failed");
    break;
  }
  return recorder.calls;
}

std::string blanked(std::string_view text) {
  std::string copy(text);
  for (char& c : copy) c = c == '\r' || c == '\n' ? ' ' : c;
  return copy;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto seed = static_cast<std::uint8_t>(input.byte() | 1);
  const std::size_t event_max = seed % 4 == 1 ? 1 << 20 : 4 + seed;
  const std::string_view text = input.rest();
  FUZZ_CHECK(parse(text, seed, event_max) == parse(text, 0, event_max));

  const std::string_view type = text.substr(0, std::min<std::size_t>(seed, text.size()));
  const std::string_view used_type = is_sse_type(type) ? type : "update";
  std::string stream;
  append_sse_event(stream, 18446744073709551615U - seed, used_type, text);
  append_sse_comment(stream, text);
  append_sse_retry(stream, std::chrono::milliseconds(seed));
  const std::vector<std::string> expected = {"event " +
                                                 std::to_string(18446744073709551615U - seed) +
                                                 "|" + std::string(used_type) + "|" + blanked(text),
                                             ":" + blanked(text), "retry " + std::to_string(seed)};
  FUZZ_CHECK(parse(stream, seed, 1 << 24) == expected);
  return 0;
}
