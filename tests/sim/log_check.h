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

/// An agent's time in a process, by its log.
struct Seat {
  std::string agent;
  std::int64_t pid = 0;
  std::int64_t seeks_ms = 0;  ///< Its start began; since 1970, as is what follows.
  std::int64_t from_ms = 0;   ///< It was attached.
  std::int64_t to_ms = 0;     ///< It was told of the process's end, or left it.
  bool left = false;          ///< The latter.
  bool lost = false;          ///< The server died with it.
  bool at_work = false;       ///< A turn of it ran when the process ended.
};

/// How processes are shared; 0 = no such limit.
struct SeatRules {
  std::size_t seats_max = 1;
  std::uint64_t sessions_max = 0;
  std::int64_t age_max_ms = 0;
};

/// What the logs of all sessions tell of the processes that they shared.
struct ProcessStory {
  std::uint64_t shared = 0;          ///< Seats taken beside others.
  std::uint64_t deaths_at_work = 0;  ///< Of processes with turns of several sessions.
  std::uint64_t generations = 0;     ///< Processes begun while another one had a seat free.
  std::string wrong;
};

/// Checks: so many seats in a process and no more, none for too many or in one that is too old,
/// and a process that dies is dead for all that sit in it. Times are those of an even clock.
ProcessStory check_seats(const std::vector<Seat>& seats, const SeatRules& rules);

/// What a log tells.
struct LogStory {
  std::vector<std::string> events;  ///< The envelope of event i + 1.
  std::map<std::string, TurnStory> turns;
  std::map<std::string, std::string> interactions;  ///< Id to the closing state, "" while open.
  std::map<std::string, int> attached;              ///< Agent to how often it came up.
  std::vector<Seat> seats;
  int evictions = 0;
  int stalls = 0;
  int decisions = 0;
  int edits = 0;
  std::string wrong;  ///< The first rule that is broken, with the event's number.

  std::string where(const std::string& what) const;
};

/// `frames` is the log from its first event on. Checks: numbers without gap; one turn at a time,
/// with one beginning and at most one ending; updates only in their turn or, late, after it; one
/// process of an agent at a time, with rising epochs; decisions only where one is needed; questions
/// closed once; streamed text whole and in order; time that never goes back, unless the machine's
/// clock did.
LogStory read_log(const std::string& frames, bool clock_went_back);

}  // namespace berth::sim_test
