#include "path.h"
#include "whole_server.h"

#include <string>

namespace berth::bench {

namespace {

constexpr std::uint64_t kUpdateBytesMin = 300;  // the text of an update, which a reader gets

/// One session whose agent streams, and who reads it.
class Stream final : public Work {
 public:
  Stream(std::size_t readers, std::string path, std::string pace)
      : readers_(readers), pace_(std::move(pace)) {
    server_.call("POST", "/v1/sessions", R"({"id":"one","agent":"flood"})");
    server_.prompt("one", "hello");
    for (std::size_t i = 0; i < readers; ++i) server_.follow(path);
  }
  void run(std::uint64_t times) override {
    const std::uint64_t before = server_.bytes_read();
    server_.prompt("one", "flood " + std::to_string(times) + pace_);
    if (server_.bytes_read() - before < times * readers_ * kUpdateBytesMin) {
      wrong("updates are missing: " + std::to_string(server_.bytes_read() - before));
    }
  }

 private:
  std::size_t readers_;
  std::string pace_;
  WholeServer server_;
};

/// From an agent's pipe to the log and one reader, many at once.
std::unique_ptr<Work> stream_update() {
  return std::make_unique<Stream>(1, "/v1/sessions/one/events", "");
}
/// The same, each on its own: a batch, a commit and a write for it alone.
std::unique_ptr<Work> single_update() {
  return std::make_unique<Stream>(1, "/v1/sessions/one/events", " every 10000");
}
/// The same as stream-update to 16 readers: less it, what 15 deliveries cost.
std::unique_ptr<Work> fan_out_update() {
  return std::make_unique<Stream>(16, "/v1/sessions/one/events", "");
}
std::unique_ptr<Work> multi_stream_update() {
  return std::make_unique<Stream>(16, "/v1/events?sessions=one", "");
}

class GetSession final : public Work {
 public:
  GetSession() { server_.call("POST", "/v1/sessions", R"({"id":"one","agent":"flood"})"); }
  void run(std::uint64_t times) override {
    for (; times > 0; --times) server_.call("GET", "/v1/sessions/one");
  }

 private:
  WholeServer server_;
};
/// Request, route, answer.
std::unique_ptr<Work> get_session() {
  return std::make_unique<GetSession>();
}

class CreateSession final : public Work {
 public:
  void run(std::uint64_t times) override {
    for (; times > 0; --times) {
      const std::string id = "s" + std::to_string(++sessions_);
      server_.call("POST", "/v1/sessions", R"({"id":")" + id + R"(","agent":"flood"})");
      server_.prompt(id, "hello");
    }
  }

 private:
  std::uint64_t sessions_ = 0;
  WholeServer server_;
};
/// With the start of its agent, and a first turn.
std::unique_ptr<Work> create_session() {
  return std::make_unique<CreateSession>();
}

class Turn final : public Work {
 public:
  Turn() { server_.call("POST", "/v1/sessions", R"({"id":"one","agent":"flood"})"); }
  void run(std::uint64_t times) override {
    for (; times > 0; --times) server_.prompt("one", "hello");
  }

 private:
  WholeServer server_;
};
/// Of an agent that lives, without updates.
std::unique_ptr<Work> turn() {
  return std::make_unique<Turn>();
}

}  // namespace

std::vector<Path> server_paths() {
  return {
      {"stream-update", 8'000, stream_update},
      {"single-update", 400, single_update},
      {"fan-out-update", 2'000, fan_out_update},
      {"multi-stream-update", 2'000, multi_stream_update},
      {"get-session", 400, get_session},
      {"create-session", 100, create_session},
      {"turn", 200, turn},
  };
}

}  // namespace berth::bench
