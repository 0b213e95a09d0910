#include <berth/io/process_tree.h>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>

namespace berth::io {

namespace {

/// Enough for any honest tree; what forks faster than this is killed as far as it is known and met
/// again later.
constexpr int kRoundsMax = 16;

/// Remembers which processes carry no marker, so that later rounds of one call read only new
/// environments.
class MarkerCache {
 public:
  std::optional<std::string> operator()(const ProcStat& process) {
    const auto [at, is_new] = known_.try_emplace(process.id.pid);
    Entry& entry = at->second;
    if (is_new || entry.start_time != process.id.start_time) {
      entry.start_time = process.id.start_time;
      entry.marker = read_environment_of(process.id.pid, kMarkerName);
    }
    return entry.marker;
  }

 private:
  struct Entry {
    std::uint64_t start_time = 0;
    std::optional<std::string> marker;
  };
  std::unordered_map<int, Entry> known_;
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

std::vector<std::size_t> kill_trees(std::span<const TreeSeed> seeds,
                                    const std::unordered_set<int>& spared) {
  std::vector<std::size_t> counts(seeds.size(), 0);
  std::unordered_set<int> not_these = spared;
  not_these.insert(::getpid());
  std::vector<ProcessId> stopped;
  MarkerCache cache;
  for (int round = 0; round < kRoundsMax; ++round) {
    const std::optional<std::vector<ProcStat>> processes = list_processes();
    if (!processes.has_value()) {
      for (std::size_t& count : counts) count = std::max<std::size_t>(count, 1);
      break;
    }
    bool found_new = false;
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      for (const ProcessId& member : members_of(seeds[i], *processes, not_these, std::ref(cache))) {
        if (std::find(stopped.begin(), stopped.end(), member) != stopped.end()) continue;
        const int error = send_signal(member, SIGSTOP);
        if (error == EPERM || error == ESRCH) continue;  // not ours to kill; gone
        found_new = true;
        stopped.push_back(member);
        ++counts[i];
      }
    }
    if (!found_new) break;
  }
  for (const ProcessId& member : stopped) send_signal(member, SIGKILL);
  return counts;
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
