// bench/load/load_run.h — one server, its sessions and its readers, driven from one thread.
#pragma once

#include "http_lane.h"
#include "poller.h"
#include "server_process.h"
#include "sse_client.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace berth::bench {

/// The programs under test and their helper; absolute paths.
struct Programs {
  std::string berth;
  std::string bare;
  std::string agent;
};

/// What one flood cost.
struct FloodResult {
  double seconds = 0;
  double cpu_us = 0;     ///< Of the server.
  double delivered = 0;  ///< Updates that reached readers.
  double p50_us = 0;
  double p99_us = 0;
  double unfairness = 0;    ///< The slowest session's mean delay over the median's.
  double rss_peak_mib = 0;  ///< When sampled.

  double cpu_per_update() const { return cpu_us / delivered; }
  double rate() const { return delivered / seconds; }
};

class LoadRun {
 public:
  /// Starts berth with `limits` (lines of the table [limits]), or the bare loop.
  static std::unique_ptr<LoadRun> with_berth(const Programs& programs,
                                             const std::string& limits = {});
  static std::unique_ptr<LoadRun> with_bare_loop(const Programs& programs);

  const ServerProcess& server() const { return server_; }

  /// Opens sessions until there are `count`, `at_once` at a time, each with a live agent. Returns
  /// the seconds it took.
  double open_sessions(std::size_t count, std::size_t at_once);
  /// Attaches a reader to a session and waits for the stream to begin.
  void add_reader(std::size_t session);
  /// One reader for each session that has none.
  void add_readers();
  /// Prompts each session with "flood COUNT RATE" (`count_of` tells COUNT, 0: not this one) and
  /// waits until all readers have all updates. With `sample_rss`, memory is looked at every 20 ms.
  FloodResult flood(const std::function<std::size_t(std::size_t session)>& count_of, int rate,
                    bool sample_rss = false);
  /// Runs the loop for a while.
  void pause(int milliseconds);
  /// The body of a GET.
  std::string get(const std::string& path);
  static std::string session_name(std::size_t session);

 private:
  LoadRun(std::vector<std::string> command, const std::string& config, bool has_turns);
  void call_all(std::size_t first, std::size_t count, std::size_t at_once,
                const std::function<bool(HttpLane&, std::size_t item, int step)>& next);
  HttpLane& lane(std::size_t index);

  struct Reader {
    std::size_t session;
    std::unique_ptr<SseClient> client;
  };

  ServerProcess server_;
  bool has_turns_;  // answers when a turn has ended, and says so on the stream
  Poller poller_;
  ReaderTotals totals_;
  std::vector<std::unique_ptr<HttpLane>> lanes_;
  std::vector<Reader> readers_;
  std::size_t sessions_ = 0;
};

}  // namespace berth::bench
