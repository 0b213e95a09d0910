#include "sse_client.h"

#include "http_lane.h"

#include <sys/socket.h>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <vector>

namespace berth::bench {

namespace {

constexpr std::string_view kTextMark = "\"text\":\"@";
// Of the agent's text (bench/agents/flood_agent.cc): what stands before the filler, which repeats.
constexpr std::size_t kHeaderBytes = 40;
constexpr std::size_t kTextBytes = 300;
constexpr std::string_view kFiller = "the quick brown fox ";

std::vector<char>& hot_buffer() {
  static std::vector<char> buffer(256 * 1024);
  return buffer;
}

/// What every update's text ends with.
std::string_view filler() {
  static const std::string text = [] {
    std::string made;
    for (std::size_t i = kHeaderBytes; i < kTextBytes; ++i) made += kFiller[i % kFiller.size()];
    return made;
  }();
  return text;
}

}  // namespace

SseClient::SseClient(Poller& poller, ReaderTotals& totals, const Host& host, std::uint16_t port,
                     const std::string& token, const std::string& session)
    : totals_(totals), host_(host), session_(session), fd_(connect_to(port)) {
  const std::string request = "GET " + host.events_path(session) +
                              " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + token +
                              "\r\nAccept: text/event-stream\r\n\r\n";
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
  next_number_ = 0;
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
  if (head_seen_) {
    chunked_ ? take_chunks(fresh) : take_bytes(fresh);
    return;
  }
  carry_ += fresh;
  take_head();
}

void SseClient::take_head() {
  const std::size_t end = carry_.find("\r\n\r\n");
  if (end == std::string::npos) return;
  if (!carry_.starts_with("HTTP/1.1 200")) wrong("no stream", carry_);
  head_seen_ = true;
  const std::string head = carry_.substr(0, end + 2);
  chunked_ = head.find("ncoding: chunked\r\n") != std::string::npos;
  const std::string rest = carry_.substr(end + 4);
  carry_.clear();
  chunked_ ? take_chunks(rest) : take_bytes(rest);
}

/// Takes the framing of chunks away.
void SseClient::take_chunks(std::string_view bytes) {
  while (!bytes.empty()) {
    if (chunk_left_ == 0) {
      const std::size_t end = bytes.find('\n');
      size_line_ += bytes.substr(0, end);
      if (end == std::string_view::npos) return;
      bytes.remove_prefix(end + 1);
      chunk_left_ = std::strtoul(size_line_.c_str(), nullptr, 16) + 2;
      size_line_.clear();
      if (chunk_left_ == 2) wrong("the stream ended", {});
      continue;
    }
    const std::size_t taken = std::min(chunk_left_, bytes.size());
    const std::size_t text = chunk_left_ > 2 ? std::min(chunk_left_ - 2, taken) : 0;
    if (text > 0) take_bytes(bytes.substr(0, text));
    bytes.remove_prefix(taken);
    chunk_left_ -= taken;
  }
}

void SseClient::take_bytes(std::string_view fresh) {
  if (carry_.empty()) {
    carry_ = fresh.substr(take_frames(fresh));
    return;
  }
  carry_ += fresh;
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
  if (host_.must_be_exact()) {
    if (frame.starts_with(": hb") || frame.starts_with("retry: ")) return;
    take_id(frame);
  }
  switch (host_.kind_of(frame)) {
    case FrameKind::update: {
      const std::size_t mark = frame.find(kTextMark);
      if (mark == std::string_view::npos) {
        ++totals_.unnumbered;
      } else {
        take_text(frame.substr(mark + kTextMark.size() - 1));
      }
      return;
    }
    case FrameKind::turn_end:
      ++totals_.turns_ended;
      totals_.last_end_ns = read_at_;
      next_number_ = 0;
      return;
    case FrameKind::change:
      ++totals_.changes;
      totals_.last_change_ns = read_at_;
      return;
    case FrameKind::other:
      return;
  }
}

void SseClient::take_id(std::string_view frame) {
  if (!frame.starts_with("id: ")) wrong("unexpected frame", frame);
  std::uint64_t seq = 0;
  std::from_chars(frame.data() + 4, frame.data() + frame.size(), seq);
  if (seq != last_seq_ + 1) wrong("gap or duplicate", frame);
  last_seq_ = seq;
}

/// `text`: from the first "@" on. berth may have joined several updates.
void SseClient::take_text(std::string_view text) {
  take_update(text);
  for (text.remove_prefix(std::min(kTextBytes, text.size())); text.starts_with('@');
       text.remove_prefix(std::min(kTextBytes, text.size()))) {
    take_update(text);
  }
  if (!text.starts_with('"'))
    wrong("the text of an update is longer than what the agent wrote", text);
}

/// `text`: from the "@" on.
void SseClient::take_update(std::string_view text) {
  const char* end = text.data() + text.size();
  std::int64_t sent = 0;
  std::uint64_t number = 0;
  const char* colon = std::from_chars(text.data() + 1, end, sent).ptr;
  std::from_chars(colon + 1, end, number);
  if (text.substr(std::min(kHeaderBytes, text.size()), filler().size()) != filler()) {
    wrong("the text of an update is not what the agent wrote", text);
  }
  if (number != next_number_) {
    if (host_.must_be_exact()) wrong("an update is lost or out of order", text);
    if (number < next_number_) {
      ++totals_.disordered;
      return;
    }
    totals_.lost += number - next_number_;
  }
  next_number_ = number + 1;
  ++updates_;
  ++totals_.updates;
  totals_.last_read_ns = read_at_;
  totals_.last_sent_ns = sent;
  totals_.delay.add(read_at_ - sent);
  delay_sum_ns_ += static_cast<double>(read_at_ - sent);
}

void SseClient::wrong(const char* what, std::string_view frame) const {
  throw Fatal(std::string(host_.name()) + ", session " + session_ + " after event " +
              std::to_string(last_seq_) + ": " + what + ": " + std::string(frame.substr(0, 300)));
}

}  // namespace berth::bench
