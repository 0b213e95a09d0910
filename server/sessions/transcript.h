// server/sessions/transcript.h — a session's log as Markdown, for people and for agents that read
// it as a file.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/server/sessions/frames.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::server {

/// The text of a content block; of one without text what it is, in brackets.
std::string text_of_block(const JsonView& block);

/// Frames in, Markdown out. Deterministic; bounded: above `bytes_max` the oldest turns go, and the
/// text says so.
class Transcript {
 public:
  explicit Transcript(std::size_t bytes_max = std::size_t{16} << 20) : bytes_max_(bytes_max) {}

  /// What stands above everything. `first_seq`: where the log begins.
  static std::string head(std::uint64_t first_seq);
  /// The same for text(), before it.
  void begin_at(std::uint64_t first_seq) { first_seq_ = first_seq; }
  void take(const Frame& frame);
  std::string text() const;
  /// For logs of any size: what was written since the last drain(), without head().
  std::string drain();

 private:
  void heading(std::string_view turn, std::string_view what);
  void speak(std::string_view speaker, std::string_view text);
  void line(std::string_view text);
  void make_room();

  std::size_t bytes_max_;
  std::uint64_t first_seq_ = 1;
  std::string body_;
  std::string turn_;     // whose heading stands last
  std::string speaker_;  // who spoke last under it
  bool dropped_ = false;
  bool drained_ = false;
  bool ends_line_ = false;  // what was drained
};

}  // namespace berth::server
