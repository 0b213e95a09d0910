// io/orphans.h — finds and ends what a crashed predecessor has left running.
#pragma once

#include <berth/core/result.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::inline v0::io {

/// Names of control groups and markers: "berth.<tag>.<instance>.<number>" and
/// "<tag>.<instance>.<number>". The instance names one ProcessHost for all time:
/// "<pid>-<start time>-<random hex>" of its process. So its own children cannot be taken for
/// orphans.
inline constexpr std::string_view kGroupPrefix = "berth.";
Result<std::string> make_instance();
std::string make_marker(std::string_view tag, std::string_view instance, std::uint64_t number);
/// True if `marker` has a tag that begins with `tag_prefix` and another instance than
/// `own_instance`.
bool is_orphan_marker(std::string_view marker, std::string_view tag_prefix,
                      std::string_view own_instance);

/// Kills all processes in orphaned groups anywhere below `mount` and removes the groups. Groups
/// with a process of our own family (own_family) are left alone. Waits for the end of what it
/// kills, 2 s at most; returns how many that were.
int kill_orphan_groups(const std::string& mount, std::string_view tag_prefix,
                       std::string_view own_instance);

/// Kills all that the host of that instance has started and that its groups or marks still name:
/// for one that was lost. `mount` may be empty. Relatives of this process are not spared. Waits
/// like kill_orphan_groups.
int kill_instance(const std::string& mount, std::string_view instance);

/// Removes groups of any tag that are empty and whose host is gone: crashed hosts cannot, and
/// nobody may ever come again with their tag.
void remove_dead_groups(const std::string& mount);

/// Like kill_orphan_groups, by the markers in processes' environments: for those outside of groups.
int kill_marked_orphans(std::string_view tag_prefix, std::string_view own_instance);

}  // namespace berth::inline v0::io
