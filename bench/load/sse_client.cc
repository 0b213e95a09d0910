#include "sse_client.h"

#include "http_lane.h"

#include <sys/socket.h>
#include <charconv>
#include <vector>

namespace berth::bench {

namespace {

constexpr std::string_view kTextMark = "\"text\":\"@";

std::vector<char>& hot_buffer() {
  static std::vector<char> buffer(256 * 1024);
  return buffer;
}

}  // namespace

SseClient::SseClient(Poller& poller, ReaderTotals& totals, std::uint16_t port,
                     const std::string& token, const std::string& session)
    : totals_(totals), session_(session), fd_(connect_to(port)) {
  const std::string request = "GET /v1/sessions/" + session +
                              "/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " +
                              token + "\r\nAccept: text/event-stream\r\n\r\n";
  if (::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    die("a stream request does not fit into the socket");
  }
  poller.add(fd_, EPOLLIN, *this);
}

SseClient::~SseClient() {
  ::close(fd_);
}

double SseClient::mean_delay_ns() const {
  return updates_ == 0 ? 0 : delay_sum_ns_ / static_cast<double>(updates_);
}

void SseClient::begin_turn() {
  updates_ = 0;
  delay_sum_ns_ = 0;
}

void SseClient::on_ready(std::uint32_t) {
  std::vector<char>& buffer = hot_buffer();
  const ssize_t got = ::read(fd_, buffer.data(), buffer.size());
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) wrong("the stream ended", {});
  read_at_ = now_ns();
  totals_.bytes += static_cast<std::uint64_t>(got);
  const std::string_view fresh(buffer.data(), static_cast<std::size_t>(got));
  if (carry_.empty() && head_seen_) {
    carry_ = fresh.substr(take_frames(fresh));
    return;
  }
  carry_ += fresh;
  if (!head_seen_) {
    const std::size_t end = carry_.find("\r\n\r\n");
    if (end == std::string::npos) return;
    if (!carry_.starts_with("HTTP/1.1 200")) wrong("no stream", carry_);
    head_seen_ = true;
    carry_.erase(0, end + 4);
  }
  carry_.erase(0, take_frames(carry_));
}

/// Takes the whole frames off the front and says how many bytes they have.
std::size_t SseClient::take_frames(std::string_view bytes) {
  std::size_t taken = 0;
  for (std::size_t line = 0; line < bytes.size();) {
    const std::size_t end = bytes.find('\n', line);
    if (end == std::string_view::npos) break;
    if (end == line) {
      take_frame(bytes.substr(taken, end - taken));
      taken = end + 1;
    }
    line = end + 1;
  }
  return taken;
}

void SseClient::take_frame(std::string_view frame) {
  if (!frame.starts_with("id: ")) {
    if (frame.starts_with(": hb") || frame.starts_with("retry: ")) return;
    wrong("unexpected frame", frame);
  }
  std::uint64_t seq = 0;
  const char* rest = std::from_chars(frame.data() + 4, frame.data() + frame.size(), seq).ptr;
  if (seq != last_seq_ + 1) wrong("gap or duplicate", frame);
  last_seq_ = seq;
  frame.remove_prefix(static_cast<std::size_t>(rest - frame.data()));
  if (frame.starts_with("\nevent: update\n")) {
    take_update(frame);
  } else if (frame.starts_with("\nevent: turn.ended\n")) {
    ++totals_.turns_ended;
  }
}

void SseClient::take_update(std::string_view frame) {
  const std::size_t mark = frame.find(kTextMark);
  if (mark == std::string_view::npos) wrong("an update without its time", frame);
  const char* end = frame.data() + frame.size();
  std::int64_t sent = 0;
  std::uint64_t number = 0;
  const char* colon = std::from_chars(frame.data() + mark + kTextMark.size(), end, sent).ptr;
  std::from_chars(colon + 1, end, number);
  if (number != updates_) wrong("an update is lost or out of order", frame);
  ++updates_;
  ++totals_.updates;
  totals_.delay.add(read_at_ - sent);
  delay_sum_ns_ += static_cast<double>(read_at_ - sent);
}

void SseClient::wrong(const char* what, std::string_view frame) const {
  std::fprintf(stderr, "berth-load: session %s after event %llu: %s: %.*s\n", session_.c_str(),
               static_cast<unsigned long long>(last_seq_), what,
               static_cast<int>(frame.size() < 300 ? frame.size() : 300), frame.data());
  std::exit(1);
}

}  // namespace berth::bench
