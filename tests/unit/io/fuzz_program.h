// tests/unit/io/fuzz_program.h — a random program of reactor operations, the same for every engine,
// out of one seed.
#pragma once

#include <berth/io/reactor.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io::fuzz {

enum class Act : std::uint8_t {
  turns,         ///< `amount` turns of the loops.
  await,         ///< The line is read until all that was to be written on it has come out.
  read,          ///< Starts reading, if nobody reads.
  pause,         ///< The reader.
  resume,        ///< The reader.
  cancel_read,   ///< The reader.
  write,         ///< Adds `amount` bytes (of `seed`) to what is to be written, in several parts.
  cancel_write,  ///< The write in work.
  end_writing,   ///< When all is written: half-close of a connection, close of a pipe's writer.
  close_reader,  ///< A pipe's: cancels, and closes when the reader has ended.
  hand_over,     ///< A pipe's reader that nobody reads from goes to the other loop.
  poll,          ///< Asks once whether the line is readable.
  cancel_poll,
  arm,  ///< Timer `object`, `amount` microseconds from now.
  disarm,
  post,       ///< A runnable, on the loop itself.
  post_from,  ///< A runnable, from the other loop.
  file,       ///< `amount` bytes (of `seed`) are added to what is to be written to file `object`.
  cancel_file,
};
inline constexpr std::size_t kActs = 19;
std::string_view to_string(Act act);

struct Step {
  Act act = Act::turns;
  std::size_t object = 0;
  std::uint64_t amount = 0;
  std::uint64_t seed = 0;
};

/// Is taken inside the callback of a line's `nth` read.
struct Reaction {
  std::size_t line = 0;
  std::size_t nth = 0;
  Step step;
};

/// One direction of bytes. Those of connections come first, two each.
struct LinePlan {
  bool socket = false;
  ReadOp::Way way = ReadOp::Way::readiness;
  std::size_t turn_budget = 1;
  bool cancels_writes = false;  ///< Then nobody can say how many bytes come out.
  bool closes_reader = false;   ///< The same.
};

struct Program {
  std::uint64_t seed = 0;
  /// One for each connection: after how many turns its connect is cancelled, or -1.
  std::vector<int> cancels_connect;
  std::vector<LinePlan> lines;
  std::size_t timers = 0;
  std::size_t files = 0;
  std::vector<Step> steps;
  std::vector<Reaction> reactions;
};

Program make_program(std::uint64_t seed);
/// For people who look at a failed seed.
std::string describe(const Program& program);

}  // namespace berth::inline v0::io::fuzz
