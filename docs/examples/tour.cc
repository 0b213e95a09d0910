// The parts that docs/reactor.md walks through, as one program.
#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/io/awaitables.h>
#include <berth/io/platform_linux.h>
#include <berth/io/stream.h>

#include <sys/uio.h>
#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

using berth::Event;
using berth::Result;
using berth::Scope;
using berth::StopSource;
using berth::StopToken;
using berth::Task;
namespace io = berth::io;
using namespace std::chrono_literals;

namespace {

// [task]
/// Lazy: nothing runs before somebody awaits it. What it takes by pointer outlives it.
Task<Result<long>> count_lines(io::ByteStream* stream) {
  long lines = 0;
  for (;;) {
    const Result<std::string_view> bytes = co_await stream->read();
    if (!bytes.has_value()) co_return berth::fail(bytes.error());
    if (bytes->empty()) co_return lines;  // the end of the stream
    lines += std::count(bytes->begin(), bytes->end(), '\n');
  }
}
// [task]

// [scope]
Task<void> count_into(io::ByteStream* stream, long* lines) {
  const Result<long> counted = co_await count_lines(stream);
  if (counted.has_value()) *lines = *counted;
  co_await stream->close();
}

/// Two at once: a scope is the only place where that begins, and it joins them before it ends.
Task<void> count_both(io::Reactor* reactor, io::ByteStream* left, io::ByteStream* right) {
  long left_lines = 0;
  long right_lines = 0;
  Scope scope(*reactor);
  scope.spawn(count_into(left, &left_lines));
  scope.spawn(count_into(right, &right_lines));
  co_await scope.join();
  std::printf("lines: %ld and %ld\n", left_lines, right_lines);
}
// [scope]

// [stop]
/// Ends when it is asked to, not when somebody drops it.
Task<void> tick(io::Reactor* reactor, StopToken stop, int* ticks) {
  while (co_await io::Sleep(*reactor, reactor->clock().now() + 10ms, stop)) ++*ticks;
}

Task<void> tick_for_a_while(io::Reactor* reactor) {
  int ticks = 0;
  Scope scope(*reactor);
  scope.spawn(tick(reactor, scope.stop_token(), &ticks));
  co_await io::Sleep(*reactor, reactor->clock().now() + 55ms);
  scope.request_stop();  // a request; the sleep inside of tick() says false, and it returns
  co_await scope.join();
  std::printf("ticks: %s\n", ticks > 0 ? "some" : "none");
}
// [stop]

// [awaitable]
/// `co_await Written(...)` -> errno: an operation of the reactor as something to await. It lives in
/// the frame of whoever awaits it, which stays until the last callback: that is all it takes.
class Written final : private io::WriteOp, private berth::StopListener {
 public:
  Written(io::Reactor& reactor, io::Handle to, std::string_view bytes, StopToken stop)
      : reactor_(reactor), part_{const_cast<char*>(bytes.data()), bytes.size()}, stop_(stop) {
    handle = to;
    parts = {&part_, 1};
  }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    reactor_.start(*this);
    stop_.listen(*this);
  }
  int await_resume() const noexcept { return error_; }

 private:
  // A request only: on_written() follows, with what the kernel took until then.
  void on_stop() override { reactor_.cancel(*this); }
  void on_written(int error) override {
    StopListener::unlink();
    error_ = error;
    resume_.arm(reactor_, waiting_);  // later in this turn, not inside of the reactor's callback
  }

  io::Reactor& reactor_;
  iovec part_;
  StopToken stop_;
  std::coroutine_handle<> waiting_;
  berth::ResumeLater resume_;
  int error_ = 0;
};
// [awaitable]

Task<void> write_then_read(io::Reactor* reactor) {
  int ends[2];
  if (::pipe(ends) != 0) co_return;
  const io::Handle write_end = reactor->adopt(ends[1]).value();
  const auto reading = io::make_stream(*reactor, reactor->adopt(ends[0]).value());
  const int error = co_await Written(*reactor, write_end, "aye", {});
  reactor->close(write_end);
  const Result<std::string_view> bytes = co_await reading->read();
  if (error == 0 && bytes.has_value()) std::printf("heard: %s\n", std::string(*bytes).c_str());
  co_await reading->close();
}

// [process]
class Ended final : public io::ProcessListener {
 public:
  explicit Ended(berth::Executor& executor) : event(executor) {}
  void on_start_failed(berth::Error error) override {
    std::printf("%s\n", error.message.c_str());
    event.set();
  }
  void on_exit(io::ExitStatus exit) override {
    status = exit;
    event.set();
  }
  Event event;
  io::ExitStatus status;
};

Task<void> ask_child(io::Platform* platform) {
  Ended ended(platform->reactor());
  io::LaunchSpec spec;
  spec.command = "/bin/sh";
  spec.arguments = {"-c", "read -r line; echo \"you said $line\"; exit 3"};
  spec.working_directory = "/";
  spec.tag = "tour";
  Result<std::unique_ptr<io::Process>> child =
      platform->processes().spawn(platform->reactor(), spec, ended);
  if (!child.has_value()) co_return;
  const auto pipes =
      io::make_duplex_stream(platform->reactor(), (*child)->stdout_handle, (*child)->stdin_handle);
  const Result<void> written = co_await pipes->write("ahoy\n");
  if (written.has_value()) {
    const Result<std::string_view> answer = co_await pipes->read();
    if (answer.has_value()) std::printf("%s", std::string(*answer).c_str());
  }
  co_await pipes->close();
  co_await ended.event.wait();  // it has ended, and so has every process that it started
  std::printf("%s\n", io::describe(ended.status).c_str());
}
// [process]

// [offload]
Task<void> do_blocking_work(io::Platform* platform) {
  const auto work = [files = &platform->files()]() -> Result<std::size_t> {
    const Result<std::string> text = files->read("/etc/passwd", 4096);
    if (!text.has_value()) return berth::fail(text.error());
    return text->size();
  };
  const Result<std::size_t> size =
      co_await platform->offload().run(io::Lane::files, platform->reactor(), work);
  std::printf("users: %s\n", size.has_value() ? "read" : size.error().message.c_str());
}
// [offload]

/// A stream over a pipe that holds `text` and then ends.
std::unique_ptr<io::ByteStream> pipe_with(io::Reactor& reactor, std::string_view text) {
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  if (::write(ends[1], text.data(), text.size()) < 0) std::abort();
  ::close(ends[1]);
  return io::make_stream(reactor, reactor.adopt(ends[0]).value());
}

// [whole]
Task<void> tour(io::Platform* platform) {
  io::Reactor* reactor = &platform->reactor();
  const auto left = pipe_with(*reactor, "a\nb\n");
  const auto right = pipe_with(*reactor, "c\n");
  co_await count_both(reactor, left.get(), right.get());
  co_await tick_for_a_while(reactor);
  co_await write_then_read(reactor);
  co_await ask_child(platform);
  co_await do_blocking_work(platform);
  reactor->stop();
}

int run() {
  berth::NullLog log;
  const Result<std::unique_ptr<io::Platform>> platform = io::make_linux_platform(log, {});
  if (!platform.has_value()) {
    std::fprintf(stderr, "%s\n", platform.error().message.c_str());
    return 1;
  }
  Scope scope((*platform)->reactor());
  scope.spawn(tour(platform->get()));
  (*platform)->reactor().run();
  return 0;
}
// [whole]

}  // namespace

int main() {
  return run();
}
