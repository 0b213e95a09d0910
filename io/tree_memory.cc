#include <berth/io/cgroup.h>
#include <berth/io/tree_limits.h>
#include <berth/io/tree_memory.h>

#include <charconv>
#include <fstream>
#include <iterator>

namespace berth::inline v0::io {

namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::optional<std::uint64_t> number_at(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

/// "NAME VALUE" in lines.
std::uint64_t entry_of(std::string_view stat, std::string_view name) {
  while (!stat.empty()) {
    const std::size_t end = std::min(stat.find('\n'), stat.size());
    const std::string_view line = stat.substr(0, end);
    stat.remove_prefix(std::min(end + 1, stat.size()));
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ' ') {
      return number_at(line.substr(name.size() + 1)).value_or(0);
    }
  }
  return 0;
}

/// The child of `home` whose name begins with `name_prefix` and that holds `folder`. An agent may
/// have made groups below its own, and a process of it may be there.
std::string tree_group(const std::string& folder, const std::string& home,
                       std::string_view name_prefix) {
  if (!folder.starts_with(home + "/" + std::string(name_prefix))) return {};
  return folder.substr(0, folder.find('/', home.size() + 1));
}

}  // namespace

std::vector<MemoryGroup> memory_groups_of(const CgroupTexts& texts, std::string_view name_prefix) {
  std::vector<MemoryGroup> groups;
  const auto add = [&](const std::string& folder, const std::string& home, bool version1) {
    std::string group = tree_group(folder, home, name_prefix);
    if (!group.empty()) groups.push_back({std::move(group), version1});
  };
  const Result<CgroupHome> own = parse_cgroup_home(texts.mountinfo, texts.self);
  const Result<CgroupHome> its = parse_cgroup_home(texts.mountinfo, texts.process);
  if (own.has_value() && its.has_value()) add(its->own, own->own, false);
  const ControllerHome own1 = parse_cgroup1_home(texts.mountinfo, texts.self, "memory");
  const ControllerHome its1 = parse_cgroup1_home(texts.mountinfo, texts.process, "memory");
  const auto known = ControllerHome::Kind::version1;
  if (own1.kind == known && its1.kind == known) add(its1.own, own1.own, true);
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
  return memory_in_use(read_text(group.folder + counter), read_text(group.folder + "/memory.stat"),
                       group.version1);
}

}  // namespace berth::inline v0::io
