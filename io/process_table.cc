#include <berth/io/proc_fs.h>
#include <berth/io/process_table.h>

#include <unistd.h>

namespace berth::inline v0::io {

namespace {

ProcessTable::Usage usage_of(const ProcStat& stat) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const auto ticks_per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return {stat.resident_pages * page, stat.cpu_ticks * 1'000'000 / ticks_per_second};
}

}  // namespace

Result<ProcessTable::Usage> ProcProcessTable::usage(ProcessId id) {
  const std::optional<ProcStat> stat = read_proc_stat(id.pid);
  if (!stat.has_value() || stat->id != id) {
    return fail(ErrorKind::not_found, "no_such_process",
                "process " + std::to_string(id.pid) + " is gone");
  }
  return usage_of(*stat);
}

ProcessTable::Usage ProcProcessTable::self() {
  const std::optional<ProcStat> stat = read_proc_stat(::getpid());
  return stat.has_value() ? usage_of(*stat) : Usage{};
}

int ProcProcessTable::own_pid() {
  return ::getpid();
}

}  // namespace berth::inline v0::io
