// bench/load/bare_loop.cc — the least that a server could do for berth's streams, as a measure for
// it.
//
// Plain epoll and read(2), berth's JSON scanner on every line, the bytes kept until each reader has
// them, one write(2) per reader for all that one round of the loop gave it. No log, no turns, no
// HTTP beyond cutting requests at their blank line. Understands just what berth-bench sends: POST
// /v1/sessions, POST /v1/sessions/ID/turns, GET /v1/sessions/ID/events.
//
//   berth-bare-loop AGENT
#include <berth/core/json_scan.h>

#include "agent_pipes.h"
#include "poller.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using berth::JsonScanner;
using berth::bench::AgentPipes;
using berth::bench::die;
using berth::bench::Poller;
using berth::bench::start_agent;

constexpr std::size_t kReadBytes = 64 * 1024;

class Agent;
class Connection;

/// What all share.
struct World {
  std::string agent_program;
  Poller poller;
  JsonScanner scanner;
  std::vector<char> hot = std::vector<char>(kReadBytes + 64);
  std::map<std::string, std::unique_ptr<Agent>, std::less<>> agents;
  std::vector<Connection*> dirty;  // have bytes to write since this round began
};

/// A client: its requests, and the bytes that it has not taken yet.
class Connection final : public Poller::Handler {
 public:
  Connection(World& world, int fd) : world_(world), fd_(fd) {
    world.poller.add(fd, EPOLLIN, *this);
  }
  void append(std::string_view bytes) {
    out_ += bytes;
    if (dirty_ || waiting_) return;
    dirty_ = true;
    world_.dirty.push_back(this);
  }
  void flush() {
    dirty_ = false;
    const ssize_t written = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (written > 0) out_.erase(0, static_cast<std::size_t>(written));
    const bool must_wait = !out_.empty();
    if (must_wait != waiting_) {
      waiting_ = must_wait;
      world_.poller.change(fd_, must_wait ? EPOLLIN | EPOLLOUT : EPOLLIN, *this);
    }
  }

 private:
  void on_ready(std::uint32_t events) override;
  void serve(std::string_view request);

  World& world_;
  int fd_;
  bool dirty_ = false;
  bool waiting_ = false;
  std::string in_;
  std::string out_;
};

/// An agent's process and those who watch it.
class Agent final : public Poller::Handler {
 public:
  explicit Agent(World& world) : world_(world), pipes_(start_agent(world.agent_program)) {
    ::fcntl(pipes_.from_stdout, F_SETFL, O_NONBLOCK);
    world_.poller.add(pipes_.from_stdout, EPOLLIN, *this);
  }
  void prompt(std::string_view text) {
    say(R"({"jsonrpc":"2.0","id":3,"method":"session/prompt","params":{"prompt":")" +
        std::string(text) + "\"}}\n");
  }
  std::vector<Connection*> readers;

 private:
  void say(const std::string& line) {
    if (::write(pipes_.to_stdin, line.data(), line.size()) < 0) die("write to an agent");
  }
  void on_ready(std::uint32_t) override {
    const ssize_t got = ::read(pipes_.from_stdout, world_.hot.data(), kReadBytes);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) die("an agent ended");
    std::string_view bytes(world_.hot.data(), static_cast<std::size_t>(got));
    for (std::size_t end = 0; (end = bytes.find('\n')) != std::string_view::npos;) {
      if (carry_.empty()) {
        take(bytes.substr(0, end));
      } else {
        carry_ += bytes.substr(0, end);
        carry_.reserve(carry_.size() + 64);
        take(carry_);
        carry_.clear();
      }
      bytes.remove_prefix(end + 1);
    }
    carry_ += bytes;
  }
  void take(std::string_view line) {
    const berth::ScanResult scanned = world_.scanner.scan_line(line);
    if (!scanned.has_value()) die("an agent says what is no JSON-RPC");
    if (scanned->update.empty()) return;
    char head[64];
    const int size =
        std::snprintf(head, sizeof head,
                      "id: %llu\nevent: update\ndata: ", static_cast<unsigned long long>(++seq_));
    for (Connection* reader : readers) {
      reader->append({head, static_cast<std::size_t>(size)});
      reader->append(scanned->update);
      reader->append("\n\n");
    }
  }

  World& world_;
  AgentPipes pipes_;
  std::string carry_;
  std::uint64_t seq_ = 0;
};

void Connection::on_ready(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) flush();
  if ((events & ~std::uint32_t{EPOLLOUT}) == 0) return;
  const ssize_t got = ::read(fd_, world_.hot.data(), kReadBytes);
  if (got <= 0) {
    if (got == 0) world_.poller.change(fd_, 0, *this);  // only when the load program ends
    return;
  }
  in_.append(world_.hot.data(), static_cast<std::size_t>(got));
  const std::size_t head = in_.find("\r\n\r\n");
  if (head == std::string::npos) return;
  serve(in_);  // berth-bench sends a request in one piece and waits for its answer
  in_.clear();
}

void Connection::serve(std::string_view request) {
  const std::string_view path = request.substr(request.find(' ') + 1);
  constexpr std::string_view kSessions = "/v1/sessions";
  constexpr std::string_view kDone = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  const auto between = [](std::string_view text, std::string_view left, char right) {
    const std::size_t begin = text.find(left) + left.size();
    return text.substr(begin, text.find(right, begin) - begin);
  };
  if (path.substr(kSessions.size(), 1) == " ") {
    const std::string id(between(request, "\"id\":\"", '"'));
    world_.agents.emplace(id, std::make_unique<Agent>(world_));
    return append(kDone);
  }
  Agent& agent = *world_.agents.find(path.substr(13, path.find("/", 13) - 13))->second;
  if (request.starts_with("GET")) {
    append("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    agent.readers.push_back(this);
  } else {
    agent.prompt(between(request, "\"prompt\":\"", '"'));
    append(kDone);
  }
}

class Listener final : public Poller::Handler {
 public:
  explicit Listener(World& world)
      : world_(world), fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd_, 1024) != 0) {
      die("listen");
    }
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    std::printf("{\"url\":\"http://127.0.0.1:%d\"}\n", ntohs(address.sin_port));
    std::fflush(stdout);
    world_.poller.add(fd_, EPOLLIN, *this);
  }

 private:
  void on_ready(std::uint32_t) override {
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections_.push_back(std::make_unique<Connection>(world_, fd));
  }

  World& world_;
  int fd_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

[[noreturn]] void serve(const char* agent) {
  World world;
  world.agent_program = agent;
  Listener listener(world);
  for (;;) {
    world.poller.turn(-1);
    for (Connection* connection : std::exchange(world.dirty, {})) connection->flush();
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    if (argc != 2) die("usage: berth-bare-loop AGENT");
    serve(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "berth-bare-loop: %s\n", error.what());
    return 1;
  }
}
