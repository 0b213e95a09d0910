#include <berth/io/sim_faults.h>

namespace berth::inline v0::io {

std::string_view to_string(Fault fault) {
  switch (fault) {
    case Fault::short_read:
      return "short_read";
    case Fault::partial_write:
      return "partial_write";
    case Fault::interrupted:
      return "interrupted";
    case Fault::no_buffers:
      return "no_buffers";
    case Fault::accept_starved:
      return "accept_starved";
    case Fault::cancel_race:
      return "cancel_race";
    case Fault::delay:
      return "delay";
    case Fault::small_pipe:
      return "small_pipe";
    case Fault::offload_stall:
      return "offload_stall";
    case Fault::reset:
      return "reset";
    case Fault::half_close:
      return "half_close";
    case Fault::connect_failure:
      return "connect_failure";
    case Fault::no_descriptor:
      return "no_descriptor";
    case Fault::disk_full:
      return "disk_full";
    case Fault::spawn_failure:
      return "spawn_failure";
    case Fault::agent_kill:
      return "agent_kill";
    case Fault::orphan:
      return "orphan";
    case Fault::reorder:
      return "reorder";
    case Fault::cancel_wins:
      return "cancel_wins";
  }
  return "unknown";
}

FaultPlan FaultPlan::gentle() {
  FaultPlan plan;
  plan.set(Fault::short_read, 300).set(Fault::partial_write, 300).set(Fault::cancel_race, 500);
  plan.set(Fault::interrupted, 50).set(Fault::no_buffers, 50).set(Fault::accept_starved, 50);
  plan.set(Fault::delay, 200).set(Fault::small_pipe, 200).set(Fault::offload_stall, 5);
  return plan;
}

FaultPlan FaultPlan::hostile() {
  FaultPlan plan = gentle();
  plan.set(Fault::reset, 5).set(Fault::half_close, 3).set(Fault::connect_failure, 30);
  plan.set(Fault::no_descriptor, 20).set(Fault::disk_full, 20).set(Fault::spawn_failure, 50);
  plan.set(Fault::agent_kill, 100).set(Fault::orphan, 300);
  return plan;
}

void FaultCounts::add(const FaultCounts& other) {
  for (std::size_t i = 0; i < kFaultCount; ++i) counts_[i] += other.counts_[i];
}

std::string FaultCounts::never_fired(const FaultPlan& plan) const {
  std::string names;
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    const Fault fault = static_cast<Fault>(i);
    const bool always = fault == Fault::reorder || fault == Fault::cancel_wins;
    if ((!always && plan.per_mille(fault) == 0) || counts_[i] > 0) continue;
    if (!names.empty()) names += ", ";
    names += to_string(fault);
  }
  return names;
}

std::string FaultCounts::summary() const {
  std::string text;
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    if (counts_[i] == 0) continue;
    if (!text.empty()) text += ", ";
    text.append(to_string(static_cast<Fault>(i))).append(" ").append(std::to_string(counts_[i]));
  }
  return text;
}

}  // namespace berth::inline v0::io
