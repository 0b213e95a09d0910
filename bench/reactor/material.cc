#include "material.h"

#include "lane.h"

#include <berth/core/prng.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cstring>

namespace berth::bench {

namespace {

constexpr std::size_t kLineMin = 200;
constexpr std::size_t kLineMax = 2048;
constexpr std::size_t kLines = 997;  // a prime: each pipe gets another line in each pass

std::string chunk_line(std::size_t size) {
  const std::string head =
      R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s-0123456789abcdef",)"
      R"("update":{"sessionUpdate":"agent_message_chunk","messageId":"m-0123",)"
      R"("content":{"type":"text","text":")";
  const std::string tail = "\"}}}}\n";
  std::string text;
  while (head.size() + text.size() + tail.size() < size) {
    text +=
        text.size() % 40 == 38 && head.size() + text.size() + tail.size() + 2 <= size ? "\\n" : "x";
  }
  return head + text + tail;
}

}  // namespace

Pipes::Pipes(const Scenario& scenario) : scenario_(scenario), pipes_(scenario.size) {
  Prng random(1);
  for (std::size_t i = 0; i < kLines; ++i) {
    lines_.push_back(chunk_line(kLineMin + random.below(kLineMax - kLineMin + 1)));
  }
  for (Pipe& pipe : pipes_) {
    std::array<int, 2> ends = {};
    check(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) == 0, "pipe2");
    pipe = Pipe{ends[0], ends[1]};
  }
}

Pipes::~Pipes() {
  for (const Pipe& pipe : pipes_) {
    if (pipe.reader >= 0) ::close(pipe.reader);
    ::close(pipe.writer);
  }
}

void Pipes::write_lines() {
  const std::size_t stride = scenario_.size / scenario_.active;
  written_.clear();
  for (std::size_t i = 0; i < scenario_.active; ++i) {
    const std::string& line = lines_[(pass_ + i) % lines_.size()];
    const std::size_t which = (pass_ + i * stride) % pipes_.size();
    const Pipe& pipe = pipes_[which];
    written_.push_back(which);
    check(::write(pipe.writer, line.data(), line.size()) == static_cast<ssize_t>(line.size()),
          "writing a line");
  }
  ++pass_;
}

void LineReader::feed(std::string_view bytes) {
  if (work_.parse) return framer_.feed(bytes);
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    if (end == std::string_view::npos) return;
    ++work_.lines;
    bytes.remove_prefix(end + 1);
  }
}

void LineReader::on_line(Line& line) {
  const ScanResult found = work_.scanner.scan_line(line.text());
  check(found.has_value() && !found->method.empty() && !found->session_id.empty() &&
            !found->update_kind.empty() && !found->message_id.empty(),
        "a line was not understood");
  ++work_.lines;
}

void LineReader::on_overlong(std::uint64_t, std::string_view) {
  check(false, "a line was too long");
}

TcpSockets::TcpSockets(std::size_t count) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(sa_family_t) + 14;
  reinterpret_cast<sockaddr*>(&address)->sa_family = AF_INET;
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
  check(::listen(listener, 128) == 0, "listen");
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  for (std::size_t i = 0; i < count; ++i) {
    far_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    check(::connect(far_.back(), reinterpret_cast<sockaddr*>(&address), size) == 0, "connect");
    near_.push_back(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    check(near_.back() >= 0, "accept");
    // As every server of events sets it; without, the kernel holds back all but the first.
    const int on = 1;
    check(::setsockopt(near_.back(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "setsockopt");
  }
  ::close(listener);
}

TcpSockets::~TcpSockets() {
  for (const int fd : near_) ::close(fd);
  for (const int fd : far_) ::close(fd);
}

void TcpSockets::drain(std::size_t bytes) {
  std::array<char, 16 * 1024> buffer;
  check(bytes <= buffer.size(), "draining");
  for (const int fd : far_) {
    check(::recv(fd, buffer.data(), bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes), "recv");
  }
}

std::array<int, 2> make_socket_pair() {
  std::array<int, 2> ends = {};
  check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0,
        "socketpair");
  return ends;
}

std::vector<long> timer_moments(std::size_t count, long span_ns, unsigned seed) {
  Prng random(seed);
  std::vector<long> moments(count);
  for (long& moment : moments) {
    moment = static_cast<long>(random.below(static_cast<std::uint64_t>(span_ns)));
  }
  return moments;
}

}  // namespace berth::bench
