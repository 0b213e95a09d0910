// tests/sim/log_check.h — reads a whole log of a session and finds what must never be in one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace berth::sim_test {

struct TurnStory {
  std::int64_t number = 0;
  std::string prompt;  ///< Content blocks, raw JSON; the last if it was edited.
  std::string edits;   ///< All that it was edited to.
  bool edited = false;
  bool started = false;
  std::string ending;  ///< Empty while it has none.
};

/// What a log tells.
struct LogStory {
  std::vector<std::string> events;  ///< The envelope of event i + 1.
  std::map<std::string, TurnStory> turns;
  std::map<std::string, std::string> interactions;  ///< Id to the closing state, "" while open.
  std::map<std::string, int> attached;              ///< Agent to how often it came up.
  int decisions = 0;
  int edits = 0;
  std::string wrong;  ///< The first rule that is broken, with the event's number.

  std::string where(const std::string& what) const;
};

/// `frames` is the log from its first event on. Checks: numbers without gap; one turn at a time,
/// with one beginning and at most one ending; updates only in their turn or, late, after it; one
/// process of an agent at a time, with rising epochs; decisions only where one is needed; questions
/// closed once; time that never goes back, unless the machine's clock did.
LogStory read_log(const std::string& frames, bool clock_went_back);

}  // namespace berth::sim_test
