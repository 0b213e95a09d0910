// The lines do not depend on the chunks, and are what a simple split of the whole gives.
#include "fuzz.h"

#include <string>
#include <vector>

namespace {

using namespace berth;

class Recorder : public LineSink {
 public:
  explicit Recorder(bool take) : take_(take) {}

  void on_line(Line& line) override {
    const volatile char* end = line.text().data() + line.text().size();
    int sum = 0;
    for (std::size_t i = 0; i < kLinePadding; ++i) sum += end[i];
    static_cast<void>(sum);
    FUZZ_CHECK(line.text().find('\n') == std::string_view::npos);
    const std::string text(line.text());
    if (take_) {
      const LineBuffer buffer = line.take();
      FUZZ_CHECK(buffer.text() == text);
    }
    calls.push_back("line " + text);
  }
  void on_overlong(std::uint64_t total_bytes, std::string_view head) override {
    calls.push_back("overlong " + std::to_string(total_bytes) + std::string(head));
  }
  std::vector<std::string> calls;

 private:
  bool take_;
};

/// The same in ten plain lines.
std::vector<std::string> split(std::string_view text, std::size_t line_max) {
  std::vector<std::string> calls;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.size() > line_max) {
      calls.push_back("overlong " + std::to_string(line.size()) +
                      std::string(line.substr(0, LineFramer::kHeadMax)));
      continue;
    }
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    calls.push_back("line " + std::string(line));
  }
  return calls;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::uint8_t seed = input.byte();
  const std::size_t line_max = 1 + std::size_t{input.byte()} * 4;
  Recorder recorder(seed % 2 == 0);
  LineFramer framer(recorder, {.line_max = line_max});
  fuzz::Chunks chunks(input.rest(), seed);
  while (!chunks.done()) {
    const fuzz::Padded chunk(chunks.next(), '\n');
    framer.feed(chunk.text());
    FUZZ_CHECK(framer.pending() <= line_max);
    FUZZ_CHECK(framer.pending() != 0 || framer.capacity() <= 4096);
  }
  framer.finish();
  FUZZ_CHECK(framer.capacity() == 0);
  FUZZ_CHECK(recorder.calls == split(input.rest(), line_max));
  return 0;
}
