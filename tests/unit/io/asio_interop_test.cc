#include <berth/io/asio_interop.h>

#include "loop.h"

#include <berth/io/awaitables.h>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>
#include <array>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/io_context.hpp>
#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <variant>

namespace berth::inline v0::io {
namespace {

using std::chrono::hours;

/// A reactor that turns on a thread of its own until the end.
class Shard {
 public:
  Shard() : reactor_(make_uring_reactor().value()), thread_([this] { reactor_->run(); }) {}
  ~Shard() {
    reactor_->stop();
    thread_.join();
  }
  Reactor& reactor() { return *reactor_; }
  std::thread::id id() const { return thread_.get_id(); }

 private:
  std::unique_ptr<Reactor> reactor_;
  std::thread thread_;
};

Task<int> number_of(Reactor* reactor, int value) {
  co_await Sleep(*reactor, reactor->clock().now());
  co_return value;
}
Task<bool> long_sleep(Reactor* reactor, StopToken stop) {
  co_return co_await Sleep(*reactor, reactor->clock().now() + hours(1), stop);
}
Task<int> failing(Reactor* reactor) {
  co_await Sleep(*reactor, reactor->clock().now());
  throw std::runtime_error("as expected");
}
Task<Result<std::string>> refused() {
  co_return fail(ErrorKind::busy, "busy", "not now");
}
Task<void> remember_thread(std::thread::id* id) {
  *id = std::this_thread::get_id();
  co_return;
}

// --- a berth task as an Asio operation ---

TEST(AsioRun, CompletesOnTheExecutorOfTheHandlerAndKeepsItsContextFromRunningOut) {
  Shard shard;
  asio::io_context context;
  int got = 0;
  std::thread::id handler_thread;
  async_run(
      shard.reactor(), [&](StopToken) { return number_of(&shard.reactor(), 7); },
      asio::bind_executor(context, [&](std::exception_ptr failure, int value) {
        EXPECT_EQ(failure, nullptr);
        handler_thread = std::this_thread::get_id();
        got = value;
      }));
  context.run();
  EXPECT_EQ(got, 7);
  EXPECT_EQ(handler_thread, std::this_thread::get_id());
}

TEST(AsioRun, RunsTheTaskOnTheReactorsThread) {
  Shard shard;
  std::thread::id id;
  async_run(
      shard.reactor(), [&](StopToken) { return remember_thread(&id); }, asio::use_future)
      .get();
  EXPECT_EQ(id, shard.id());
}

TEST(AsioRun, RunsAHandlerWithoutAnExecutorOnTheReactorsThread) {
  Shard shard;
  std::promise<std::thread::id> told;
  async_run(
      shard.reactor(), [&](StopToken) { return number_of(&shard.reactor(), 1); },
      [&](std::exception_ptr, int) { told.set_value(std::this_thread::get_id()); });
  EXPECT_EQ(told.get_future().get(), shard.id());
}

TEST(AsioRun, GivesAFutureItsValueOrItsException) {
  Shard shard;
  std::future<int> seven = async_run(
      shard.reactor(), [&](StopToken) { return number_of(&shard.reactor(), 7); }, asio::use_future);
  std::future<int> none = async_run(
      shard.reactor(), [&](StopToken) { return failing(&shard.reactor()); }, asio::use_future);
  EXPECT_EQ(seven.get(), 7);
  EXPECT_THROW(none.get(), std::runtime_error);
}

asio::awaitable<void> ask_all(Reactor* reactor, std::string* told) {
  const int seven = co_await async_run(
      *reactor, [reactor](StopToken) { return number_of(reactor, 7); }, asio::use_awaitable);
  const Result<std::string> no =
      co_await async_run(*reactor, [](StopToken) { return refused(); }, asio::use_awaitable);
  std::thread::id shard;
  co_await async_run(
      *reactor, [&shard](StopToken) { return remember_thread(&shard); }, asio::use_awaitable);
  *told = std::to_string(seven) + " " + no.error().code;
  *told += std::this_thread::get_id() == shard ? " on the shard" : " at home";
  try {
    co_await async_run(
        *reactor, [reactor](StopToken) { return failing(reactor); }, asio::use_awaitable);
  } catch (const std::runtime_error& error) {
    *told += std::string(" ") + error.what();
  }
}

TEST(AsioRun, IsAwaitedByAnAsioCoroutineThatStaysOnItsContext) {
  Shard shard;
  asio::io_context context;
  std::string told;
  asio::co_spawn(context, ask_all(&shard.reactor(), &told), asio::detached);
  context.run();
  EXPECT_EQ(told, "7 busy at home as expected");
}

TEST(AsioRun, KeepsWhatTheFactoryOwnsUntilTheTaskHasEnded) {
  Shard shard;
  std::weak_ptr<int> watch;
  {
    auto owned = std::make_shared<int>(5);
    watch = owned;
    // A capturing lambda that is a coroutine: fine here, for the factory outlives the task.
    std::future<int> five = async_run(
        shard.reactor(),
        [owned = std::move(owned), reactor = &shard.reactor()](StopToken) -> Task<int> {
          co_await Sleep(*reactor, reactor->clock().now());
          co_return *owned;
        },
        asio::use_future);
    EXPECT_EQ(five.get(), 5);
  }
  std::promise<void> turned;  // the operation goes in the turn that told the future
  async_run(
      shard.reactor(), [&](StopToken) { return number_of(&shard.reactor(), 1); },
      [&](std::exception_ptr, int) { turned.set_value(); });
  turned.get_future().get();
  EXPECT_TRUE(watch.expired());
}

TEST(AsioRun, AskedToEndByACancellationSlotItStopsTheTask) {
  for (const auto type : {asio::cancellation_type::total, asio::cancellation_type::partial,
                          asio::cancellation_type::terminal}) {
    Shard shard;
    asio::io_context context;
    asio::cancellation_signal signal;
    int calls = 0;
    bool slept = true;
    async_run(
        shard.reactor(), [&](StopToken stop) { return long_sleep(&shard.reactor(), stop); },
        asio::bind_cancellation_slot(
            signal.slot(),
            asio::bind_executor(context, [&](std::exception_ptr failure, bool whole) {
              EXPECT_EQ(failure, nullptr);
              ++calls;
              slept = whole;
            })));
    asio::post(context, [&] {
      signal.emit(asio::cancellation_type::none);
      signal.emit(type);
      signal.emit(type);
    });
    context.run();
    EXPECT_EQ(calls, 1);
    EXPECT_FALSE(slept);
  }
}

TEST(AsioRun, ReturnsWhatWonAgainstASignalThatCameTooLate) {
  Loop loop;
  asio::io_context context;
  asio::cancellation_signal signal;
  int got = 0;
  bool ended = false;
  async_run(
      loop.reactor(),
      [&](StopToken) -> Task<int> {
        ended = true;
        co_return 7;
      },
      asio::bind_cancellation_slot(
          signal.slot(),
          asio::bind_executor(context, [&](std::exception_ptr, int value) { got = value; })));
  ASSERT_TRUE(loop.run_until([&] { return ended; }));
  loop.turn();
  EXPECT_EQ(got, 0);  // the completion is on its way
  signal.emit(asio::cancellation_type::total);
  context.run();
  EXPECT_EQ(got, 7);
  signal.emit(asio::cancellation_type::total);  // the slot is empty now
}

TEST(AsioRun, TellsTheEndOnlyWhenAStopThatIsOnItsWayHasArrived) {
  Loop loop;
  asio::cancellation_signal signal;
  bool ran = false;
  bool done = false;
  async_run(
      loop.reactor(),
      [&](StopToken) -> Task<void> {
        ran = true;
        signal.emit(asio::cancellation_type::total);
        co_return;
      },
      asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr) { done = true; }));
  while (!ran) loop.turn();
  EXPECT_FALSE(done);  // what was posted to the reactor refers to the operation
  EXPECT_TRUE(loop.run_until([&] { return done; }));
}

