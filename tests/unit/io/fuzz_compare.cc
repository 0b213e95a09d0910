#include "fuzz_compare.h"

#include "plain_rig.h"
#include "sim_rig.h"
#include "uring_rig.h"

#include <array>
#include <set>
#include <utility>

namespace berth::inline v0::io::fuzz {

namespace {

/// Schedules that are simulated at first, and at most, to find the way that an engine went.
constexpr std::uint64_t kSchedules = 12;
constexpr std::uint64_t kSchedulesMax = 2'000;

std::unique_ptr<ReactorRig> make_rig(const std::string& engine) {
  constexpr UringSizes kTinySizes = {2, 4};
  if (engine == "uring") return std::make_unique<UringRig>();
  if (engine == "tiny") return std::make_unique<UringRig>(kTinySizes);
  if (engine == "asio") {
    return std::make_unique<FdRig>([] { return make_asio_reactor().value(); });
  }
  if (engine == "plain") return std::make_unique<UringRig>(make_plain_reactor);
  return nullptr;
}

/// One program's explored set.
class Explorer {
 public:
  Explorer(const Program& program, Totals& totals) : program_(program), totals_(totals) {}

  /// One more schedule, near to another run if one is given; false if a promise was broken.
  bool explore(const std::vector<Progress>* follow = nullptr) {
    const std::uint64_t schedule = ++schedules_;
    // Some without faults or with many turns: real engines are quicker than a world full of them.
    static constexpr std::array kPaces = {1U, 1U, 3U, 20U};
    FaultPlan faults = explored_faults();
    if (schedule % 3 == 0) faults = FaultPlan::none();
    if (schedule % 3 == 1) {
      for (const Fault fault : {Fault::short_read, Fault::partial_write, Fault::delay}) {
        faults.set(fault, 40);
      }
    }
    Options options;
    options.pace = kPaces[schedule % kPaces.size()];
    options.follow = follow;
    SimRig rig(program_.seed * 1'000 + schedule, faults, &totals_.faults);
    const Outcome outcome = run(rig, program_, options);
    totals_.operations += outcome.operations;
    ++totals_.simulations;
    const std::string name = "sim schedule " + std::to_string(schedule);
    if (!outcome.wrong.empty()) return fail(name + ": " + outcome.wrong);
    return same_decided(name, outcome) && remember(outcome);
  }

  /// Whether `outcome` is one that simulation reaches, with as many schedules as it takes.
  bool reached(const std::string& name, const Outcome& outcome) {
    if (!same_decided(name, outcome)) return false;
    for (std::size_t i = 0; i < outcome.raced.size(); ++i) {
      while (raced_.at(i).count(outcome.raced[i]) == 0) {
        if (schedules_ >= kSchedulesMax) {
          return fail(name + ": '" + outcome.raced[i] +
                      "' is outside of what was explored: " + list(raced_[i]));
        }
        if (!explore(schedules_ % 4 == 0 ? nullptr : &outcome.progress)) return false;
      }
    }
    return true;
  }

  /// The same without a simulator: only what the program decides.
  bool same_decided(const std::string& name, const Outcome& outcome) {
    if (decided_.empty()) decided_.resize(outcome.decided.size());
    for (std::size_t i = 0; i < outcome.decided.size(); ++i) {
      const std::string& now = outcome.decided[i];
      if (now == "dead" || now == "cut" || now == "cancelled") continue;
      if (decided_[i].empty()) decided_[i] = now;
      if (decided_[i] == now) continue;
      return fail(name + ": object " + std::to_string(i) + " has " + now + ", elsewhere " +
                  decided_[i]);
    }
    return true;
  }

  const std::string& wrong() const { return wrong_; }
  std::uint64_t races() const {
    std::uint64_t races = 0;
    for (const std::set<std::string>& ways : raced_) races += ways.size() > 1 ? 1U : 0U;
    return races;
  }

 private:
  bool remember(const Outcome& outcome) {
    raced_.resize(outcome.raced.size());
    for (std::size_t i = 0; i < outcome.raced.size(); ++i) raced_[i].insert(outcome.raced[i]);
    return true;
  }
  bool fail(std::string what) {
    wrong_ = std::move(what);
    return false;
  }
  static std::string list(const std::set<std::string>& ways) {
    std::string text;
    for (const std::string& way : ways) text += "\n  " + way;
    return text;
  }

  const Program& program_;
  Totals& totals_;
  std::uint64_t schedules_ = 0;
  std::vector<std::string> decided_;
  std::vector<std::set<std::string>> raced_;
  std::string wrong_;
};

}  // namespace

std::vector<std::string> real_engines() {
  return {"uring", "tiny", "plain", "asio"};
}

FaultPlan explored_faults() {
  return FaultPlan::gentle().set(Fault::small_pipe, 30).set(Fault::offload_stall, 0);
}

Verdict compare(std::uint64_t seed, const std::vector<std::string>& engines, Totals& totals) {
  const Program program = make_program(seed);
  Explorer explorer(program, totals);
  Verdict verdict;
  const std::uint64_t before = totals.operations;
  bool simulated = false;
  bool agreed = true;
  for (const std::string& engine : engines) simulated |= engine == "sim";
  for (std::uint64_t i = 0; simulated && agreed && i < kSchedules; ++i) {
    agreed = explorer.explore();
  }
  for (const std::string& engine : engines) {
    if (!agreed || engine == "sim") continue;
    const std::unique_ptr<ReactorRig> rig = make_rig(engine);
    BERTH_ASSERT(rig != nullptr);  // no engine of that name
    const Outcome outcome = run(*rig, program);
    totals.operations += outcome.operations;
    if (!outcome.wrong.empty()) {
      verdict.wrong = engine + ": " + outcome.wrong;
      agreed = false;
    } else {
      agreed =
          simulated ? explorer.reached(engine, outcome) : explorer.same_decided(engine, outcome);
    }
  }
  ++totals.programs;
  totals.races += explorer.races();
  verdict.operations = totals.operations - before;
  if (!explorer.wrong().empty()) verdict.wrong = explorer.wrong();
  if (!verdict.wrong.empty()) verdict.wrong = "seed " + std::to_string(seed) + ", " + verdict.wrong;
  return verdict;
}

}  // namespace berth::inline v0::io::fuzz
