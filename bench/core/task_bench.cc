// bench/core/task_bench.cc — what it costs to await a child task that is ready, against a virtual
// call.
//
//   ninja -C build bench/core/task_bench && build/bench/core/task_bench
//       --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>
#include <berth/core/task.h>

#include <coroutine>
#include <memory>

namespace berth {
namespace {

/// The other way to ask somebody whom the compiler does not know.
class Answerer {
 public:
  virtual ~Answerer() = default;
  virtual int answer(int question) = 0;
};
class PlusOne final : public Answerer {
 public:
  int answer(int question) override { return question + 1; }
};
class PlusTwo final : public Answerer {
 public:
  int answer(int question) override { return question + 2; }
};

/// A loop that runs whole inside of one coroutine; the frame goes with it.
struct Loop {
  struct promise_type {
    Loop get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

[[clang::noinline]] Task<int> plain_child(int question) {
  co_return question + 1;
}
[[clang::noinline]] Task<int> pooled_child(FramePool&, int question) {
  co_return question + 1;
}

Loop await_plain(benchmark::State& state) {
  int number = 0;
  for (auto _ : state) number = co_await plain_child(number);
  benchmark::DoNotOptimize(number);
}
Loop await_pooled(benchmark::State& state, FramePool& pool) {
  int number = 0;
  for (auto _ : state) number = co_await pooled_child(pool, number);
  benchmark::DoNotOptimize(number);
}

void virtual_call(benchmark::State& state) {
  std::unique_ptr<Answerer> answerer;
  if (state.range(0) == 1) {
    answerer = std::make_unique<PlusOne>();
  } else {
    answerer = std::make_unique<PlusTwo>();
  }
  Answerer* unknown = answerer.get();
  int number = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(unknown);
    number = unknown->answer(number);
  }
  benchmark::DoNotOptimize(number);
}
BENCHMARK(virtual_call)->Arg(1);

void await_child_malloc(benchmark::State& state) {
  await_plain(state);
}
BENCHMARK(await_child_malloc);

void await_child_pool(benchmark::State& state) {
  FramePool pool;
  await_pooled(state, pool);
}
BENCHMARK(await_child_pool);

}  // namespace
}  // namespace berth

BENCHMARK_MAIN();