TEST(AsioRun, CompletesOnceWhenASignalRacesWithTheEnd) {
  Shard shard;
  asio::io_context context;
  constexpr int kRuns = 500;
  int completions = 0;
  int stopped = 0;
  for (int i = 0; i < kRuns; ++i) {
    asio::cancellation_signal signal;
    async_run(
        shard.reactor(),
        [reactor = &shard.reactor()](StopToken stop) -> Task<bool> {
          co_await Sleep(*reactor, reactor->clock().now(), stop);
          co_return stop.stop_requested();
        },
        asio::bind_cancellation_slot(
            signal.slot(), asio::bind_executor(context, [&](std::exception_ptr, bool was_stopped) {
              ++completions;
              stopped += was_stopped ? 1 : 0;
            })));
    // The moment of the signal walks over the task's whole life.
    for (int j = 0; j < i % 50; ++j) std::this_thread::yield();
    asio::post(context, [&] { signal.emit(asio::cancellation_type::total); });
    context.restart();
    context.run();
  }
  EXPECT_EQ(completions, kRuns);
  RecordProperty("stopped", stopped);
}

asio::awaitable<void> sleep_at_most(Reactor* reactor, std::size_t* winner) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer timer(co_await asio::this_coro::executor,
                           asio::steady_timer::time_point::min());
  const std::variant<bool, std::monostate> first =
      co_await (async_run(
                    *reactor, [reactor](StopToken stop) { return long_sleep(reactor, stop); },
                    asio::use_awaitable) ||
                timer.async_wait(asio::use_awaitable));
  *winner = first.index();
}

