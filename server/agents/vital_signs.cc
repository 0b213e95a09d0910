#include <berth/server/agents/vital_signs.h>

#include <berth/io/proc_fs.h>

#include <charconv>
#include <string>
#include <vector>

namespace berth::server {

namespace {

constexpr std::size_t kStatBytesMax = 4096;
constexpr std::size_t kChildrenBytesMax = 64 * 1024;
constexpr std::size_t kTreeMax = 512;  // processes; what is above is not counted

std::string folder_of(int pid) {
  return "/proc/" + std::to_string(pid);
}

std::optional<io::ProcStat> stat_of(io::Files& files, int pid) {
  const Result<std::string> line = files.read(folder_of(pid) + "/stat", kStatBytesMax);
  return line.has_value() ? io::parse_proc_stat(*line) : std::nullopt;
}

/// A process starts others from any of its threads.
void add_children(io::Files& files, int pid, std::vector<int>& tree) {
  const std::string tasks = folder_of(pid) + "/task";
  const Result<std::vector<io::FolderEntry>> threads = files.list(tasks);
  if (!threads.has_value()) return;
  for (const io::FolderEntry& thread : *threads) {
    const Result<std::string> children =
        files.read(tasks + "/" + thread.name + "/children", kChildrenBytesMax);
    if (!children.has_value()) continue;
    const char* const end = children->data() + children->size();
    for (const char* at = children->data(); at < end && tree.size() < kTreeMax; ++at) {
      int child = 0;
      const auto [next, error] = std::from_chars(at, end, child);
      if (error != std::errc()) continue;
      tree.push_back(child);
      at = next;
    }
  }
}

}  // namespace

std::optional<VitalSigns> look_at_process(io::Platform& platform, io::ProcessId id,
                                          bool whole_tree) {
  io::Files& files = platform.files();
  const std::optional<io::ProcStat> own = stat_of(files, id.pid);
  if (!own.has_value() || own->id != id || own->ended()) return std::nullopt;
  VitalSigns signs;
  signs.stopped = own->state == 'T' || own->state == 't';
  std::vector<int> tree = {id.pid};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const std::optional<io::ProcStat> stat = i == 0 ? own : stat_of(files, tree[i]);
    if (!stat.has_value()) continue;  // ended meanwhile
    const auto usage = platform.process_table().usage(stat->id);
    if (!usage.has_value()) continue;
    signs.cpu_microseconds += usage->cpu_microseconds;
    signs.resident_bytes += usage->resident_bytes;
    if (whole_tree) add_children(files, tree[i], tree);
  }
  return signs;
}

}  // namespace berth::server
