// A program of somebody else's: it sees the installed tree only.
#include <berth/core/scope.h>
#include <berth/core/version.h>
#include <berth/io/awaitables.h>
#include <berth/io/platform_linux.h>
#include <berth/io/stream.h>

#include <unistd.h>
#include <cstdio>
#include <string>

namespace {

using berth::Result;
using berth::Task;

Task<void> echo(berth::io::Reactor* reactor, int read_fd, int write_fd, std::string* heard) {
  auto stream = berth::io::make_duplex_stream(*reactor, read_fd, write_fd);
  const Result<void> written = co_await stream->write("through a pipe");
  if (written.has_value()) {
    const Result<std::string_view> bytes = co_await stream->read();
    if (bytes.has_value()) *heard = std::string(*bytes);
  }
  co_await stream->close();
  co_await berth::io::Sleep(*reactor, reactor->clock().now() + std::chrono::milliseconds(1));
  reactor->stop();
}

}  // namespace

int main() {
  berth::NullLog log;
  auto platform = berth::io::make_linux_platform(log, {});
  if (!platform.has_value()) {
    std::fprintf(stderr, "%s\n", platform.error().message.c_str());
    return 1;
  }
  berth::io::Reactor& reactor = (*platform)->reactor();
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  const Result<berth::io::Handle> read_end = reactor.adopt(ends[0]);
  const Result<berth::io::Handle> write_end = reactor.adopt(ends[1]);
  if (!read_end.has_value() || !write_end.has_value()) return 1;
  std::string heard;
  berth::Scope scope(reactor);
  scope.spawn(echo(&reactor, *read_end, *write_end, &heard));
  reactor.run();
  std::printf("%s %s\n", berth::kVersion, heard.c_str());
  return 0;
}
