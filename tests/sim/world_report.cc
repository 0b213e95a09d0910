#include "world.h"

namespace berth::sim_test {

void WorldReport::add(const WorldReport& other) {
  crashes += other.crashes;
  crashes_in_write += other.crashes_in_write;
  crashes_in_start += other.crashes_in_start;
  power_cuts += other.power_cuts;
  polite_ends += other.polite_ends;
  disk_errors += other.disk_errors;
  clock_jumps += other.clock_jumps;
  full_disks += other.full_disks;
  connections += other.connections;
  prompts += other.prompts;
  events += other.events;
  interrupted += other.interrupted;
  switches += other.switches;
  decisions += other.decisions;
  expired += other.expired;
  filled_in += other.filled_in;
  edits += other.edits;
  sent_now += other.sent_now;
  revived += other.revived;
  timed_out += other.timed_out;
  cut += other.cut;
  resets += other.resets;
  shared += other.shared;
  shared_deaths += other.shared_deaths;
  generations += other.generations;
  capped += other.capped;
  evictions += other.evictions;
  stalls += other.stalls;
  agents_killed += other.agents_killed;
  store_checks += other.store_checks;
}

std::string WorldReport::summary() const {
  return std::to_string(crashes) + " crashes (" + std::to_string(crashes_in_write) +
         " in a write, " + std::to_string(crashes_in_start) + " while starting), " +
         std::to_string(power_cuts) + " power cuts, " + std::to_string(polite_ends) +
         " polite ends, " + std::to_string(disk_errors) + " disk errors, " +
         std::to_string(full_disks) + " full disks, " + std::to_string(clock_jumps) +
         " jumps of the clock, " + std::to_string(connections) + " connections of followers, " +
         std::to_string(prompts) + " prompts, " + std::to_string(interrupted) +
         " turns interrupted, " + std::to_string(switches) + " sessions with several agents, " +
         std::to_string(decisions) + " decisions, " + std::to_string(expired) +
         " questions expired, " + std::to_string(filled_in) + " forms filled in, " +
         std::to_string(edits) + " changes of the queue, " + std::to_string(sent_now) +
         " prompts sent now, " + std::to_string(revived) + " sessions revived, " +
         std::to_string(timed_out) + " turns timed out, " + std::to_string(cut) + " logs cut, " +
         std::to_string(resets) + " resets, " + std::to_string(shared) + " seats beside others, " +
         std::to_string(shared_deaths) + " deaths of shared processes at work, " +
         std::to_string(generations) + " processes beside an older one, " + std::to_string(capped) +
         " processes at the cap, " + std::to_string(evictions) + " evictions, " +
         std::to_string(stalls) + " stalls, " + std::to_string(agents_killed) + " agents killed, " +
         std::to_string(store_checks) + " checks of the store, " + std::to_string(events) +
         " events";
}

}  // namespace berth::sim_test
