// The line server on this machine: prints where it listens, ends on SIGTERM or SIGINT.
#include "line_server.h"

#include <berth/core/scope.h>
#include <berth/io/platform_linux.h>
#include <berth/io/signals.h>

#include <signal.h>
#include <cstdio>
#include <memory>

namespace io = berth::io;

namespace {

// [log]
/// The library never prints; a program decides where its words go.
class StderrLog final : public berth::LogSink {
 public:
  void write(berth::LogLevel level, std::string_view component, std::string_view message,
             std::string_view /*trace_id*/) override {
    if (level < berth::LogLevel::warning) return;
    std::fprintf(stderr, "%.*s: %.*s\n", static_cast<int>(component.size()), component.data(),
                 static_cast<int>(message.size()), message.data());
  }
};
// [log]

berth::Task<void> serve(io::HttpServer* http, io::Handle listener, berth::StopToken stop,
                        io::Reactor* reactor) {
  co_await http->serve(listener, stop);
  reactor->stop();
}

int complain(const berth::Error& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

}  // namespace

// [main]
int main() {
  // The library installs no signal handlers: a program that wants signals as events says so, before
  // its first thread.
  io::SignalFd signals = io::SignalFd::block({SIGINT, SIGTERM});
  StderrLog log;
  berth::Result<std::unique_ptr<io::Platform>> platform = io::make_linux_platform(log, {});
  if (!platform.has_value()) return complain(platform.error());
  io::Reactor& reactor = (*platform)->reactor();

  const berth::Result<io::Handle> listener = reactor.listen({"127.0.0.1:0"});
  if (!listener.has_value()) return complain(listener.error());
  std::printf("http://%s/lines\n", reactor.local_address(*listener)->text.c_str());
  std::fflush(stdout);

  LineServer lines(reactor);
  const std::unique_ptr<io::HttpServer> http = io::make_http_server(reactor, lines, log, {});
  berth::StopSource stop;
  const berth::Result<void> watching = signals.watch(reactor, [&stop] { stop.request_stop(); });
  if (!watching.has_value()) return complain(watching.error());
  {
    berth::Scope scope(reactor);
    scope.spawn(serve(http.get(), *listener, stop.token(), &reactor));
    reactor.run();
  }
  signals.unwatch();
  reactor.poll();
  return 0;
}
// [main]
