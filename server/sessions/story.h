// server/sessions/story.h — past turns as text for an agent that was not there: pure, within a
// budget of bytes.
#pragma once

#include <berth/server/sessions/frames.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// One past turn as the story tells it.
struct ToldTurn {
  std::int64_t number = 0;
  std::string agent;
  std::string prompt;
  std::string answer;
  std::vector<std::string> tools;       ///< "write notes.txt: completed"
  std::vector<std::string> open_tools;  ///< Titles of those without a recorded result.
  std::string ending;
  bool is_own = false;  ///< Of the agent that is told; it ended in the middle.
};

/// What an agent is told of a turn of its own in which it, or the server, ended.
enum class OwnTurns : std::uint8_t {
  traces,  ///< It kept the rest: tool calls without a result, and its last words.
  whole,   ///< It remembers nothing of a turn that did not end.
};

/// What is told, and to whom.
struct StoryRequest {
  /// Empty: everything, to an agent without memory. Else only what this agent does not know: turns
  /// after `after_turn` of others, and its own that were interrupted.
  std::string agent;
  OwnTurns own_turns = OwnTurns::traces;
  std::int64_t after_turn = 0;
  bool cut = false;        ///< The oldest turns are not recorded any more, but for what was asked
                           ///< first.
  std::string transcript;  ///< Path of the whole story as a file; empty = there is none.
  std::size_t bytes_max = 64 * 1024;
};

/// What came of it. An empty text: there is nothing to tell.
struct Story {
  std::string text;
  std::int64_t from_turn = 0;
  std::int64_t to_turn = 0;
  int whole = 0;           ///< Turns told in full.
  int digested = 0;        ///< Shortened.
  int left_out = 0;        ///< For their size.
  int own = 0;             ///< Turns of the agent that is told, out of all.
  std::string transcript;  ///< Named in the text; empty = none.
};

/// Reads a log, frame by frame in order, into turns. Holds a bounded part of old ones.
class Storyteller {
 public:
  Storyteller();
  ~Storyteller();
  void take(const Frame& frame);
  /// Turns that were started and have ended, in order. Call once, at the end.
  std::vector<ToldTurn> turns();
  /// The plan as it was told last, a line an entry; empty without one or when all of it is done.
  std::string plan() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The first request, the plan and the last turns whole, a digest of those between, tool calls
/// without a recorded result by name; at most `request.bytes_max` (which is at least 2 KiB).
Story tell(const std::vector<ToldTurn>& turns, std::string_view plan, const StoryRequest& request);

/// The prompt's content blocks with the story as a text block before them.
std::string with_story(std::string_view story, std::string_view blocks);

}  // namespace berth::server
