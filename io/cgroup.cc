#include <berth/core/text.h>
#include <berth/io/cgroup.h>
#include <berth/io/fd.h>
#include <berth/io/paths.h>
#include <berth/io/proc_fs.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <optional>

namespace berth::inline v0::io {

namespace {

constexpr int kDepthMax =
    16;  // of the walk through the hierarchy; systemd's own is about five deep

/// mountinfo writes blanks and backslashes of paths as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

struct Mount {
  std::string root;   // the folder of the hierarchy that is mounted
  std::string point;  // where
};

/// From lines of proc_pid_mountinfo(5): id parent major:minor root point options [optional...] -
/// type source options
std::optional<Mount> find_mount(std::string_view mountinfo, std::string_view controller) {
  while (!mountinfo.empty()) {
    std::string_view line = take_line(mountinfo);
    const std::size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const std::string_view kind = line.substr(dash + 3);
    const bool fits = controller.empty()
                          ? kind.starts_with("cgroup2 ")
                          : kind.starts_with("cgroup ") &&
                                has_part(kind.substr(kind.rfind(' ') + 1), controller, ',');
    if (!fits) continue;
    for (int i = 0; i < 3; ++i) take_part(line, ' ');
    Mount mount;
    mount.root = unescape(take_part(line, ' '));
    mount.point = unescape(take_part(line, ' '));
    return mount;
  }
  return {};
}

/// The folders in `folder`; the entries that are files are the kernel's.
std::vector<std::string> folders_in(const std::string& folder) {
  std::vector<std::string> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(folder.c_str()), &::closedir);
  if (open == nullptr) return found;
  while (const dirent* entry = ::readdir(open.get())) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") found.emplace_back(name);
  }
  return found;
}

/// What berth makes ends in a number; a service manager may have a "berth.service".
bool is_made_here(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) && name.back() >= '0' && name.back() <= '9';
}

void find_below(const std::string& folder, std::string_view name_prefix, int depth,
                std::vector<std::string>& found) {
  if (depth == kDepthMax) return;
  for (const std::string& name : folders_in(folder)) {
    const std::string path = folder + "/" + name;
    if (is_made_here(name, name_prefix)) {
      found.push_back(path);
    } else {
      find_below(path, name_prefix, depth + 1, found);
    }
  }
}

}  // namespace

std::optional<std::string_view> cgroup_path(std::string_view cgroup_text,
                                            std::string_view controller) {
  while (!cgroup_text.empty()) {
    // number:controllers:path
    std::string_view line = take_line(cgroup_text);
    const std::string_view number = take_part(line, ':');
    const std::string_view controllers = take_part(line, ':');
    if (controller.empty() ? number == "0" : has_part(controllers, controller, ',')) return line;
  }
  return {};
}

Result<CgroupHome> parse_cgroup_home(std::string_view mountinfo, std::string_view self_cgroup,
                                     std::string_view controller) {
  const std::string kind =
      controller.empty() ? "cgroup2" : "cgroup with " + std::string(controller);
  const auto none = [](std::string why) {
    return fail(ErrorKind::unsupported, "no_cgroup", std::move(why));
  };
  const std::optional<Mount> mount = find_mount(mountinfo, controller);
  if (!mount) return none("no " + kind + " is mounted");
  const std::optional<std::string_view> own = cgroup_path(self_cgroup, controller);
  if (!own) return none("this process is in no group of " + kind);
  // A container may see only a part of the hierarchy: its mount begins at `root`.
  const std::string group = "this process's group " + std::string(*own);
  std::string_view relative = *own;
  if (mount->root != "/") {
    if (relative != mount->root && !is_below(relative, mount->root)) {
      return none(group + " is outside of the mount " + mount->point);
    }
    relative.remove_prefix(mount->root.size());
  }
  if (relative.find("/..") != std::string_view::npos) {
    return none(group + " is outside of its namespace");
  }
  if (relative == "/") relative = "";
  return CgroupHome{mount->point, mount->point + std::string(relative)};
}

Result<CgroupHome> find_cgroup_home(std::string_view controller) {
  return parse_cgroup_home(read_kernel_file("/proc/self/mountinfo"),
                           read_kernel_file("/proc/self/cgroup"), controller);
}

Result<void> make_cgroup(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0755) == 0) return {};
  return fail(errno_error(errno, "cannot make the control group " + folder));
}

bool kill_cgroup(const std::string& folder) {
  const Fd file(::open((folder + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
  return file.valid() && ::write(file.get(), "1", 1) == 1;
}

bool remove_cgroup(const std::string& folder) {
  if (::rmdir(folder.c_str()) == 0 || errno == ENOENT) return true;
  // EBUSY: processes, or groups that the program made for itself (containers do).
  for (const std::string& name : folders_in(folder)) {
    if (!remove_cgroup(folder + "/" + name)) return false;
  }
  return ::rmdir(folder.c_str()) == 0 || errno == ENOENT;
}

std::vector<int> cgroup_processes(const std::string& folder) {
  std::vector<int> pids;
  std::ifstream file(folder + "/cgroup.procs");
  for (int pid = 0; file >> pid;) pids.push_back(pid);
  for (const std::string& name : folders_in(folder)) {
    const std::vector<int> below = cgroup_processes(folder + "/" + name);
    pids.insert(pids.end(), below.begin(), below.end());
  }
  return pids;
}

std::vector<std::string> find_cgroups(const std::string& mount, std::string_view name_prefix) {
  std::vector<std::string> found;
  find_below(mount, name_prefix, 0, found);
  return found;
}

}  // namespace berth::inline v0::io
