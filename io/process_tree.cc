#include <berth/io/process_tree.h>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>
#include <utility>

namespace berth::io {

namespace {

/// Enough for any honest tree; what forks faster than this is killed as far as it is known and met
/// again later.
constexpr int kRoundsMax = 16;
/// Looks that find nothing new but are disturbed; then the caller should come again.
constexpr int kDisturbedMax = 3;

/// Remembers what processes carry, so that later rounds of one call read only new environments.
class MarkerCache {
 public:
  std::optional<std::string> operator()(const ProcStat& process) {
    const auto [at, is_new] = known_.try_emplace(process.id.pid);
    Entry& entry = at->second;
    if (is_new || entry.start_time != process.id.start_time) {
      entry.start_time = process.id.start_time;
      Variable variable = read_environment_of(process.id.pid, kMarkerName);
      if (variable.lookup == Lookup::found) entry.marker = std::move(variable.value);
      if (variable.lookup == Lookup::unsettled) {
        known_.erase(at);
        unsettled_ = true;
        return {};
      }
    }
    return entry.marker;
  }
  /// Whether some process could not be judged since the last call.
  bool take_unsettled() { return std::exchange(unsettled_, false); }

 private:
  struct Entry {
    std::uint64_t start_time = 0;
    std::optional<std::string> marker;
  };
  std::unordered_map<int, Entry> known_;
  bool unsettled_ = false;
};

bool belongs_by_itself(const TreeSeed& seed, const ProcStat& process,
                       const MarkerReader& marker_of) {
  if (seed.root.pid != 0) {
    if (process.id == seed.root) return true;
    if (process.id.start_time < seed.root.start_time) return false;  // older than the whole tree
    if (process.session == seed.root.pid) return true;
  }
  const std::optional<std::string> marker = marker_of(process);
  return marker.has_value() && seed.marker_matches(*marker);
}

}  // namespace

std::vector<ProcessId> members_of(const TreeSeed& seed, std::span<const ProcStat> processes,
                                  const std::unordered_set<int>& spared,
                                  const MarkerReader& marker_of) {
  std::unordered_multimap<int, const ProcStat*> children;
  for (const ProcStat& process : processes) children.emplace(process.parent, &process);

  std::vector<const ProcStat*> found;
  std::unordered_set<int> seen = spared;
  for (const ProcStat& process : processes) {
    if (seen.contains(process.id.pid)) continue;
    if (!belongs_by_itself(seed, process, marker_of)) continue;
    seen.insert(process.id.pid);
    found.push_back(&process);
  }
  for (std::size_t i = 0; i < found.size(); ++i) {  // grows while we go
    const auto [begin, end] = children.equal_range(found[i]->id.pid);
    for (auto at = begin; at != end; ++at) {
      if (seen.insert(at->second->id.pid).second) found.push_back(at->second);
    }
  }
  std::vector<ProcessId> members;
  for (const ProcStat* process : found) {
    if (!process->ended()) members.push_back(process->id);
  }
  return members;
}

namespace {

/// One call of kill_trees.
class Killer {
 public:
  Killer(std::span<const TreeSeed> seeds, const std::unordered_set<int>& spared)
      : seeds_(seeds), spared_(spared), answers_(seeds.size()) {
    spared_.insert(::getpid());
    oldest_ = seeds.empty() ? 0 : seeds.front().root.start_time;
    for (const TreeSeed& seed : seeds) oldest_ = std::min(oldest_, seed.root.start_time);
  }

  std::vector<TreeSweep> run() {
    const bool settled = stop_all();
    for (const ProcessId& member : stopped_) send_signal(member, SIGKILL);
    for (TreeSweep& answer : answers_) answer.settled = settled;
    return std::move(answers_);
  }

 private:
  bool stop_all() {
    int disturbed_looks = 0;
    for (int round = 0; round < kRoundsMax && disturbed_looks < kDisturbedMax; ++round) {
      const std::optional<ProcessList> list = list_processes();
      if (!list.has_value()) return false;
      bool disturbed = list->some_vanished || has_new_zombies(list->processes);
      const bool found_new = stop_members(list->processes, disturbed);
      if (cache_.take_unsettled()) disturbed = true;
      if (found_new) continue;
      if (!disturbed) return true;
      ++disturbed_looks;
    }
    return false;
  }

