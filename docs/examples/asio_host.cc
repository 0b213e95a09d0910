// berth as a guest of an Asio program: its engine runs in the program's own io_context, on the one
// thread that there is.
#include <berth/core/scope.h>
#include <berth/io/asio_reactor.h>
#include <berth/io/awaitables.h>
#include <berth/io/stream.h>

#include <unistd.h>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

using berth::Result;
using berth::Task;
namespace io = berth::io;
using namespace std::chrono_literals;

namespace {

/// What the host does: a timer of its own that goes off some times.
class Ticks {
 public:
  Ticks(asio::io_context& context, int count) : timer_(context), left_(count) { next(); }

 private:
  void next() {
    if (left_-- == 0) return;
    timer_.expires_after(3ms);
    timer_.async_wait([this](asio::error_code error) {
      if (error) return;
      std::printf("host: tick\n");
      next();
    });
  }
  asio::steady_timer timer_;
  int left_;
};

/// What berth does: reads a pipe between sleeps.
Task<void> work(io::Reactor* reactor, io::ByteStream* pipe) {
  for (;;) {
    const Result<std::string_view> bytes = co_await pipe->read();
    if (!bytes.has_value() || bytes->empty()) break;
    std::printf("berth: %s\n", std::string(*bytes).c_str());
    co_await io::Sleep(*reactor, reactor->clock().now() + 5ms);
  }
  co_await pipe->close();
}

}  // namespace

// [asio-host]
int main() {
  asio::io_context context;
  Ticks ticks(context, 3);

  // Its turns are handlers of this context, between the host's own. It needs no run() of its own,
  // and keeps context.run() going while an operation is started or a timer armed.
  const auto reactor = io::make_asio_reactor(context);
  if (!reactor.has_value()) {
    std::fprintf(stderr, "%s\n", reactor.error().message.c_str());
    return 1;
  }
  int ends[2];
  if (::pipe(ends) != 0 || ::write(ends[1], "bytes of a pipe", 15) != 15) return 1;
  ::close(ends[1]);
  const auto pipe = io::make_stream(**reactor, (*reactor)->adopt(ends[0]).value());
  berth::Scope scope(**reactor);
  scope.spawn(work(reactor->get(), pipe.get()));

  context.run();
  std::printf("nothing left to do\n");
  return 0;
}
// [asio-host]
