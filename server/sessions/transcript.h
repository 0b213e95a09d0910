// server/sessions/transcript.h — a session's log as Markdown, for people and for agents that read
// it as a file.
#pragma once

#include <berth/server/sessions/frames.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::server {

/// Frames in, Markdown out. Deterministic; bounded: above `bytes_max` the oldest turns go, and the
/// text says so.
class Transcript {
 public:
  explicit Transcript(std::size_t bytes_max = std::size_t{16} << 20) : bytes_max_(bytes_max) {}

  void take(const Frame& frame);
  std::string text() const;

 private:
  void heading(std::string_view turn, std::string_view what);
  void speak(std::string_view speaker, std::string_view text);
  void line(std::string_view text);
  void make_room();

  std::size_t bytes_max_;
  std::string body_;
  std::string turn_;     // whose heading stands last
  std::string speaker_;  // who spoke last under it
  bool dropped_ = false;
};

}  // namespace berth::server
