// bench/store/layouts.h — the ways to log events durably that layout_bench compares.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace berth::bench {

/// Consecutive events of one session inside one commit, already encoded.
struct SessionRun {
  std::uint64_t session = 0;
  std::uint64_t first_seq = 0;
  std::uint32_t count = 0;
  /// `count` events of `data.size() / count` bytes each.
  std::string_view data;
};

enum class Synchronous : std::uint8_t { off, normal, full };

/// What is the same question for every layout. `full` stands for durability against power loss, the
/// others for durability against the death of the process.
struct StoreSettings {
  Synchronous synchronous = Synchronous::normal;
  bool exclusive = true;
  int page_size = 4096;
  int autocheckpoint_pages = 1000;
};

/// One way to keep the log. A failure of SQLite or of a system call ends the program.
class Layout {
 public:
  virtual ~Layout() = default;

  /// Makes the runs durable; nothing of them may be shown before it returns.
  virtual void commit(std::span<const SessionRun> runs) = 0;

  /// Brings everything to its final place (merge, checkpoint), so that all costs are counted.
  virtual void finish() = 0;

  /// Reads events after `after` up to about `bytes_max`; returns the last sequence read, `after` if
  /// none. Only valid after `finish`.
  virtual std::uint64_t read(std::uint64_t session, std::uint64_t after, std::size_t bytes_max,
                             std::string& out) = 0;
};

struct LayoutKind {
  const char* name;
  const char* what;
  std::function<std::unique_ptr<Layout>(const std::string& folder, const StoreSettings&)> make;
};

/// All of them, in the order of the report.
std::vector<LayoutKind> layout_kinds();

}  // namespace berth::bench
