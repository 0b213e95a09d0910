#include <berth/server/sessions/health.h>

#include <berth/io/proc_fs.h>

#include <algorithm>
#include <charconv>
#include <vector>

namespace berth::server {

namespace {

constexpr std::size_t kStatBytesMax = 4096;
constexpr std::size_t kChildrenBytesMax = 64 * 1024;
constexpr std::size_t kTreeMax = 512;  // processes; what is above is not counted
constexpr Duration kLookLeast = std::chrono::milliseconds(50);
constexpr Duration kLookMost = std::chrono::seconds(15);

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

std::string seconds_text(Duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + " s";
}

}  // namespace

std::string_view to_string(Health health) {
  switch (health) {
    case Health::well:
      return "well";
    case Health::quiet:
      return "quiet";
    case Health::stalled:
      return "stalled";
  }
  return "well";
}

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

Diagnosis diagnose(const HealthFacts& facts, TimePoint now, Duration stall_after,
                   Duration ping_max) {
  if (facts.reading_held) return {};
  if (!facts.turn_runs) {
    if (facts.unanswered_since && now - *facts.unanswered_since >= ping_max) {
      return {Health::stalled, "it has nothing to do and has not answered a ping for " +
                                   seconds_text(now - *facts.unanswered_since)};
    }
    if (!facts.stopped_since || now - *facts.stopped_since < stall_after) return {};
    return {Health::stalled,
            "its process is stopped, for " + seconds_text(now - *facts.stopped_since) + " already"};
  }
  const Duration silence = now - facts.heard;
  if (silence < stall_after) return {};
  std::string why = "nothing was heard of it for " + seconds_text(silence);
  if (facts.stopped_since) return {Health::stalled, why + ", its process is stopped"};
  const Duration rest = now - std::max(facts.worked, facts.heard);
  if (rest < stall_after) return {Health::quiet, why + ", but it uses the processor"};
  return {Health::stalled, why + ", and it used no processor time for " + seconds_text(rest)};
}

Duration look_interval(Duration stall_after) {
  return std::clamp(stall_after / 4, kLookLeast, kLookMost);
}

}  // namespace berth::server
