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

constexpr std::size_t kTimesMax = 32;  // of one step in one process

/// In memory that outlives who dies.
struct Deaths {
  std::array<std::atomic<int>, kStepNames.size()> before{};
  /// In this series: before the n-th time of a step.
  std::array<std::array<std::atomic<bool>, kTimesMax>, kStepNames.size()> in_series{};
};

Deaths& deaths() {
  static Deaths* const shared = [] {
    void* memory =
        ::mmap(nullptr, sizeof(Deaths), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : new (memory) Deaths{};
  }();
  return *shared;
}

std::optional<Step> only;
std::array<std::size_t, kStepNames.size()> times{};

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
      EXPECT_GT(deaths().before[i], 0) << "no test kills a process before " << step;
    }
  }
};

[[maybe_unused]] const ::testing::Environment* const kCheck =
    ::testing::AddGlobalTestEnvironment(new EveryStepWasDiedAt);

}  // namespace

void begin_series() {
  for (auto& step : deaths().in_series) {
    for (std::atomic<bool>& died : step) died = false;
  }
}

void die_at(Step step) {
  only = step;
}

void count_down(Step step) {
  const auto i = static_cast<std::size_t>(step);
  const std::size_t time = times[i]++;
  if (only ? *only != step : time >= kTimesMax || deaths().in_series[i][time].exchange(true))
    return;
  ++deaths().before[i];
  ::kill(::getpid(), SIGKILL);
}

}  // namespace berth::git::test
