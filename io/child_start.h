// io/child_start.h — what every ProcessHost does to start a child in its group and to reap it.
#pragma once

#include <berth/core/result.h>
#include <berth/io/launcher.h>
#include <berth/io/process_direct.h>
#include <berth/io/tree_limits.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

/// [a-z0-9-]{1,64}, else error "bad_launch".
Result<void> check_tag(std::string_view tag);

/// The control groups of a tree.
struct TreeGroups {
  std::string kill;                 ///< Version 2: names the tree. Empty: it is killed by walks.
  std::vector<std::string> limits;  ///< Version 1: bound it.

  /// When the tree is gone.
  void remove_limits();
};

/// The control groups of somebody who does not live yet: he is killed and they are removed with
/// this, unless taken.
class NewGroups {
 public:
  NewGroups() = default;
  NewGroups(NewGroups&& other) noexcept : groups(std::exchange(other.groups, {})) {}
  NewGroups& operator=(NewGroups&&) = delete;
  ~NewGroups();
  TreeGroups take() { return std::exchange(groups, {}); }

  TreeGroups groups;
};

/// How the trees of one host are killed, found out once.
struct TreePlan {
  std::string cgroup_mount;  ///< For orphans; empty if no cgroup2 is mounted.
  std::string group_home;    ///< Where groups are made; empty: trees are killed by walks.
  LimitHomes limit_homes;
  std::string description;  ///< ProcessHost::describe().
};

/// Groups work when a child can be put into one and cgroup.kill is there; nothing less proves it,
/// so it is tried. Tells `launcher` to avoid clone3 where that is forbidden. Error if
/// `wish` is `cgroup` and groups do not work.
Result<TreePlan> plan_tree_kill(Launcher& launcher, TreeKill wish, const std::string& instance);

struct StartedChild {
  Launched launched;
  NewGroups groups;  ///< To be taken when the child has found its owner.
};

/// Makes the child's groups and launches into them. An error leaves nothing. The groups in `extras`
/// are chosen here.
Result<StartedChild> start_child(Launcher& launcher, const TreePlan& plan, const LaunchSpec& spec,
                                 LaunchExtras extras);

/// For a start that fails after the process lives: nobody has heard of it yet. (In its group, or
/// alone.)
void end_at_once(const Launched& launched);

enum class Reaped : std::uint8_t {
  not_yet,  ///< It lives.
  yes,      ///< It is gone and `status` says how.
  lost,     ///< Somebody else has taken its status (or SIGCHLD is ignored).
};

/// Takes the status of an ended child without waiting.
Reaped reap_child(int pidfd, ExitStatus& status);

}  // namespace berth::inline v0::io
