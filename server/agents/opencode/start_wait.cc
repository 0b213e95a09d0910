#include <berth/server/agents/opencode/start_wait.h>

namespace berth::server::opencode {

namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

/// From the answer 204 until the prompt is stored (a cold directory takes seconds), and from there
/// to the first sign that it runs.
constexpr Duration kStoreMax = seconds(60);
constexpr Duration kStartMax = seconds(15);
/// Less time than that says nothing: the kernel counts in hundredths of a second.
constexpr Duration kLookLeast = seconds(4);
/// An idle server, and our questions, use less than a hundredth of a processor; one that starts a
/// run takes all that it gets, which on a crowded machine may be little.
constexpr int kWorkingShare = 20;
/// Five small questions, which take some milliseconds.
constexpr Duration kSlowAnswers = seconds(1);

}  // namespace

StartVerdict judge_start(const StartFacts& facts, Duration silence_max) {
  const Duration patience = facts.stored ? kStartMax : kStoreMax;
  const bool bears = facts.silent < patience || facts.rested < patience;
  if (bears && facts.silent < silence_max) return StartVerdict::waits;
  return facts.stored ? StartVerdict::not_run : StartVerdict::not_stored;
}

void WorkSigns::begin(TimePoint now) {
  worked_ = since_ = now;
  cpu_.reset();
}

void WorkSigns::look(TimePoint now, std::optional<std::uint64_t> cpu_microseconds,
                     Duration answered_in) {
  if (answered_in >= kSlowAnswers) worked_ = now;
  if (!cpu_microseconds) return;
  if (cpu_) {
    const Duration past = now - since_;
    if (past < kLookLeast) return;
    const Duration used = microseconds(*cpu_microseconds - *cpu_);
    if (used * kWorkingShare >= past) worked_ = now;
  }
  since_ = now;
  cpu_ = cpu_microseconds;
}

}  // namespace berth::server::opencode
