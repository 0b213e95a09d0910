// An Asio program that uses berth for what it is good at: a child process, run by a reactor on its
// own thread, awaited by an Asio coroutine that gives it a time limit.
#include <berth/io/asio_interop.h>
#include <berth/io/awaitables.h>
#include <berth/io/select.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <variant>

using berth::StopToken;
using berth::Task;
namespace io = berth::io;
using namespace std::chrono_literals;

namespace {

/// Stands for anything that berth does; says whether it came to its end.
Task<bool> sail(io::Reactor* reactor, berth::Duration span, StopToken stop) {
  co_return co_await io::Sleep(*reactor, reactor->clock().now() + span, stop);
}

// [tokens]
/// On the host's io_context; `sail` runs on the reactor's thread.
asio::awaitable<void> use_berth(io::Reactor* reactor) {
  using namespace asio::experimental::awaitable_operators;

  const bool arrived = co_await async_run(
      *reactor, [=](StopToken stop) { return sail(reactor, 1ms, stop); }, asio::use_awaitable);
  std::printf("short trip: %s\n", arrived ? "arrived" : "stopped");

  // The loser is asked to stop through its cancellation slot, and joined.
  asio::steady_timer patience(co_await asio::this_coro::executor, 5ms);
  const auto first = co_await (
      async_run(
          *reactor, [=](StopToken stop) { return sail(reactor, 1h, stop); }, asio::use_awaitable) ||
      patience.async_wait(asio::use_awaitable));
  std::printf("long trip: %s\n", first.index() == 0 ? "arrived" : "patience ended");
}

/// The other direction: a berth task awaits something of Asio, on Asio's own executor.
Task<bool> wait_for_host(io::Reactor* reactor, asio::steady_timer* timer, StopToken stop) {
  const asio::error_code error =
      co_await timer->async_wait(io::use_task(*reactor, timer->get_executor(), stop));
  co_return !error;
}
// [tokens]

}  // namespace

int main() {
  berth::NullLog log;
  auto reactor = io::make_reactor(io::EngineChoice::automatic, log);
  if (!reactor.has_value()) {
    std::fprintf(stderr, "%s\n", reactor.error().message.c_str());
    return 1;
  }
  io::Reactor* shard = reactor->get();
  std::thread thread([shard] { shard->run(); });

  asio::io_context context;
  asio::co_spawn(context, use_berth(shard), asio::detached);
  context.run();

  asio::steady_timer timer(context, 1ms);
  auto waited = io::async_run(
      *shard, [&](StopToken stop) { return wait_for_host(shard, &timer, stop); }, asio::use_future);
  context.restart();
  auto work = asio::make_work_guard(context);
  std::thread host([&context] { context.run(); });
  std::printf("the host's timer: %s\n", waited.get() ? "came" : "was cancelled");
  work.reset();
  host.join();

  shard->stop();
  thread.join();
  return 0;
}
