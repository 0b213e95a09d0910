// server/sessions/transcript_json.h — a session's log as JSON for programs that want to read it,
// not to follow it.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/server/sessions/frames.h>

#include <string>
#include <string_view>

namespace berth::server {

/// Frames in, one JSON object out, piece by piece: pieces of a message become one text however long
/// it is, and no more than what was not drained is in memory. docs/api.md says what is in it.
class TranscriptJson {
 public:
  /// `first_seq`: where the session's log begins.
  TranscriptJson(std::string_view session, std::uint64_t first_seq);

  void take(const Frame& frame);
  /// Closes the object.
  void end();
  /// What was written since the last drain().
  std::string drain();

 private:
  void begin_entry(std::string_view kind, const Frame& frame, const JsonView& root);
  void end_text();
  void speak(std::string_view kind, const Frame& frame, const JsonView& root);

  std::string out_;
  bool first_ = true;
  bool speaking_ = false;  // a text is open
  std::string kind_;       // of whom, in which turn
  std::string turn_;
};

}  // namespace berth::server
