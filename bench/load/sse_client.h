// bench/load/sse_client.h — a reader of one session's stream that checks every event.
#pragma once

#include "histogram.h"
#include "poller.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::bench {

/// What the readers of a run saw together.
struct ReaderTotals {
  Histogram delay;  ///< From the agent's write to this program's read.
  std::uint64_t updates = 0;
  std::uint64_t bytes = 0;
  std::uint64_t turns_ended = 0;
};

/// Ends the program at the first gap, duplicate or foreign byte: a faster wrong answer is no
/// figure.
class SseClient final : private Poller::Handler {
 public:
  SseClient(Poller& poller, ReaderTotals& totals, std::uint16_t port, const std::string& token,
            const std::string& session);
  ~SseClient();
  SseClient(const SseClient&) = delete;
  SseClient& operator=(const SseClient&) = delete;

  /// True once the server has answered and its stream began.
  bool streaming() const { return head_seen_; }
  /// Updates since begin_turn().
  std::uint64_t updates() const { return updates_; }
  double mean_delay_ns() const;
  void begin_turn();

 private:
  void on_ready(std::uint32_t events) override;
  std::size_t take_frames(std::string_view bytes);
  void take_frame(std::string_view frame);
  void take_update(std::string_view frame);
  [[noreturn]] void wrong(const char* what, std::string_view frame) const;

  ReaderTotals& totals_;
  std::string session_;
  int fd_;
  bool head_seen_ = false;
  std::string carry_;
  std::int64_t read_at_ = 0;
  std::uint64_t last_seq_ = 0;
  std::uint64_t updates_ = 0;
  double delay_sum_ns_ = 0;
};

}  // namespace berth::bench
