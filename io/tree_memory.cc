#include <berth/core/text.h>
#include <berth/io/cgroup.h>
#include <berth/io/paths.h>
#include <berth/io/proc_fs.h>
#include <berth/io/tree_memory.h>

#include <charconv>
#include <utility>

namespace berth::inline v0::io {

namespace {

std::optional<std::uint64_t> number_at(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

/// "NAME VALUE" in lines.
std::uint64_t entry_of(std::string_view stat, std::string_view name) {
  while (!stat.empty()) {
    std::string_view line = take_line(stat);
    if (take_part(line, ' ') == name) return number_at(line).value_or(0);
  }
  return 0;
}

constexpr std::string_view kVersion2;
constexpr std::string_view kVersion1 = "memory";

}  // namespace

MemoryHomes::MemoryHomes(std::string_view mountinfo, std::string_view self_cgroup) {
  for (const std::string_view controller : {kVersion2, kVersion1}) {
    Result<CgroupHome> home = parse_cgroup_home(mountinfo, self_cgroup, controller);
    if (!home.has_value()) continue;
    const std::string_view path = *cgroup_path(self_cgroup, controller);
    homes_.push_back({controller, std::string(path == "/" ? "" : path), std::move(home->own)});
  }
}

std::vector<MemoryGroup> MemoryHomes::groups_of(std::string_view process_cgroup,
                                                std::string_view name_prefix) const {
  std::vector<MemoryGroup> groups;
  for (const Home& home : homes_) {
    std::string_view path = cgroup_path(process_cgroup, home.controller).value_or("");
    if (!is_below(path, home.path)) continue;
    path.remove_prefix(home.path.size() + 1);
    // An agent may have made groups below its own, and a process of it may be there.
    const std::string_view name = take_part(path, '/');
    if (!name.starts_with(name_prefix)) continue;
    groups.push_back({home.folder + "/" + std::string(name), home.controller == kVersion1});
  }
  return groups;
}

std::optional<std::uint64_t> memory_in_use(std::string_view current, std::string_view stat,
                                           bool version1) {
  const std::optional<std::uint64_t> all = number_at(current);
  if (!all) return std::nullopt;
  // Version 1 says "inactive_file" of the group without those below it.
  const std::uint64_t idle = entry_of(stat, version1 ? "total_inactive_file" : "inactive_file");
  return *all - std::min(idle, *all);
}

std::optional<std::uint64_t> read_memory(const MemoryGroup& group) {
  const char* const counter = group.version1 ? "/memory.usage_in_bytes" : "/memory.current";
  return memory_in_use(read_kernel_file(group.folder + counter),
                       read_kernel_file(group.folder + "/memory.stat"), group.version1);
}

}  // namespace berth::inline v0::io
