// bench/load/sse_client.h — a reader of one session's stream that checks every event.
#pragma once

#include "histogram.h"
#include "host.h"
#include "poller.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::bench {

/// What the readers of a run saw together.
struct ReaderTotals {
  Histogram delay;  ///< From the agent's write to this program's read.
  std::uint64_t updates = 0;
  std::uint64_t unnumbered = 0;  ///< Updates of other texts.
  std::uint64_t bytes = 0;
  std::uint64_t turns_ended = 0;
  std::uint64_t changes = 0;      ///< Reports of what a turn changed.
  std::uint64_t lost = 0;         ///< Numbers that were jumped over; not those missing at the end.
  std::uint64_t disordered = 0;   ///< Twice, or late.
  std::int64_t last_read_ns = 0;  ///< When the last update came.
  std::int64_t last_sent_ns = 0;  ///< When the agent wrote that one.
  std::int64_t last_change_ns = 0;
  std::int64_t last_end_ns = 0;  ///< When the last end of a turn came.
};

/// Checks number and content of each update. Of a host that must be exact it checks every event's
/// id too, and ends the program at the first gap, duplicate or foreign byte: a faster wrong answer
/// is no figure. Of others it counts.
class SseClient final : private Poller::Handler {
 public:
  SseClient(Poller& poller, ReaderTotals& totals, const Host& host, std::uint16_t port,
            const std::string& token, const std::string& session);
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
  void take_head();
  void take_bytes(std::string_view fresh);
  void take_chunks(std::string_view bytes);
  std::size_t take_frames(std::string_view bytes);
  void take_frame(std::string_view frame);
  void take_id(std::string_view frame);
  void take_text(std::string_view text);
  void take_update(std::string_view text);
  [[noreturn]] void wrong(const char* what, std::string_view frame) const;

  ReaderTotals& totals_;
  const Host& host_;
  std::string session_;
  int fd_;
  bool head_seen_ = false;
  bool chunked_ = false;
  std::size_t chunk_left_ = 0;  // bytes of the chunk that began, its line end included
  std::string size_line_;       // of a chunk, as far as it is here
  std::string carry_;
  std::int64_t read_at_ = 0;
  std::uint64_t last_seq_ = 0;
  std::uint64_t updates_ = 0;
  std::uint64_t next_number_ = 0;
  double delay_sum_ns_ = 0;
};

}  // namespace berth::bench
