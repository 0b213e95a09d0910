// bench/load/load_run.h — one server, its sessions and its readers, driven from one thread.
#pragma once

#include "cpu_window.h"
#include "host.h"
#include "http_lane.h"
#include "poller.h"
#include "server_process.h"
#include "sse_client.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace berth::bench {

/// What one flood cost.
struct FloodResult {
  double seconds = 0;     ///< From the first prompt to the last update that was read.
  double cpu_us = 0;      ///< Of the server alone.
  double helpers_us = 0;  ///< Of its helper processes.
  double agents_us = 0;
  double client_us = 0;  ///< Of this program.
  double delivered = 0;  ///< Updates that reached readers.
  double lost = 0;       ///< Updates that did not.
  double bytes = 0;      ///< That came to them, everything counted.
  double disordered = 0;
  double p50_us = 0;
  double p99_us = 0;
  double unfairness = 0;    ///< The slowest session's mean delay over the median's.
  double rss_peak_mib = 0;  ///< When sampled.

  double cpu_per_update() const { return cpu_us / delivered; }
  double rate() const { return delivered / seconds; }
};

class LoadRun {
 public:
  /// Starts a server of `host`; `limits` are lines of berth's table [limits]. Both references
  /// outlive the run.
  LoadRun(const Host& host, const Programs& programs, const std::string& limits = {});

  ServerProcess& server() { return server_; }
  const Host& host() const { return host_; }
  const ReaderTotals& totals() const { return totals_; }

  /// Opens sessions until there are `count`, `at_once` at a time, each with a live agent. Returns
  /// the seconds it took.
  double open_sessions(std::size_t count, std::size_t at_once);
  /// Attaches a reader to a session and waits for the stream to begin.
  SseClient& add_reader(std::size_t session);
  /// One reader for each session that has none.
  void add_readers();
  void drop_readers() { readers_.clear(); }
  /// Prompts each session with "flood COUNT RATE" (`count_of` tells COUNT, 0: not this one) and
  /// waits until all readers have all updates, or, if the host may lose some, until nothing comes
  /// any more. With `sample_rss`, memory is looked at every 20 ms.
  FloodResult flood(const std::function<std::size_t(std::size_t session)>& count_of, int rate,
                    bool sample_rss = false);
  /// Prompts one session and does not wait for its turn.
  void prompt(std::size_t session, const std::string& text);
  /// Runs the loop until `done`; false when that took longer.
  bool run_until(const std::function<bool()>& done, int timeout_ms);
  void pause(int milliseconds);
  /// The body of a GET.
  std::string get(const std::string& path);
  /// Makes `calls`, `at_once` at a time; ends the program when one is refused.
  void make_calls(const std::vector<Call>& calls, std::size_t at_once);
  /// Ends the server; readers and connections are gone. `hard`: by SIGKILL.
  void stop(bool hard = false);
  /// Starts it again, on what it has kept.
  void start_again() { server_.start_again(); }
  /// There are so many sessions that nobody opened here.
  void assume_sessions(std::size_t count) { sessions_ = count; }
  /// The updates that the readers have, in their order.
  std::vector<std::uint64_t> updates_of_readers() const;
  /// Puts a new reader in the place of one, and waits until it has read so many updates.
  void replace_reader(std::size_t index, std::uint64_t updates);
  static std::string session_name(std::size_t session);

 private:
  void call_all(std::size_t first, std::size_t count, std::size_t at_once,
                const std::function<bool(HttpLane&, std::size_t item, int step)>& next);
  std::vector<HttpLane*> idle_lanes(std::size_t count);
  void prompt_all(const std::vector<std::size_t>& sessions,
                  const std::function<std::string(std::size_t)>& text_of);
  bool gave_up(std::uint64_t turns, std::int64_t now) const;
  void wait_for_updates(std::uint64_t wanted, std::uint64_t turns, std::int64_t& rss_peak,
                        bool sample_rss);

  struct Reader {
    std::size_t session;
    std::unique_ptr<SseClient> client;
  };

  const Host& host_;
  const Programs& programs_;
  ServerProcess server_;
  Poller poller_;
  ReaderTotals totals_;
  std::vector<std::unique_ptr<HttpLane>> lanes_;
  std::vector<Reader> readers_;
  std::size_t sessions_ = 0;
};

/// Sends a call on a lane that is not busy.
void send_call(HttpLane& lane, const Call& call);

}  // namespace berth::bench
