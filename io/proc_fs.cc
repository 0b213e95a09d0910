#include <berth/core/text.h>
#include <berth/io/fd.h>
#include <berth/io/proc_fs.h>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>

namespace berth::inline v0::io {

namespace {

template <typename Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

bool is_out_of_descriptors(int error) {
  return error == EMFILE || error == ENFILE;
}

constexpr std::size_t kEnvironmentMax =
    4 * 1024 * 1024;  // the kernel's own bound is a quarter of the stack limit
constexpr std::size_t kLinesMax = 1024 * 1024;

}  // namespace

std::optional<std::string> read_kernel_file(const std::string& path, std::size_t bytes_max) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return {};
  std::string text;
  std::array<char, 4096> chunk;
  while (text.size() < bytes_max) {
    const ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
    if (got <= 0) break;  // ESRCH when it ended meanwhile
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return text;
}

std::string read_kernel_file(const std::string& path) {
  return read_kernel_file(path, kLinesMax).value_or(std::string());
}

std::optional<ProcStat> parse_proc_stat(std::string_view line) {
  if (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  const std::size_t name_begin = line.find(" (");
  const std::size_t name_end = line.rfind(") ");
  if (name_begin == std::string_view::npos || name_end == std::string_view::npos) return {};
  ProcStat stat;
  if (!parse(line.substr(0, name_begin), stat.id.pid)) return {};
  std::string_view rest = line.substr(name_end + 2);
  // Fields 3 to 51 of proc(5); the array's index is the field's number minus 3.
  std::array<std::string_view, 49> fields;
  for (std::string_view& field : fields) field = take_part(rest, ' ');
  if (fields[0].size() != 1) return {};
  stat.state = fields[0][0];
  std::uint64_t user = 0;
  std::uint64_t system = 0;
  const bool good =
      parse(fields[1], stat.parent) && parse(fields[3], stat.session) && parse(fields[11], user) &&
      parse(fields[12], system) && parse(fields[19], stat.id.start_time) &&
      parse(fields[21], stat.resident_pages) && parse(fields[48], stat.environment_end);
  if (!good) return {};
  stat.cpu_ticks = user + system;
  return stat;
}

std::optional<ProcStat> read_proc_stat(int pid) {
  // By hand and with one read: a walk over all processes is made of this.
  std::array<char, 32> path;
  std::array<char, 1024> line;
  *fmt::format_to_n(path.data(), path.size() - 1, "/proc/{}/stat", pid).out = '\0';
  const Fd file(::open(path.data(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return {};
  const ssize_t got = ::read(file.get(), line.data(), line.size());
  if (got <= 0) return {};  // ESRCH: it ended meanwhile
  return parse_proc_stat({line.data(), static_cast<std::size_t>(got)});
}

std::optional<ProcessList> list_processes() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc"), &::closedir);
  if (folder == nullptr) return {};
  ProcessList list;
  while (const dirent* entry = ::readdir(folder.get())) {
    int pid = 0;
    if (!parse(std::string_view(entry->d_name), pid)) continue;
    errno = 0;
    std::optional<ProcStat> stat = read_proc_stat(pid);
    if (!stat.has_value() && is_out_of_descriptors(errno)) return {};
    if (stat.has_value()) {
      list.processes.push_back(*stat);
    } else {
      list.some_vanished = true;
    }
  }
  std::sort(list.processes.begin(), list.processes.end(),
            [](const ProcStat& a, const ProcStat& b) { return a.id.pid < b.id.pid; });
  return list;
}

Variable read_environment_of(int pid, std::string_view name) {
  const std::string path = fmt::format("/proc/{}/environ", pid);
  std::optional<std::string> all = read_kernel_file(path, kEnvironmentMax);
  if (!all.has_value() && (errno == EACCES || errno == EPERM)) return {};
  if (!all.has_value() || all->empty()) {
    // Nobody's environment, or a moment in which it has none: exec fills in the new one only at its
    // end.
    const std::optional<ProcStat> stat = read_proc_stat(pid);
    if (!stat.has_value()) return {Lookup::unsettled, {}};
    if (stat->ended() || stat->is_kernel_thread()) return {};
    if (stat->environment_end == 0) return {Lookup::unsettled, {}};
    all = read_kernel_file(path, kEnvironmentMax);
    if (!all.has_value()) return {Lookup::unsettled, {}};
  }
  std::string_view rest = *all;
  while (!rest.empty()) {
    const std::string_view entry = take_part(rest, '\0');
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
      return {Lookup::found, std::string(entry.substr(name.size() + 1))};
    }
  }
  return {};
}

bool is_running(ProcessId id) {
  const std::optional<ProcStat> stat = read_proc_stat(id.pid);
  return stat.has_value() && stat->id == id && !stat->ended();
}

int send_signal(ProcessId id, int number) {
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, id.pid, 0)));
  if (!pidfd.valid()) return errno;
  // From here on the descriptor names one process for good; if the start time is right, it is the
  // one we mean.
  errno = 0;
  const std::optional<ProcStat> stat = read_proc_stat(id.pid);
  if (!stat.has_value() && is_out_of_descriptors(errno)) return EMFILE;
  if (!stat.has_value() || stat->id != id) return ESRCH;
  return ::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0) == 0 ? 0 : errno;
}

}  // namespace berth::inline v0::io