TEST(AsioRun, LosesAgainstATimerInAnAsioCoroutine) {
  Shard shard;
  asio::io_context context;
  std::size_t winner = 0;
  asio::co_spawn(context, sleep_at_most(&shard.reactor(), &winner), asio::detached);
  context.run();
  EXPECT_EQ(winner, 1U);
}

// --- an Asio operation as something to co_await ---

using Pair = asio::local::stream_protocol::socket;
using ReadResult = std::tuple<asio::error_code, std::size_t>;

/// A context that one thread runs, and one end of a socket pair on it.
class Host {
 public:
  Host() : work_(context_.get_executor()), thread_([this] { context_.run(); }) {}
  ~Host() {
    work_.reset();
    thread_.join();
  }
  asio::io_context& context() { return context_; }
  std::thread::id id() const { return thread_.get_id(); }

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::thread thread_;
};

Task<void> read_some(Reactor* reactor, Pair* socket, StopToken stop, std::string* text,
                     asio::error_code* error) {
  std::array<char, 64> bytes;
  const ReadResult result = co_await socket->async_read_some(
      asio::buffer(bytes), use_task(*reactor, socket->get_executor(), stop));
  *error = std::get<0>(result);
  text->assign(bytes.data(), std::get<1>(result));
}

TEST(AsioAwait, BringsTheResultOfAnotherThreadsOperationToTheTask) {
  Shard shard;
  Host host;
  Pair ours(host.context());
  Pair theirs(host.context());
  asio::local::connect_pair(ours, theirs);
  std::string text;
  asio::error_code error;
  std::future<void> done = async_run(
      shard.reactor(),
      [&](StopToken stop) { return read_some(&shard.reactor(), &ours, stop, &text, &error); },
      asio::use_future);
  ASSERT_EQ(::write(theirs.native_handle(), "hello", 5), 5);
  done.get();
  EXPECT_FALSE(error);
  EXPECT_EQ(text, "hello");
}

Task<void> wait_for_timer(Reactor* reactor, asio::steady_timer* timer, std::thread::id* id) {
  const asio::error_code error =
      co_await timer->async_wait(use_task(*reactor, timer->get_executor()));
  EXPECT_FALSE(error);
  *id = std::this_thread::get_id();
}

