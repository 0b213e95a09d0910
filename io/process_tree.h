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

namespace berth::inline v0::io {

/// The variable in the environment of everything that a ProcessHost starts; children inherit it.
inline constexpr std::string_view kMarkerName = "BERTH_TAG";

/// What a tree is recognised by. A process belongs to it if it is the root, is in the root's
/// session, carries the marker (a daemon whose parents are gone does), or descends from one that
/// belongs.
struct TreeSeed {
  /// Not reaped yet, so that its pid still names it; pid 0 if there is no root.
  ProcessId root;
  /// Judges the value of kMarkerName; empty if it has to be `marker`.
  std::function<bool(std::string_view)> marker_matches;
  std::string marker;
};

/// Gives the marker of a process, if it has one: from /proc, or from a table in tests.
using MarkerReader = std::function<std::optional<std::string>(const ProcStat&)>;

/// The members of the tree in `processes`, zombies left out. Processes in `spared` and all that
/// descends from them do not belong.
std::vector<ProcessId> members_of(const TreeSeed& seed, std::span<const ProcStat> processes,
                                  const std::unordered_set<int>& spared,
                                  const MarkerReader& marker_of);

struct TreeMember {
  ProcessId id;
  std::size_t seed = 0;  ///< Index of the tree: of the first if it is in several.
};

/// The same for many trees at once, at the price of one.
std::vector<TreeMember> members_of_all(std::span<const TreeSeed> seeds,
                                       std::span<const ProcStat> processes,
                                       const std::unordered_set<int>& spared,
                                       const MarkerReader& marker_of);

struct TreeSweep {
  /// Running processes that were found and sent SIGKILL. That they are gone shows only next time.
  std::size_t killed = 0;
  /// Nothing moved while we looked. If it did, a member may have been overlooked: look again later.
  bool settled = false;

  bool gone() const { return settled && killed == 0; }
};

/// Kills trees; one answer for each. Members are stopped first, until a look finds no new one, so
/// that none can fork away. A look is no snapshot: a process that ends between its name and its
/// line being read may have started another one that nobody saw, and one in the middle of an exec
/// carries no marker; then we look again, a few times. Other users' processes are left alone and
/// not counted. Never touches this process. Reads all of /proc once or more (8 us a process): make
/// one call for many trees.
std::vector<TreeSweep> kill_trees(std::span<const TreeSeed> seeds,
                                  const std::unordered_set<int>& spared);

/// Kills all that descends from this process, as it can be seen at this moment: call it until
/// nothing is left. Returns how many running ones it has sent SIGKILL; other users' are not
/// counted.
std::size_t kill_own_descendants();

/// This process, its ancestors and its descendants.
std::unordered_set<int> own_family(std::span<const ProcStat> processes);

}  // namespace berth::inline v0::io
