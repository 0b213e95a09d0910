// bench/reactor/material.h — what all contestants are given alike: lines, pipes, sockets, and the
// work on a line.
#pragma once

#include "scenarios.h"

#include <berth/core/json_scan.h>
#include <berth/core/ndjson.h>

#include <array>
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::bench {

inline constexpr std::size_t kPingBytes = 100;
inline constexpr std::size_t kEventBytes = 500;
/// Timers lie within an hour; those that fire, within the hour before.
inline constexpr long kTimerSpanNs = 3600L * 1'000'000'000;

/// Both ends non-blocking.
struct Pipe {
  int reader = -1;
  int writer = -1;
};

/// The pipes of one lane and the writer's side of it.
class Pipes {
 public:
  explicit Pipes(const Scenario& scenario);
  ~Pipes();
  Pipes(const Pipes&) = delete;
  Pipes& operator=(const Pipes&) = delete;

  const std::vector<Pipe>& all() const { return pipes_; }
  /// The reading end of one pipe, now the caller's to close.
  int take_reader(std::size_t which) { return std::exchange(pipes_[which].reader, -1); }
  /// One line (200 to 2048 bytes) into each of the active pipes, other ones in each pass.
  void write_lines();
  /// Which pipes the last write_lines() wrote to, in that order.
  const std::vector<std::size_t>& written() const { return written_; }

 private:
  const Scenario scenario_;
  std::vector<std::string> lines_;
  std::vector<Pipe> pipes_;
  std::vector<std::size_t> written_;
  std::size_t pass_ = 0;
};

/// Counts what came out of all pipes of a lane.
struct LineWork {
  bool parse = true;
  JsonScanner scanner;
  std::size_t lines = 0;
};

/// What every contestant does with the bytes of one pipe: cuts lines, validates them, reads four
/// fields. kLinePadding bytes behind what feed() gets must be readable.
class LineReader final : private LineSink {
 public:
  explicit LineReader(LineWork& work) : work_(work), framer_(*this) {}
  void feed(std::string_view bytes);

 private:
  void on_line(Line& line) override;
  void on_overlong(std::uint64_t total_bytes, std::string_view head) override;

  LineWork& work_;
  LineFramer framer_;
};

/// Connected loopback TCP sockets; the near ends are the contestant's, non-blocking.
class TcpSockets {
 public:
  explicit TcpSockets(std::size_t count);
  ~TcpSockets();
  TcpSockets(const TcpSockets&) = delete;
  TcpSockets& operator=(const TcpSockets&) = delete;

  const std::vector<int>& near() const { return near_; }
  /// Reads `bytes` at each far end, which must be there already or on their way.
  void drain(std::size_t bytes);

 private:
  std::vector<int> near_;
  std::vector<int> far_;
};

/// A connected pair of Unix stream sockets, non-blocking; the caller closes them.
std::array<int, 2> make_socket_pair();

/// The moments for which `count` timers are armed, in nanoseconds after some start: always the same
/// ones, in disorder, within `span_ns`.
std::vector<long> timer_moments(std::size_t count, long span_ns, unsigned seed);

}  // namespace berth::bench