TEST(AsioAwait, ResumesTheTaskOnItsShard) {
  Shard shard;
  Host host;
  asio::steady_timer timer(host.context(), asio::steady_timer::time_point::min());
  std::thread::id id;
  async_run(
      shard.reactor(), [&](StopToken) { return wait_for_timer(&shard.reactor(), &timer, &id); },
      asio::use_future)
      .get();
  EXPECT_EQ(id, shard.id());
}

TEST(AsioAwait, BeginsTheOperationOnTheExecutorGiven) {
  Shard shard;
  Host host;
  std::thread::id begun;
  async_run(
      shard.reactor(),
      [&](StopToken) -> Task<void> {
        auto token = use_task(shard.reactor(), host.context().get_executor());
        co_await asio::async_initiate<decltype(token), void()>(
            [&begun](auto handler) {
              begun = std::this_thread::get_id();
              asio::post(std::move(handler));
            },
            token);
      },
      asio::use_future)
      .get();
  EXPECT_EQ(begun, host.id());
}

TEST(AsioAwait, ReadsPartOfAComposedOperationBeforeTheEndWithoutLosingIt) {
  Shard shard;
  Host host;
  Pair ours(host.context());
  Pair theirs(host.context());
  asio::local::connect_pair(ours, theirs);
  ASSERT_EQ(::write(theirs.native_handle(), "half", 4), 4);
  ASSERT_EQ(::shutdown(theirs.native_handle(), SHUT_WR), 0);
  std::future<ReadResult> got = async_run(
      shard.reactor(),
      [&](StopToken stop) -> Task<ReadResult> {
        std::array<char, 64> bytes;
        co_return co_await asio::async_read(ours, asio::buffer(bytes),
                                            use_task(shard.reactor(), ours.get_executor(), stop));
      },
      asio::use_future);
  const ReadResult result = got.get();
  EXPECT_EQ(std::get<0>(result), asio::error::eof);
  EXPECT_EQ(std::get<1>(result), 4U);
}

TEST(AsioAwait, RethrowsAnExceptionThatTheOperationEndedWith) {
  Shard shard;
  Host host;
  // A berth task, as an Asio operation, awaited by a berth task.
  std::future<int> failed = async_run(
      shard.reactor(),
      [&](StopToken) -> Task<int> {
        co_return co_await async_run(
            shard.reactor(), [&](StopToken) { return failing(&shard.reactor()); },
            use_task(shard.reactor(), host.context().get_executor()));
      },
      asio::use_future);
  EXPECT_THROW(failed.get(), std::runtime_error);
}

/// Turns a loop and a context on one thread until a task has ended.
void run_both(Loop& loop, asio::io_context& context, const bool& done) {
  context.restart();
  ASSERT_TRUE(loop.run_until([&] {
    context.poll();
    return done;
  }));
}

class AsioAwaitStopped : public testing::Test {
 protected:
  AsioAwaitStopped() { asio::local::connect_pair(ours_, theirs_); }
  void start() {
    async_run(
        loop_.reactor(),
        [this](StopToken) {
          return read_some(&loop_.reactor(), &ours_, stop_.token(), &text_, &error_);
        },
        [this](std::exception_ptr, auto...) { done_ = true; });
    loop_.turn();
    loop_.turn();
  }

  Loop loop_;
  asio::io_context context_;
  Pair ours_{context_};
  Pair theirs_{context_};
  StopSource stop_;
  std::string text_ = "untouched";
  asio::error_code error_;
  bool done_ = false;
};

TEST_F(AsioAwaitStopped, IsAbortedWhileNothingCame) {
  start();
  context_.poll();
  EXPECT_FALSE(done_);
  stop_.request_stop();
  run_both(loop_, context_, done_);
  EXPECT_EQ(error_, asio::error::operation_aborted);
  EXPECT_EQ(text_, "");
  EXPECT_EQ(from_asio_error(error_, "read").kind, ErrorKind::cancelled);
}

TEST_F(AsioAwaitStopped, ReturnsTheDataThatWon) {
  ASSERT_EQ(::write(theirs_.native_handle(), "won", 3), 3);
  start();
  stop_.request_stop();  // before the context ran at all: the operation is begun, and finds data
  run_both(loop_, context_, done_);
  EXPECT_FALSE(error_);
  EXPECT_EQ(text_, "won");
}

