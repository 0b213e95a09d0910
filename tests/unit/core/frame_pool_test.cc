#include "manual_executor.h"

#include <berth/core/frame_pool.h>
#include <berth/core/scope.h>
#include <berth/core/sync.h>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

namespace berth {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BERTH_POOL_HOLDS_NOTHING 1
#endif
#endif

class FramePoolTest : public testing::Test {
 protected:
  void SetUp() override {
#ifdef BERTH_POOL_HOLDS_NOTHING
    GTEST_SKIP() << "the pool holds nothing under AddressSanitizer";
#endif
  }
};

// Not inlined: the compiler would see that the frame can lie on the stack.
[[gnu::noinline]] Task<int> pooled(FramePool&, int value) {
  co_return value;
}

[[gnu::noinline]] Task<int> pooled_by_pointer(int value, FramePool* pool) {
  static_cast<void>(pool);
  co_return value;
}

[[gnu::noinline]] Task<void> wait_in_pool(FramePool&, Event* go) {
  co_await go->wait();
}

[[gnu::noinline]] Task<int> throws_in_pool(FramePool&) {
  throw std::runtime_error("pooled");
  co_return 0;
}

/// A coroutine whose class has a pool among its parameters too.
class Actor {
 public:
  [[gnu::noinline]] Task<int> ask(FramePool&, int value) { co_return value + offset_; }

 private:
  int offset_ = 1;
};

TEST_F(FramePoolTest, AFrameIsUsedAgainByTheNextOfItsSize) {
  FramePool pool;
  {
    const Task<int> first = pooled(pool, 1);
    EXPECT_GT(pool.bytes_in_use(), 0U);
  }
  EXPECT_EQ(pool.bytes_in_use(), 0U);
  const std::size_t held = pool.bytes();
  EXPECT_GT(held, 0U);
  for (int i = 0; i < 100; ++i) {
    const Task<int> again = pooled(pool, i);
    EXPECT_EQ(pool.bytes(), held);
  }
}

TEST_F(FramePoolTest, FramesRememberTheirPoolWhoeverDestroysThem) {
  FramePool first;
  FramePool second;
  std::optional<Task<int>> a = pooled(first, 1);
  std::optional<Task<int>> b = pooled_by_pointer(2, &second);
  EXPECT_GT(first.bytes_in_use(), 0U);
  EXPECT_GT(second.bytes_in_use(), 0U);
  std::swap(a, b);
  a.reset();
  EXPECT_EQ(second.bytes_in_use(), 0U);
  EXPECT_GT(first.bytes_in_use(), 0U);
  b.reset();
  EXPECT_EQ(first.bytes_in_use(), 0U);
}

TEST_F(FramePoolTest, AMemberFunctionTakesItsFrameFromThePoolToo) {
  FramePool pool;
  Actor actor;
  const Task<int> task = actor.ask(pool, 1);
  EXPECT_GT(pool.bytes_in_use(), 0U);
}

TEST(FramePool, NoPoolMeansOperatorNew) {
  const Task<int> task = pooled_by_pointer(2, nullptr);
}

TEST(FramePool, ValuesExceptionsAndSuspensionsAreThoseOfAnyTask) {
  ManualExecutor executor;
  FramePool pool;
  Event go(executor);
  Scope scope(executor);
  std::string notes;
  scope.spawn([](FramePool* frames, Event* event, std::string* log) -> Task<void> {
    const int value = co_await pooled(*frames, 7);
    *log += std::to_string(value);
    try {
      co_await throws_in_pool(*frames);
    } catch (const std::runtime_error& e) {
      *log += e.what();
    }
    co_await wait_in_pool(*frames, event);
    *log += "end";
  }(&pool, &go, &notes));
  EXPECT_EQ(notes, "7pooled");
  go.set();
  executor.run_all();
  EXPECT_EQ(notes, "7pooledend");
  EXPECT_EQ(pool.bytes_in_use(), 0U);
}

TEST_F(FramePoolTest, AboveItsLimitFramesComeFromElsewhere) {
  FramePool pool(256);
  std::vector<Task<int>> tasks;
  for (int i = 0; i < 20; ++i) tasks.push_back(pooled(pool, i));
  EXPECT_LE(pool.bytes(), 256U);
  EXPECT_EQ(pool.bytes_in_use(), pool.bytes());
  EXPECT_GT(pool.bytes(), 0U);
  tasks.clear();
  EXPECT_EQ(pool.bytes_in_use(), 0U);
}

TEST_F(FramePoolTest, SizesDoNotGetIntoEachOthersWay) {
  FramePool pool;
  std::vector<std::pair<char*, std::size_t>> blocks;
  for (std::size_t size = 1; size <= FramePool::kFrameMax; size += 7) {
    char* block = static_cast<char*>(pool.allocate(size));
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % alignof(std::max_align_t), 0U);
    std::fill_n(block, size, static_cast<char>(size));
    blocks.emplace_back(block, size);
  }
  for (const auto& block : blocks) {
    for (std::size_t i = 0; i < block.second; ++i) {
      ASSERT_EQ(block.first[i], static_cast<char>(block.second));
    }
    pool.deallocate(block.first, block.second);
  }
  EXPECT_EQ(pool.allocate(FramePool::kFrameMax + 1), nullptr);
  EXPECT_EQ(pool.bytes_in_use(), 0U);
}

TEST(FramePoolDeathTest, AFrameMustNotOutliveItsPool) {
#ifdef BERTH_POOL_HOLDS_NOTHING
  GTEST_SKIP() << "the pool holds nothing under AddressSanitizer";
#endif
  EXPECT_DEATH(
      {
        Task<int> task;
        FramePool pool;
        task = pooled(pool, 1);
      },
      "bytes_in_use");
}

}  // namespace
}  // namespace berth
