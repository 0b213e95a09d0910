#include <berth/io/orphans.h>
#include <berth/io/proc_fs.h>
#include <berth/io/process_table.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kTreeMax = 512;  // processes; what is above is not counted

ProcessTable::Usage usage_of(const ProcStat& stat) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const auto ticks_per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return {stat.resident_pages * page, stat.cpu_ticks * 1'000'000 / ticks_per_second};
}

Error gone(ProcessId id) {
  return make_error(ErrorKind::not_found, "no_such_process",
                    "process " + std::to_string(id.pid) + " is gone");
}

/// A process starts others from any of its threads.
void add_children(int pid, std::vector<int>& tree) {
  std::error_code error;  // it may end while we look
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (std::filesystem::directory_iterator thread(tasks, error), end; !error && thread != end;
       thread.increment(error)) {
    std::ifstream children(thread->path() / "children");
    for (int child = 0; tree.size() < kTreeMax && children >> child;) tree.push_back(child);
  }
}

}  // namespace

ProcProcessTable::ProcProcessTable()
    : memory_homes_(read_kernel_file("/proc/self/mountinfo"),
                    read_kernel_file("/proc/self/cgroup")) {}

Result<ProcessTable::Usage> ProcProcessTable::usage(ProcessId id) {
  const std::optional<ProcStat> stat = read_proc_stat(id.pid);
  if (!stat.has_value() || stat->id != id) return fail(gone(id));
  return usage_of(*stat);
}

Result<VitalSigns> ProcProcessTable::look(ProcessId id, bool whole_tree) {
  const std::optional<ProcStat> own = read_proc_stat(id.pid);
  if (!own.has_value() || own->id != id || own->ended()) return fail(gone(id));
  VitalSigns signs;
  signs.stopped = own->state == 'T' || own->state == 't';
  std::vector<int> tree = {id.pid};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const std::optional<ProcStat> stat = i == 0 ? own : read_proc_stat(tree[i]);
    if (!stat.has_value()) continue;  // ended meanwhile
    const Usage usage = usage_of(*stat);
    signs.cpu_microseconds += usage.cpu_microseconds;
    signs.memory_bytes += usage.resident_bytes;
    if (whole_tree) add_children(tree[i], tree);
  }
  if (!whole_tree) return signs;
  const std::string groups = read_kernel_file("/proc/" + std::to_string(id.pid) + "/cgroup");
  for (const MemoryGroup& group : memory_homes_.groups_of(groups, kGroupPrefix)) {
    const std::optional<std::uint64_t> counted = read_memory(group);
    if (!counted) continue;
    signs.memory_bytes = *counted;
    signs.counted_by_group = true;
    break;
  }
  return signs;
}

ProcessTable::Usage ProcProcessTable::self() {
  const std::optional<ProcStat> stat = read_proc_stat(::getpid());
  return stat.has_value() ? usage_of(*stat) : Usage{};
}

int ProcProcessTable::own_pid() {
  return ::getpid();
}

}  // namespace berth::inline v0::io
