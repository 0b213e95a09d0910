// io/process_tree.h — finds and kills all descendants of a process by /proc, where no cgroup can do
// it.
#pragma once

#include <berth/io/proc_fs.h>

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace berth::io {

/// The variable in the environment of everything that a ProcessHost starts; children inherit it.
inline constexpr std::string_view kMarkerName = "BERTH_TAG";

/// What a tree is recognised by. A process belongs to it if it is the root, is in the root's
/// session, carries the marker (a daemon whose parents are gone does), or descends from one that
/// belongs.
struct TreeSeed {
  /// Not reaped yet, so that its pid still names it; pid 0 if there is no root.
  ProcessId root;
  /// Judges the value of kMarkerName.
  std::function<bool(std::string_view)> marker_matches;
};

/// Reads the marker of a process (read_environment_of, or a table in tests).
using MarkerReader = std::function<std::optional<std::string>(const ProcStat&)>;

/// The members of the tree in `processes`, zombies left out. Processes in `spared` and all that
/// descends from them do not belong.
std::vector<ProcessId> members_of(const TreeSeed& seed, std::span<const ProcStat> processes,
                                  const std::unordered_set<int>& spared,
                                  const MarkerReader& marker_of);

/// For each tree: how many running processes were found and sent SIGKILL. They are stopped first,
/// until a look finds no new one, so that none can fork away; that they are gone shows only in a
/// later call. Other users' processes are left alone and not counted; where we could not look, the
/// count is at least 1. Never touches this process. Costs a read of all of /proc once or more (some
/// ms): make one call for many trees.
std::vector<std::size_t> kill_trees(std::span<const TreeSeed> seeds,
                                    const std::unordered_set<int>& spared);

/// This process, its ancestors and its descendants.
std::unordered_set<int> own_family(std::span<const ProcStat> processes);

}  // namespace berth::io