TEST_F(AsioAwaitStopped, StoppedBeforeItBeganItEndsWithoutTheContextsHelpBeyondOneRun) {
  stop_.request_stop();
  start();
  run_both(loop_, context_, done_);
  EXPECT_EQ(error_, asio::error::operation_aborted);
}

TEST_F(AsioAwaitStopped, ResumesOnlyAfterASignalThatCameTooLateIsGone) {
  ASSERT_EQ(::write(theirs_.native_handle(), "won", 3), 3);
  start();
  context_.poll();       // the operation has ended; the task does not know yet
  stop_.request_stop();  // so a signal is posted, for an operation that is over
  loop_.turn();
  loop_.turn();
  EXPECT_FALSE(done_);  // its frame must stay until the signal has run
  run_both(loop_, context_, done_);
  EXPECT_FALSE(error_);
  EXPECT_EQ(text_, "won");
}

TEST(AsioAwait, CountsAsAbortedWhenTheContextIsDestroyedWithIt) {
  for (const bool begun : {false, true}) {
    Loop loop;
    auto context = std::make_unique<asio::io_context>();
    asio::error_code error;
    bool done = false;
    async_run(
        loop.reactor(),
        [&](StopToken) -> Task<void> {
          auto token = use_task(loop.reactor(), context->get_executor());
          error = co_await asio::async_initiate<decltype(token), void(asio::error_code)>(
              [context = context.get()](auto handler) {
                auto timer = std::make_shared<asio::steady_timer>(*context, hours(1));
                timer->async_wait(
                    [timer, handler = std::move(handler)](asio::error_code result) mutable {
                      std::move(handler)(result);
                    });
              },
              token);
        },
        [&](std::exception_ptr) { done = true; });
    loop.turn();
    loop.turn();
    if (begun) context->poll();
    context.reset();
    EXPECT_TRUE(loop.run_until([&] { return done; }));
    EXPECT_EQ(error, asio::error::operation_aborted);
  }
}

TEST(AsioAwait, CompletesOnceWhenAStopRacesWithTheEnd) {
  Shard shard;
  Host host;
  asio::io_context context;
  Pair ours(host.context());
  Pair theirs(host.context());
  asio::local::connect_pair(ours, theirs);
  std::size_t written = 0;
  std::size_t read = 0;
  for (int i = 0; i < 300; ++i) {
    asio::cancellation_signal signal;
    std::string text;
    asio::error_code error;
    async_run(
        shard.reactor(),
        [&](StopToken stop) { return read_some(&shard.reactor(), &ours, stop, &text, &error); },
        asio::bind_cancellation_slot(signal.slot(),
                                     asio::bind_executor(context, [](std::exception_ptr) {})));
    ASSERT_EQ(::write(theirs.native_handle(), "x", 1), 1);
    ++written;
    for (int j = 0; j < i % 40; ++j) std::this_thread::yield();
    asio::post(context, [&] { signal.emit(asio::cancellation_type::total); });
    context.restart();
    context.run();
    read += text.size();
    EXPECT_EQ(text.empty(), static_cast<bool>(error));
  }
  // Cancellation is total: what was not returned is still there.
  std::array<char, 512> rest;
  const ssize_t left = ::recv(ours.native_handle(), rest.data(), rest.size(), MSG_DONTWAIT);
  EXPECT_EQ(read + static_cast<std::size_t>(left > 0 ? left : 0), written);
}

TEST(AsioErrors, KeepTheErrnoAndSayWhatToDo) {
  const Error reset = from_asio_error(asio::error::connection_reset, "read");
  EXPECT_EQ(reset.kind, ErrorKind::unavailable);
  EXPECT_EQ(reset.errno_value, ECONNRESET);
  EXPECT_EQ(std::string_view(from_asio_error(asio::error::eof, "read").code), "end_of_stream");
}

}  // namespace
}  // namespace berth::inline v0::io