  bool stop_members(std::span<const ProcStat> processes, bool& disturbed) {
    bool found_new = false;
    for (std::size_t i = 0; i < seeds_.size(); ++i) {
      for (const ProcessId& member : members_of(seeds_[i], processes, spared_, std::ref(cache_))) {
        if (std::find(stopped_.begin(), stopped_.end(), member) != stopped_.end()) continue;
        const int error = send_signal(member, SIGSTOP);
        if (error == EPERM) continue;      // another user's: not ours to kill
        if (error != 0) disturbed = true;  // it ended; who knows what it has started before
        if (error == ESRCH) continue;
        found_new = true;
        stopped_.push_back(member);
        ++answers_[i].killed;
      }
    }
    return found_new;
  }

  /// A process that ended in front of our eyes is like one that vanished. Roots are known to have
  /// ended.
  bool has_new_zombies(std::span<const ProcStat> processes) {
    bool any = false;
    for (const ProcStat& process : processes) {
      if (!process.ended() || process.id.start_time < oldest_) continue;
      const bool is_root =
          std::any_of(seeds_.begin(), seeds_.end(),
                      [&process](const TreeSeed& seed) { return seed.root == process.id; });
      if (!is_root && zombies_.insert(process.id.pid).second) any = true;
    }
    return any;
  }

  const std::span<const TreeSeed> seeds_;
  std::unordered_set<int> spared_;
  std::vector<TreeSweep> answers_;
  std::uint64_t oldest_ = 0;  // nobody older belongs to any of the trees
  std::vector<ProcessId> stopped_;
  std::unordered_set<int> zombies_;
  MarkerCache cache_;
};

}  // namespace

std::vector<TreeSweep> kill_trees(std::span<const TreeSeed> seeds,
                                  const std::unordered_set<int>& spared) {
  return Killer(seeds, spared).run();
}

std::size_t kill_own_descendants() {
  std::unordered_set<int> family = {::getpid()};
  std::vector<ProcessId> stopped;
  for (int round = 0; round < kRoundsMax; ++round) {
    const std::optional<ProcessList> list = list_processes();
    if (!list.has_value()) break;
    std::unordered_multimap<int, const ProcStat*> children;
    for (const ProcStat& process : list->processes) children.emplace(process.parent, &process);
    std::vector<int> ahead = {::getpid()};
    bool found_new = false;
    while (!ahead.empty()) {
      const auto [begin, end] = children.equal_range(ahead.back());
      ahead.pop_back();
      for (auto at = begin; at != end; ++at) {
        const ProcStat& process = *at->second;
        ahead.push_back(process.id.pid);
        if (process.ended() || !family.insert(process.id.pid).second) continue;
        if (send_signal(process.id, SIGSTOP) != 0) continue;  // it is gone, or another user's
        stopped.push_back(process.id);
        found_new = true;
      }
    }
    if (!found_new) break;
  }
  for (const ProcessId& id : stopped) send_signal(id, SIGKILL);
  return stopped.size();
}

std::unordered_set<int> own_family(std::span<const ProcStat> processes) {
  std::unordered_map<int, int> parent_of;
  for (const ProcStat& process : processes) parent_of[process.id.pid] = process.parent;
  std::unordered_set<int> family;
  const int self = ::getpid();
  for (int pid = self; pid != 0 && family.insert(pid).second;) {
    const auto parent = parent_of.find(pid);
    pid = parent == parent_of.end() ? 0 : parent->second;
  }
  for (const ProcStat& process : processes) {
    // Whoever has this process among its ancestors; the path is cut where it meets an older one of
    // the family.
    int pid = process.id.pid;
    for (std::size_t steps = 0; steps < processes.size() && pid != 0 && pid != self; ++steps) {
      const auto parent = parent_of.find(pid);
      pid = parent == parent_of.end() ? 0 : parent->second;
    }
    if (pid == self) family.insert(process.id.pid);
  }
  return family;
}

}  // namespace berth::io
