#include <berth/server/cli/doctor.h>

#include <berth/core/json_doc.h>
#include <berth/io/files_linux.h>
#include <berth/server/cli/environment.h>
#include <berth/server/cli/terminal.h>

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace berth::server {

namespace {

constexpr std::size_t kSmallFileMax = 64 * 1024;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
/// Below it a snapshot or a clone soon fills the disk.
constexpr std::uint64_t kDiskLow = 1024 * kMiB;
/// Each agent takes a few descriptors, and each client one.
constexpr rlim_t kFilesFew = 4096;
/// Of landlock_create_ruleset(2), which then gives the version.
constexpr unsigned kLandlockVersion = 1;

std::string read_line(io::Files& files, const std::string& path) {
  std::string text = files.read(path, kSmallFileMax).value_or("");
  text.resize(std::min(text.size(), text.find('\n')));
  return text;
}

Finding look_at_kernel(io::Files& files) {
  utsname system{};
  ::uname(&system);
  std::string text = fmt::format("{} {} {}", system.sysname, system.release, system.machine);
  const long landlock = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kLandlockVersion);
  text += landlock > 0 ? fmt::format(", Landlock {}", landlock) : ", no Landlock";
  // Debian's own switch; elsewhere the file is not there.
  const std::string users = read_line(files, "/proc/sys/kernel/unprivileged_userns_clone");
  if (users == "0") text += ", no user namespaces for ordinary users";
  const std::string watches = read_line(files, "/proc/sys/fs/inotify/max_user_watches");
  if (!watches.empty()) text += fmt::format(", {} inotify watches", watches);
  return {Finding::Kind::good, "kernel", printable(text)};
}

Finding look_at_memory(io::Files& files) {
  const std::string meminfo = files.read("/proc/meminfo", kSmallFileMax).value_or("");
  const auto mebibytes = [&meminfo](std::string_view key) -> std::uint64_t {
    const std::size_t at = meminfo.find(key);
    if (at == std::string::npos) return 0;
    return std::strtoull(meminfo.c_str() + at + key.size(), nullptr, 10) / 1024;
  };
  return {Finding::Kind::good, "memory",
          fmt::format("{} MiB, {} MiB available, {} processors", mebibytes("MemTotal:"),
                      mebibytes("MemAvailable:"), ::sysconf(_SC_NPROCESSORS_ONLN))};
}

Finding look_at_limits() {
  const auto shown = [](rlim_t limit) {
    return limit == RLIM_INFINITY ? std::string("unlimited") : std::to_string(limit);
  };
  rlimit open_files{};
  rlimit processes{};
  ::getrlimit(RLIMIT_NOFILE, &open_files);
  ::getrlimit(RLIMIT_NPROC, &processes);
  const bool few = open_files.rlim_cur < kFilesFew;
  return {few ? Finding::Kind::note : Finding::Kind::good, "limits",
          fmt::format("{} open files (at most {}){}, {} processes", shown(open_files.rlim_cur),
                      shown(open_files.rlim_max), few ? ", which is few: ulimit -n" : "",
                      shown(processes.rlim_cur))};
}

Finding look_at_cgroup(io::Files& files) {
  const std::string all = files.read("/proc/self/cgroup", kSmallFileMax).value_or("");
  const std::size_t at = all.find("0::");
  if (at == std::string::npos)
    return {Finding::Kind::note, "cgroup", "no control groups, version 2"};
  const std::string path = all.substr(at + 3, all.find('\n', at) - at - 3);
  const std::string folder = "/sys/fs/cgroup" + path;
  const bool ours = ::access((folder + "/cgroup.procs").c_str(), W_OK) == 0;
  return {ours ? Finding::Kind::good : Finding::Kind::note, "cgroup",
          printable(path + (ours ? " (ours to divide)" : " (not ours to divide)"))};
}

Finding look_at_disk(const std::string& state) {
  struct statvfs disk{};
  std::string folder = state;
  while (!folder.empty() && ::statvfs(folder.c_str(), &disk) != 0) {
    folder.resize(folder.find_last_of('/') == std::string::npos ? 0 : folder.find_last_of('/'));
  }
  if (folder.empty()) return {Finding::Kind::note, "disk", "cannot be looked at"};
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  const bool low = free < kDiskLow;
  return {
      low ? Finding::Kind::note : Finding::Kind::good, "disk",
      fmt::format("{} MiB free at {}{}", free / kMiB, printable(folder), low ? ": little" : "")};
}

bool is_in_path(const std::string& command, const std::string& path) {
  if (command.find('/') != std::string::npos) return ::access(command.c_str(), X_OK) == 0;
  for (std::string_view left = path; !left.empty();) {
    const std::string_view folder = left.substr(0, left.find(':'));
    left.remove_prefix(std::min(left.size(), folder.size() + 1));
    if (::access((std::string(folder) + "/" + command).c_str(), X_OK) == 0) return true;
  }
  return false;
}

/// Others may do something with it.
bool is_open_to_others(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && (status.st_mode & 077) != 0;
}

Result<void> set_mode(const std::string& path, mode_t mode) {
  if (::chmod(path.c_str(), mode) != 0) return fail(errno_error(errno, "chmod " + path));
  return {};
}

/// The server that wrote the endpoint file is gone: so is its process, or nobody holds the lock.
bool is_stale(io::Files& files, const std::string& state) {
  const Result<std::string> text = files.read(state + "/endpoint.json", kSmallFileMax);
  if (!text.has_value()) return false;
  const Result<JsonDoc> document = JsonDoc::parse(*text);
  const auto pid =
      document.has_value() ? document->root().get_int64("pid").value_or(0) : std::int64_t{0};
  if (pid <= 0 || (::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH)) return true;
  // Let go again at once; a server that starts in this moment would say that it is taken.
  return io::LinuxFiles().lock_exclusively(state + "/lock").has_value();
}

}  // namespace

