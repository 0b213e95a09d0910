#include "kill_at_step.h"

#include <berth/git/overlay.h>

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>

namespace berth::git::test {
namespace {

using Deaths = std::array<std::atomic<int>, kStepNames.size()>;

/// How many died before each step, in memory that outlives them.
Deaths& deaths() {
  static Deaths* const shared = [] {
    void* memory =
        ::mmap(nullptr, sizeof(Deaths), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : new (memory) Deaths{};
  }();
  return *shared;
}

int steps_until_kill = 0;

/// Where overlays cannot be mounted, their steps cannot be come to.
bool has_overlays() {
  std::string folder = ::testing::TempDir() + "berth-steps-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return false;
  const bool usable = probe_overlay(folder).usable;
  std::filesystem::remove_all(folder);
  return usable;
}

/// After all tests: a step that no test kills at is a step whose crash nobody has seen.
class EveryStepWasDiedAt : public ::testing::Environment {
 public:
  void SetUp() override { deaths(); }  // before anybody forks
  void TearDown() override {
    if (::testing::GTEST_FLAG(filter) != "*") return;
    const bool overlays = has_overlays();
    for (std::size_t i = 0; i < kStepNames.size(); ++i) {
      const std::string_view step = kStepNames[i];
      if (!overlays && (step.starts_with("overlay_") || step.starts_with("lower_"))) continue;
      EXPECT_GT(deaths()[i], 0) << "no test kills a process before " << step;
    }
  }
};

[[maybe_unused]] const ::testing::Environment* const kCheck =
    ::testing::AddGlobalTestEnvironment(new EveryStepWasDiedAt);

}  // namespace

void die_before(int steps) {
  steps_until_kill = steps;
}

void count_down(Step step) {
  if (--steps_until_kill != 0) return;
  ++deaths()[static_cast<std::size_t>(step)];
  ::kill(::getpid(), SIGKILL);
}

}  // namespace berth::git::test
