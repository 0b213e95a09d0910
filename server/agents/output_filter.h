// server/agents/output_filter.h — cuts markers out of streamed text, also where a chunk ends within
// one.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::server {

/// What is cut out. Empty markers are ignored.
struct OutputMarkers {
  std::vector<std::string> strip;  ///< Each occurrence.
  /// From the first of a pair through the second, or through the end of the message.
  std::vector<std::pair<std::string, std::string>> strip_between;

  bool empty() const { return strip.empty() && strip_between.empty(); }
};

/// The text of one stream (one kind of one message after the other). What may be the beginning of a
/// marker is held back until the next chunk decides. `markers` outlives it. The text that comes out
/// is the same however the text that goes in is cut.
class OutputFilter {
 public:
  explicit OutputFilter(const OutputMarkers& markers) : markers_(markers) {}

  /// The part of all text so far that can be shown now.
  std::string feed(std::string_view text);
  /// The stream is over: what was held back. Ready for another stream then.
  std::string finish();

 private:
  const OutputMarkers& markers_;
  std::string held_;
  const std::string* closing_ = nullptr;  // inside a pair: what ends it
};

}  // namespace berth::server
