#include "whole_server.h"

#include "model_workspaces.h"
#include "path.h"

#include <berth/io/awaitables.h>
#include <berth/io/stream.h>
#include <berth/server/app.h>
#include <berth/server/store/sim_vfs.h>
#include <berth/server/store/sqlite_store.h>

#include <charconv>
#include <utility>

namespace berth::bench {

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;

constexpr const char* kState = "/state";
constexpr const char* kToken = "bt_simulated_token_of_the_count";
constexpr const char* kAddress = "127.0.0.1:8420";
constexpr std::uint64_t kStepsMax = 100'000'000;
constexpr std::size_t kWriteBytes = 32 * 1024;

// --- the agent ---

std::string update_line(const std::string& session) {
  std::string text;
  while (text.size() < 300) text += "the quick brown fox ";
  return R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":")" + session +
         R"(","update":{"sessionUpdate":"agent_message_chunk","messageId":)"
         R"("msg_00000000000000000001","content":{"type":"text","text":")" +
         text + "\"}}}}\n";
}

/// The number behind `key`, which berth writes exactly so.
std::uint64_t number_after(std::string_view text, std::string_view key) {
  std::uint64_t number = 0;
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return 0;
  const char* begin = text.data() + at + key.size();
  std::from_chars(begin, text.data() + text.size(), number);
  return number;
}

Task<void> flood(io::SimProcess* process, io::ByteStream* stream, std::string line,
                 std::uint64_t count, std::chrono::microseconds period) {
  if (period.count() > 0) {
    for (; count > 0; --count) {
      const bool slept = co_await io::Sleep(process->reactor(), process->clock().now() + period,
                                            process->stop_token());
      if (!slept) co_return;
      static_cast<void>(co_await stream->write(line));
    }
    co_return;
  }
  const std::uint64_t lines_at_once = kWriteBytes / line.size();
  std::string lines;
  for (std::uint64_t i = 0; i < lines_at_once; ++i) lines += line;
  for (std::uint64_t left = count; left > 0;) {
    const std::uint64_t now = std::min(left, lines_at_once);
    left -= now;
    static_cast<void>(co_await stream->write(std::string_view(lines).substr(0, now * line.size())));
  }
}

Task<void> serve_line(io::SimProcess* process, io::ByteStream* stream, std::string request) {
  const std::string session = "flood-" + std::to_string(process->id().pid);
  const std::string id = std::to_string(number_after(request, "\"id\":"));
  std::string result = R"({"stopReason":"end_turn"})";
  if (request.find("\"initialize\"") != std::string::npos) {
    result = R"({"protocolVersion":1,"agentCapabilities":{"loadSession":false}})";
  } else if (request.find("\"session/new\"") != std::string::npos) {
    result = R"({"sessionId":")" + session + "\"}";
  } else if (const std::size_t order = request.find("flood "); order != std::string::npos) {
    const std::string_view words = std::string_view(request).substr(order);
    const std::uint64_t count = number_after(words, "flood ");
    const std::uint64_t period = number_after(words, std::to_string(count) + " every ");
    co_await flood(process, stream, update_line(session), count, std::chrono::microseconds(period));
  }
  const std::string answer = R"({"jsonrpc":"2.0","id":)" + id + R"(,"result":)" + result + "}\n";
  static_cast<void>(co_await stream->write(answer));
}

Task<int> flood_program(io::SimProcess& process) {
  const std::unique_ptr<io::ByteStream> stream =
      io::make_duplex_stream(process.reactor(), process.stdin_handle, process.stdout_handle);
  std::string input;
  for (;;) {
    Result<std::string_view> bytes = co_await stream->read();
    if (!bytes.has_value() || bytes->empty()) break;
    input += *bytes;
    for (std::size_t end = input.find('\n'); end != std::string::npos; end = input.find('\n')) {
      std::string line = input.substr(0, end);
      input.erase(0, end + 1);
      if (line.find("\"id\":") != std::string::npos) {
        co_await serve_line(&process, stream.get(), std::move(line));
      }
    }
  }
  co_await stream->close();
  co_return 0;
}

server::Config make_config() {
  server::Config config;
  config.state_directory = kState;
  config.listen = kAddress;
  server::AgentProfile profile;
  profile.name = "flood";
  profile.command = "flood";
  config.agents.emplace(profile.name, profile);
  return config;
}

}  // namespace

