#include <berth/io/process_tree.h>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>
#include <utility>

namespace berth::inline v0::io {

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

/// Tells to which tree a process belongs by itself, by maps, since there may be thousands.
class Judge {
 public:
  Judge(std::span<const TreeSeed> seeds, const MarkerReader& marker_of)
      : seeds_(seeds), marker_of_(marker_of) {
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      const TreeSeed& seed = seeds[i];
      oldest_ = i == 0 ? seed.root.start_time : std::min(oldest_, seed.root.start_time);
      if (seed.root.pid != 0) by_root_.emplace(seed.root.pid, i);
      if (seed.marker_matches) {
        by_predicate_.push_back(i);
      } else {
        by_marker_.emplace(seed.marker, i);
      }
    }
  }

  std::optional<std::size_t> tree_of(const ProcStat& process) const {
    if (process.id.start_time < oldest_) return {};  // older than all trees
    if (const auto at = by_root_.find(process.id.pid);
        at != by_root_.end() && seeds_[at->second].root == process.id) {
      return at->second;
    }
    if (const auto at = by_root_.find(process.session);
        at != by_root_.end() && is_younger(process, at->second)) {
      return at->second;
    }
    const std::optional<std::string> marker = marker_of_(process);
    if (!marker.has_value()) return {};
    if (const auto at = by_marker_.find(*marker);
        at != by_marker_.end() && is_younger(process, at->second)) {
      return at->second;
    }
    for (const std::size_t i : by_predicate_) {
      if (is_younger(process, i) && seeds_[i].marker_matches(*marker)) return i;
    }
    return {};
  }

 private:
  bool is_younger(const ProcStat& process, std::size_t seed) const {
    return process.id.start_time >= seeds_[seed].root.start_time;
  }

  std::span<const TreeSeed> seeds_;
  const MarkerReader& marker_of_;
  std::uint64_t oldest_ = 0;
  std::unordered_map<int, std::size_t> by_root_;
  std::unordered_map<std::string, std::size_t> by_marker_;
  std::vector<std::size_t> by_predicate_;
};

}  // namespace

std::vector<TreeMember> members_of_all(std::span<const TreeSeed> seeds,
                                       std::span<const ProcStat> processes,
                                       const std::unordered_set<int>& spared,
                                       const MarkerReader& marker_of) {
  std::unordered_multimap<int, const ProcStat*> children;
  for (const ProcStat& process : processes) children.emplace(process.parent, &process);

  const Judge judge(seeds, marker_of);
  std::vector<std::pair<const ProcStat*, std::size_t>> found;
  std::unordered_set<int> seen = spared;
  for (const ProcStat& process : processes) {
    if (seen.contains(process.id.pid)) continue;
    const std::optional<std::size_t> tree = judge.tree_of(process);
    if (!tree.has_value()) continue;
    seen.insert(process.id.pid);
    found.emplace_back(&process, *tree);
  }
  for (std::size_t i = 0; i < found.size(); ++i) {  // grows while we go
    const auto [begin, end] = children.equal_range(found[i].first->id.pid);
    for (auto at = begin; at != end; ++at) {
      if (seen.insert(at->second->id.pid).second) found.emplace_back(at->second, found[i].second);
    }
  }
  std::vector<TreeMember> members;
  for (const auto& [process, tree] : found) {
    if (!process->ended()) members.push_back({process->id, tree});
  }
  return members;
}

std::vector<ProcessId> members_of(const TreeSeed& seed, std::span<const ProcStat> processes,
                                  const std::unordered_set<int>& spared,
                                  const MarkerReader& marker_of) {
  std::vector<ProcessId> members;
  for (const TreeMember& member : members_of_all({&seed, 1}, processes, spared, marker_of)) {
    members.push_back(member.id);
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
    for (const TreeSeed& seed : seeds) {
      oldest_ = std::min(oldest_, seed.root.start_time);
      roots_.insert(seed.root.pid);
    }
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
    for (const TreeMember& member : members_of_all(seeds_, processes, spared_, std::ref(cache_))) {
      const auto known = known_.find(member.id.pid);
      if (known != known_.end() && known->second == member.id.start_time) continue;
      const int error = send_signal(member.id, SIGSTOP);
      if (error == EPERM) continue;      // another user's: not ours to kill
      if (error != 0) disturbed = true;  // it ended; who knows what it has started before
      if (error == ESRCH) continue;
      found_new = true;
      known_[member.id.pid] = member.id.start_time;
      stopped_.push_back(member.id);
      ++answers_[member.seed].killed;
    }
    return found_new;
  }

  /// A process that ended in front of our eyes is like one that vanished. Roots are known to have
  /// ended.
  bool has_new_zombies(std::span<const ProcStat> processes) {
    bool any = false;
    for (const ProcStat& process : processes) {
      if (!process.ended() || process.id.start_time < oldest_) continue;
      const bool is_root = roots_.contains(process.id.pid);
      if (!is_root && zombies_.insert(process.id.pid).second) any = true;
    }
    return any;
  }

  const std::span<const TreeSeed> seeds_;
  std::unordered_set<int> spared_;
  std::vector<TreeSweep> answers_;
  std::uint64_t oldest_ = 0;  // nobody older belongs to any of the trees
  std::vector<ProcessId> stopped_;
  std::unordered_map<int, std::uint64_t> known_;  // the stopped, with their start times
  std::unordered_set<int> roots_;
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

}  // namespace berth::inline v0::io
