// How to test a server of your own: the line server in the simulator. Each seed is another order of
// things and other misfortunes; a failure prints its seed, and the seed plays it again.
#include "line_server.h"

#include <berth/core/scope.h>
#include <berth/io/http_client.h>
#include <berth/io/sim_platform.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

using berth::Result;
using berth::StopSource;
using berth::StopToken;
using berth::Task;
namespace io = berth::io;

namespace {

constexpr std::uint64_t kSeeds = 200;
constexpr std::size_t kLines = 5;

/// Posts lines, each until it was taken: under faults a connection may be reset, and then nobody
/// knows whether the line was.
Task<void> post_lines(io::Reactor* reactor, io::HttpOrigin origin) {
  const std::unique_ptr<io::HttpClient> client = io::make_http_client(*reactor, origin, {});
  for (std::size_t i = 0; i < kLines;) {
    io::HttpClientRequest request;
    request.method = "POST";
    request.target = "/lines";
    request.body = "{\"text\":\"line " + std::to_string(i) + "\"}";
    const Result<io::HttpClientResponse> answer = co_await client->fetch(std::move(request));
    if (answer.has_value() && answer->status == 201) ++i;
  }
  co_await client->close();
}

/// What a follower must see: each number once, none left out, whatever happened to its connection.
class Follower final : public berth::SseSink {
 public:
  explicit Follower(StopSource& enough) : enough_(enough) {}
  void on_event(const berth::SseEvent& event) override {
    gapless_ = gapless_ && event.id == std::to_string(seen_ + 1);
    ++seen_;
    if (event.data == "\"line " + std::to_string(kLines - 1) + "\"") enough_.request_stop();
  }
  bool gapless() const { return gapless_; }

 private:
  StopSource& enough_;
  std::size_t seen_ = 0;
  bool gapless_ = true;
};

Task<void> follow(io::Reactor* reactor, io::HttpClient* client, Follower* follower,
                  StopToken enough) {
  io::HttpClientRequest request;
  request.target = "/lines";
  const Result<io::SseFollowEnd> end =
      co_await io::follow_events(reactor, client, std::move(request), {}, follower, enough);
  static_cast<void>(end);
  co_await client->close();
}

// [world]
/// One whole run: a server and two clients on a machine that is a function of its seed.
bool passes(std::uint64_t seed) {
  io::SimMachine machine(seed, io::FaultPlan::hostile());
  io::SimPlatform server(machine, "server");
  io::SimPlatform clients(machine, "clients");
  berth::NullLog log;
  LineServer lines(server.reactor());
  const auto http = io::make_http_server(server.reactor(), lines, log, {});
  const io::Handle listener = server.reactor().listen({"127.0.0.1:80"}).value();
  const io::HttpOrigin origin = io::HttpOrigin::parse("http://127.0.0.1:80").value();
  const auto follower_client = io::make_http_client(clients.reactor(), origin, {});

  StopSource stop;
  StopSource enough;
  Follower follower(enough);
  berth::Scope serving(server.reactor());
  berth::Scope asking(clients.reactor());
  serving.spawn(http->serve(listener, stop.token()));
  asking.spawn(post_lines(&clients.reactor(), origin));
  asking.spawn(follow(&clients.reactor(), follower_client.get(), &follower, enough.token()));
  const auto asked = machine.run_until([&] { return asking.size() == 0; });
  stop.request_stop();
  const auto served = machine.run_until([&] { return serving.size() == 0; });
  return asked == io::SimMachine::Outcome::reached && served == io::SimMachine::Outcome::reached &&
         follower.gapless();
}
// [world]

}  // namespace

int main() {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    if (!passes(seed)) {
      std::printf("seed %llu failed\n", static_cast<unsigned long long>(seed));
      return 1;
    }
  }
  std::printf("%llu seeds passed\n", static_cast<unsigned long long>(kSeeds));
  return 0;
}