struct WholeServer::Life {
  explicit Life(io::SimMachine& machine)
      : platform(machine, "server"),
        vfs("instructions", std::make_shared<server::DiskImage>(), platform.random(),
            machine.clock()),
        store({"/berth.db", vfs.name(), server::Durability::process}),
        workspaces(platform, kState),
        app(platform, store, workspaces, make_config(), log),
        scope(platform.reactor()) {
    scope.spawn(serve(this));
  }
  static Task<void> serve(Life* life) {
    Result<void> started = co_await life->app.start(life->stop.token());
    if (!started.has_value()) wrong(started.error().message);
    life->listens = true;
    co_await life->app.serve(life->stop.token());
  }

  NullLog log;
  io::SimPlatform platform;
  server::SimVfs vfs;
  server::SqliteStore store;
  sim_test::ModelWorkspaces workspaces;
  server::App app;
  StopSource stop;
  bool listens = false;
  Scope scope;
};

WholeServer::WholeServer() : origin_{{kAddress}, kAddress} {
  machine_.add_program("flood", flood_program);
  io::SimDisk& disk = machine_.disk();
  BERTH_ASSERT(disk.make_directories(kState, 0700).has_value());
  BERTH_ASSERT(disk.write(std::string(kState) + "/token", kToken, 0600).has_value());
  life_ = std::make_unique<Life>(machine_);
  machine_.run_until([this] { return life_->listens; }, minutes(1), kStepsMax);
  client_ = io::make_http_client(clients_, origin_);
}

WholeServer::~WholeServer() {
  clients_stop_.request_stop();
  machine_.run_task(clients_, client_->close());
  machine_.run_until([this] { return readers_.size() == 0; }, minutes(1), kStepsMax);
  life_->stop.request_stop();
  machine_.run_until([this] { return life_->scope.size() == 0; }, minutes(10), kStepsMax);
}

Task<void> WholeServer::fetch(io::HttpClient* client, io::HttpClientRequest request,
                              io::HttpClientResponse* answer) {
  Result<io::HttpClientResponse> got = co_await client->fetch(std::move(request));
  if (!got.has_value()) wrong(got.error().message);
  if (got->status / 100 != 2) wrong(got->body);
  *answer = std::move(*got);
}

io::HttpClientResponse WholeServer::call(std::string method, std::string path, std::string body) {
  io::HttpClientRequest request;
  request.method = std::move(method);
  request.target = std::move(path);
  request.headers = {{"Authorization", std::string("Bearer ") + kToken}, {"Prefer", "wait=600"}};
  request.body = std::move(body);
  io::HttpClientResponse answer;
  Scope scope(clients_);
  scope.spawn(fetch(client_.get(), std::move(request), &answer));
  machine_.run_until([&scope] { return scope.size() == 0; }, minutes(10), kStepsMax);
  if (scope.size() != 0) wrong("a request got no answer");
  return answer;
}

void WholeServer::prompt(const std::string& session, const std::string& text) {
  const io::HttpClientResponse answer =
      call("POST", "/v1/sessions/" + session + "/turns", R"({"prompt":")" + text + "\"}");
  if (answer.body.find(R"("state":"completed")") == std::string::npos) wrong(answer.body);
}

Task<void> WholeServer::read_stream(WholeServer* server, std::string path) {
  const auto client = io::make_http_client(server->clients_, server->origin_);
  io::HttpClientRequest request;
  request.target = std::move(path);
  request.headers = {{"Authorization", std::string("Bearer ") + kToken},
                     {"Accept", "text/event-stream"}};
  const StopToken stop = server->clients_stop_.token();
  Result<io::HttpClientResponse> head =
      co_await client->begin(std::move(request), TimePoint::max(), stop);
  if (!head.has_value() || head->status != 200) wrong("no stream");
  ++server->streaming_;
  for (;;) {
    Result<std::string_view> bytes = co_await client->read_body(TimePoint::max(), stop);
    if (!bytes.has_value() || bytes->empty()) break;
    server->bytes_read_ += bytes->size();
  }
  co_await client->close();
}

void WholeServer::follow(const std::string& path) {
  const std::size_t wanted = streaming_ + 1;
  readers_.spawn(read_stream(this, path));
  machine_.run_until([this, wanted] { return streaming_ == wanted; }, minutes(1), kStepsMax);
}

std::uint64_t WholeServer::bytes_read() {
  machine_.run_for(milliseconds(50));
  return bytes_read_;
}

}  // namespace berth::bench
