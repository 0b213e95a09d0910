// io/orphans.h — finds and ends what a crashed predecessor has left running.
#pragma once

#include <string>
#include <string_view>

namespace berth::io {

/// Names of control groups and markers: "berth.<tag>.<instance>.<number>" and
/// "<tag>.<instance>.<number>". The instance is a random number of one ProcessHost, so its own
/// children cannot be taken for orphans.
inline constexpr std::string_view kGroupPrefix = "berth.";
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

/// The same by the markers in processes' environments, for those outside of groups.
int kill_marked_orphans(std::string_view tag_prefix, std::string_view own_instance);

}  // namespace berth::io
