// server/sessions/log_retention.h — how much of a session's log is kept: what goes, when, and what
// of it stays for those who tell the story later.
#pragma once

#include <berth/core/clock.h>
#include <berth/server/sessions/frames.h>
#include <berth/server/store/store.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace berth::server {

/// Of each session's log; what is 0 bounds nothing.
struct LogLimits {
  Duration events_age_max{};   ///< Turns that ended longer ago go.
  std::size_t events_max = 0;  ///< Events.
  /// Far above what anybody reads; so that an agent that talks for weeks fills no disk.
  std::size_t events_bytes_max = std::size_t{1} << 30;
};

/// Turns at the end that stay whatever they weigh: what an agent that lost its memory is told
/// whole, and so what an owed continuation needs.
inline constexpr std::size_t kTurnsKept = 4;

/// The turn that a log shall begin with.
struct LogCutPoint {
  std::uint64_t first_seq = 0;
  std::int64_t first_turn = 0;
};

/// Cuts lie where a turn begins, so that none is kept in half; nothing goes of a turn that has not
/// ended, nor of those behind it. `fits_from`: from that event on the log is within
/// events_bytes_max. Nothing when all may stay.
std::optional<LogCutPoint> where_to_cut(const LogLimits& limits, const LogExtent& log,
                                        std::uint64_t fits_from, std::int64_t now_ms);

/// Reads what goes, in order, and keeps what a story still needs of it: the first request and its
/// ending, the plan as it stood, and what was asked (last) and has not begun. Some 64 KiB for
/// each, 4 MiB for all.
class LogHead {
 public:
  /// `before`: text() of the cut before this one.
  explicit LogHead(std::string_view before = {});
  void take(const Frame& frame);
  /// As frames, for the store and for whoever reads the log's beginning.
  std::string text() const;

 private:
  std::string first_;         // the turn that was asked first
  std::string first_frames_;  // of it
  std::string plan_;
  std::map<std::string, std::string> waiting_;  // turn to its frame; ids are in order of time
};

/// Since the server's start.
struct LogCutStats {
  std::uint64_t cuts = 0;
  std::uint64_t events = 0;
  std::uint64_t bytes = 0;  ///< Taken out of the database.
};

}  // namespace berth::server
