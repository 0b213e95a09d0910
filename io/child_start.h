// io/child_start.h — what every ProcessHost does to start a child in its group and to reap it.
#pragma once

#include <berth/core/result.h>
#include <berth/io/launcher.h>
#include <berth/io/process_direct.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace berth::io {

/// [a-z0-9-]{1,64}, else error "bad_launch".
Result<void> check_tag(std::string_view tag);

/// A control group for somebody who does not live yet: killed and removed with this, unless kept.
class NewGroup {
 public:
  NewGroup() = default;
  NewGroup(NewGroup&& other) noexcept : folder_(std::exchange(other.folder_, {})) {}
  NewGroup& operator=(NewGroup&&) = delete;
  ~NewGroup();
  Result<void> make(const std::string& folder);
  void keep() { folder_.clear(); }

 private:
  std::string folder_;
};

/// How the trees of one host are killed, found out once.
struct TreePlan {
  std::string cgroup_mount;  ///< For orphans; empty if no cgroup2 is mounted.
  std::string group_home;    ///< Where groups are made; empty: trees are killed by walks.
  std::string description;   ///< ProcessHost::describe().
};

/// Groups work when a child can be put into one and cgroup.kill is there; nothing less proves it,
/// so it is tried. Tells `launcher` to avoid clone3 where that is forbidden. Error if
/// `wish` is `cgroup` and groups do not work.
Result<TreePlan> plan_tree_kill(Launcher& launcher, TreeKill wish, const std::string& instance);

struct StartedChild {
  Launched launched;
  NewGroup group;      ///< Keep it when the child has found its owner.
  std::string folder;  ///< Of that group; empty where trees are killed by walks.
};

/// Makes the child's group if there is to be one, and launches into it. An error leaves nothing.
/// `extras.cgroup` is chosen here.
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

}  // namespace berth::io
