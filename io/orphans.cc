#include <berth/io/cgroup.h>
#include <berth/io/orphans.h>
#include <berth/io/process_tree.h>

#include <fmt/format.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <functional>

namespace berth::inline v0::io {

namespace {

using MarkerTest = std::function<bool(std::string_view)>;
constexpr int kTriesMax = 200;  // of 10 ms: the 2 s of the header

void nap() {
  const timespec ten_ms = {0, 10'000'000};
  ::nanosleep(&ten_ms, nullptr);
}

bool has_any_of(const std::vector<int>& pids, const std::unordered_set<int>& family) {
  return std::any_of(pids.begin(), pids.end(), [&family](int pid) { return family.contains(pid); });
}

/// The process whose host has made a marker; nothing if the text is none of ours.
std::optional<ProcessId> maker_of(std::string_view marker) {
  const std::size_t tag_end = marker.find('.');
  if (tag_end == std::string_view::npos) return {};
  marker.remove_prefix(tag_end + 1);
  ProcessId id;
  const char* const end = marker.data() + marker.size();
  const auto pid = std::from_chars(marker.data(), end, id.pid);
  if (pid.ec != std::errc() || pid.ptr == end || *pid.ptr != '-') return {};
  const auto start = std::from_chars(pid.ptr + 1, end, id.start_time);
  if (start.ec != std::errc() || start.ptr == end || *start.ptr != '-') return {};
  return id;
}

/// The middle of "<tag>.<instance>.<number>"; empty if the text is none of ours.
std::string_view instance_in(std::string_view marker) {
  // Tags hold no dots: the first one ends the tag.
  const std::size_t begin = marker.find('.') + 1;
  const std::size_t end = marker.find('.', begin);
  if (begin == 0 || end == std::string_view::npos) return {};
  return marker.substr(begin, end - begin);
}

std::string_view marker_in(std::string_view folder) {
  return folder.substr(folder.rfind('/') + 1 + kGroupPrefix.size());
}

}  // namespace

Result<std::string> make_instance() {
  const std::optional<ProcStat> self = read_proc_stat(::getpid());
  if (!self.has_value()) {
    return fail(ErrorKind::unsupported, "no_proc", "/proc does not show this process");
  }
  std::uint32_t bits = 0;
  if (::getrandom(&bits, sizeof(bits), 0) != sizeof(bits)) {
    return fail(errno_error(errno, "getrandom"));
  }
  return fmt::format("{}-{}-{:08x}", self->id.pid, self->id.start_time, bits);
}

std::string make_marker(std::string_view tag, std::string_view instance, std::uint64_t number) {
  std::string marker(tag);
  marker += '.';
  marker += instance;
  marker += '.';
  marker += std::to_string(number);
  return marker;
}

bool is_orphan_marker(std::string_view marker, std::string_view tag_prefix,
                      std::string_view own_instance) {
  const std::size_t tag_end = marker.find('.');
  if (tag_end == std::string_view::npos || tag_end < tag_prefix.size()) return false;
  const std::string_view instance = instance_in(marker);
  return marker.starts_with(tag_prefix) && !instance.empty() && instance != own_instance;
}

namespace {

enum class Family : bool { is_killed, is_spared };

std::unordered_set<int> spared(Family family) {
  if (family == Family::is_killed) return {};
  return own_family(list_processes().value_or(ProcessList()).processes);
}

int kill_groups(const std::string& mount, const MarkerTest& is_wanted, Family family) {
  std::vector<std::string> groups;
  int killed = 0;
  const std::unordered_set<int> relatives = spared(family);
  for (const std::string& folder : find_cgroups(mount, kGroupPrefix)) {
    if (!is_wanted(marker_in(folder))) continue;
    const std::vector<int> pids = cgroup_processes(folder);
    if (has_any_of(pids, relatives)) continue;  // we were started inside of it
    if (!pids.empty() && kill_cgroup(folder)) killed += static_cast<int>(pids.size());
    groups.push_back(folder);
  }
  for (int tries = 0; tries < kTriesMax && !groups.empty(); ++tries) {
    if (tries > 0) nap();
    std::erase_if(groups, [](const std::string& folder) { return remove_cgroup(folder); });
  }
  return killed;
}

int kill_marked(const MarkerTest& is_wanted, Family family) {
  const TreeSeed seed = {{}, is_wanted, {}};
  std::size_t killed = 0;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    // The dying are met again until they are gone: the fullest look tells how many they were.
    const TreeSweep answer = kill_trees({&seed, 1}, spared(family))[0];
    if (answer.gone()) break;
    killed = std::max(killed, answer.killed);
    nap();
  }
  return static_cast<int>(killed);
}

}  // namespace

int kill_orphan_groups(const std::string& mount, std::string_view tag_prefix,
                       std::string_view own_instance) {
  return kill_groups(
      mount,
      [=](std::string_view marker) { return is_orphan_marker(marker, tag_prefix, own_instance); },
      Family::is_spared);
}

int kill_instance(const std::string& mount, std::string_view instance) {
  const MarkerTest is_wanted = [instance](std::string_view marker) {
    return instance_in(marker) == instance;
  };
  const int in_groups = mount.empty() ? 0 : kill_groups(mount, is_wanted, Family::is_killed);
  return in_groups + kill_marked(is_wanted, Family::is_killed);
}

void remove_dead_groups(const std::string& mount) {
  for (const std::string& folder : find_cgroups(mount, kGroupPrefix)) {
    const std::optional<ProcessId> maker = maker_of(marker_in(folder));
    if (maker.has_value() && !is_running(*maker)) remove_cgroup(folder);  // fails while in use
  }
}

int kill_marked_orphans(std::string_view tag_prefix, std::string_view own_instance) {
  return kill_marked(
      [=](std::string_view marker) { return is_orphan_marker(marker, tag_prefix, own_instance); },
      Family::is_spared);
}

}  // namespace berth::inline v0::io
