// server/named/prompt_cutter.h — a stream of NUL-ended prompts, cut at the NULs: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace berth::server {

/// Whether JSON can carry it as it is.
bool is_utf8(std::string_view text);

/// What stood between two NULs.
struct CutPrompt {
  std::uint64_t offset = 0;       ///< Of its first byte in the stream.
  std::uint64_t bytes = 0;        ///< Without the NUL.
  std::string text;               ///< Of one that is refused: its beginning.
  const char* refused = nullptr;  ///< "too_long", "not_utf8" or "cut"; null: it can be run.
};

/// Bytes in, prompts out, in order, however the bytes are cut. Nothing between two NULs is nothing.
class PromptCutter {
 public:
  /// Longer prompts are dropped as they come. `begins_cut`: the stream begins within a prompt whose
  /// beginning is lost.
  explicit PromptCutter(std::size_t prompt_max, bool begins_cut = false)
      : prompt_max_(prompt_max), cut_(begins_cut) {}

  void feed(std::string_view bytes);
  std::optional<CutPrompt> next();
  /// The end of the stream was lost: what is unfinished is a prompt that nobody must run.
  void cut_off();

  /// Bytes of whole prompts that next() has not given yet.
  std::uint64_t waiting_bytes() const { return waiting_bytes_; }
  bool waiting() const { return !whole_.empty(); }
  /// Something stands behind the last NUL.
  bool unfinished() const { return size_ > 0 || cut_; }
  /// It must not run, whatever comes.
  bool doomed() const { return cut_ || size_ > prompt_max_; }
  const std::string& unfinished_text() const { return text_; }

 private:
  void finish();

  std::size_t prompt_max_;
  std::uint64_t at_ = 0;    // of the byte that comes next
  std::uint64_t size_ = 0;  // of what is unfinished
  bool cut_;
  std::string text_;  // of what is unfinished, at most prompt_max_
  std::deque<CutPrompt> whole_;
  std::uint64_t waiting_bytes_ = 0;
};

}  // namespace berth::server