std::vector<Finding> look_at_system(const std::string& state) {
  io::LinuxFiles files;
  return {look_at_kernel(files), look_at_memory(files), look_at_limits(), look_at_cgroup(files),
          look_at_disk(state)};
}

Finding look_at_agents(const std::vector<std::pair<std::string, std::string>>& name_and_command) {
  const std::string path = ProgramEnvironment().get("PATH").value_or("");
  std::string found;
  std::string missing;
  for (const auto& [name, command] : name_and_command) {
    std::string& list = is_in_path(command, path) ? found : missing;
    list += (list.empty() ? "" : ", ") + name;
  }
  std::string text = found.empty() ? "none found" : found;
  if (!missing.empty()) text += "; not in PATH: " + missing;
  return {found.empty() ? Finding::Kind::note : Finding::Kind::good, "programs", printable(text)};
}

std::vector<Finding> look_at_state(const std::string& state) {
  std::vector<Finding> findings;
  struct stat status{};
  if (::stat(state.c_str(), &status) != 0) {
    return {{Finding::Kind::note, "state", printable(state) + " (made at the first start)"}};
  }
  findings.push_back({Finding::Kind::good, "state", printable(state)});
  if (::stat((state + "/berth.db").c_str(), &status) == 0) {
    std::string text = fmt::format("{:.1f} MiB", static_cast<double>(status.st_size) / kMiB);
    if (::stat((state + "/berth.db-wal").c_str(), &status) == 0) {
      text += fmt::format(", log {:.1f} MiB", static_cast<double>(status.st_size) / kMiB);
    }
    findings.push_back(
        {Finding::Kind::good, "store", text + " (berth store check looks at it all)"});
  }
  for (const Repair& repair : find_repairs(state)) {
    findings.push_back(
        {Finding::Kind::note, "to mend", repair.what + " (berth doctor --fix --yes)"});
  }
  return findings;
}

std::vector<Repair> find_repairs(const std::string& state) {
  std::vector<Repair> repairs;
  io::LinuxFiles files;
  if (is_open_to_others(state)) {
    repairs.push_back(
        {"others can look into " + printable(state), [state] { return set_mode(state, 0700); }});
  }
  for (const char* name : {"/token", "/endpoint.json"}) {
    const std::string path = state + name;
    if (!is_open_to_others(path)) continue;
    repairs.push_back(
        {"others can read " + printable(path), [path] { return set_mode(path, 0600); }});
  }
  const std::string endpoint = state + "/endpoint.json";
  if (is_stale(files, state)) {
    repairs.push_back({printable(endpoint) + " is of a server that is gone",
                       [endpoint] { return io::LinuxFiles().remove_if_exists(endpoint); }});
  }
  return repairs;
}

}  // namespace berth::server
