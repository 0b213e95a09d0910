#include <berth/io/sandbox_arguments.h>

#include <berth/io/fd.h>
#include <berth/io/paths.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

namespace berth::inline v0::io {

namespace {

using Texts = std::vector<std::string>;

constexpr const char* kSettings = "/etc";
/// Where root writes to the kernel without any capability, and others what is of their namespaces.
/// bubblewrap looks at the folders alone, which nobody can write.
constexpr std::array kKernelDoors = {
    "/proc/sys",  "/proc/irq",    "/proc/bus",  "/proc/fs",       "/proc/acpi",
    "/proc/scsi", "/proc/asound", "/proc/mtrr", "/proc/pressure", "/proc/sysrq-trigger"};
constexpr int kSettingsDepth = 4;  // folders below each other that are looked through

// Where the helper and the proxy's socket are, inside.
constexpr const char* kHelper = "/run/berth/launch";
constexpr const char* kEgress = "/run/berth/egress";

/// What is at one path inside. The later one of the same path wins.
struct Mount {
  enum class Kind : std::uint8_t { link, nothing, read, write } kind = Kind::read;
  std::string source;  // what the link says
};

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

std::string link_at(const std::string& path) {
  std::array<char, 4096> target;
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  return size > 0 ? std::string(target.data(), static_cast<std::size_t>(size)) : std::string();
}

bool is_folder(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

/// What in `folder` only its owner or group may read.
void find_secrets(const std::string& folder, int depth, Texts& found) {
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(folder.c_str()), ::closedir);
  if (listing == nullptr) return;
  while (const dirent* entry = ::readdir(listing.get())) {
    const std::string_view name = entry->d_name;
    struct stat info;
    if (name == "." || name == ".." ||
        ::fstatat(::dirfd(listing.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
      continue;
    }
    const bool is_folder = S_ISDIR(info.st_mode);
    const std::string path = folder + "/" + entry->d_name;
    if ((is_folder || S_ISREG(info.st_mode)) && (info.st_mode & S_IROTH) == 0) {
      found.push_back(path);
    } else if (is_folder && depth > 1) {
      find_secrets(path, depth - 1, found);
    }
  }
}

/// Paths inside, parents before what is below them.
class Mounts {
 public:
  explicit Mounts(const Texts& hidden) {
    for (const std::string& path : hidden) hidden_.push_back(real_path_or(path));
    // A sandbox of root's is root as far as the bits of files go.
    if (::geteuid() == 0) find_secrets(kSettings, kSettingsDepth, hidden_);
  }

  Result<void> add(const std::string& path, Mount::Kind kind) {
    Result<GivenPath> given = resolve_given(path, hidden_);
    if (!given.has_value()) return fail(std::move(given.error()));
    if (given->path.empty()) return {};
    mounts_[given->path] = {kind, given->path};
    std::string named = path;
    while (named.size() > 1 && named.ends_with('/')) named.pop_back();
    if (named == given->path) return {};
    const std::string target = link_at(named);
    // By its other name too: a link stays one, below a linked folder it is there twice.
    mounts_[named] = target.empty() ? Mount{kind, given->path} : Mount{Mount::Kind::link, target};
    return {};
  }

  /// For what nobody has asked for by name: never what holds something hidden.
  void add_found(const std::string& path) {
    const std::string real = real_path_or(path);
    const bool unwanted =
        real == "/" || std::any_of(hidden_.begin(), hidden_.end(), [&](const std::string& hidden) {
          return real == hidden || is_below(hidden, real);
        });
    if (unwanted) return;
    static_cast<void>(add(path, Mount::Kind::read));
  }

  void place(const std::string& source, const std::string& path) {
    mounts_[path] = {Mount::Kind::write, source};
  }

  void hide() {
    for (const std::string& path : hidden_) {
      const bool inside = std::any_of(mounts_.begin(), mounts_.end(), [&](const auto& mount) {
        return mount.second.kind != Mount::Kind::link && is_below(path, mount.first);
      });
      if (inside && !mounts_.contains(path)) mounts_[path] = {Mount::Kind::nothing, path};
    }
  }

  void write(Texts& out) const {
    Texts emptied;
    for (const auto& [path, mount] : mounts_) {
      if (is_there_already(path, mount)) continue;
      switch (mount.kind) {
        case Mount::Kind::link:
          out.insert(out.end(), {"--symlink", mount.source, path});
          break;
        case Mount::Kind::nothing:
          if (is_folder(path)) {
            out.insert(out.end(), {"--tmpfs", path});
            emptied.insert(emptied.end(), {"--remount-ro", path});
          } else if (::access(path.c_str(), F_OK) == 0) {
            out.insert(out.end(), {"--ro-bind", "/dev/null", path});
          }
          break;
        case Mount::Kind::read:
          out.insert(out.end(), {"--ro-bind", mount.source, path});
          break;
        case Mount::Kind::write:
          out.insert(out.end(), {"--bind", mount.source, path});
          break;
      }
    }
    out.insert(out.end(), emptied.begin(), emptied.end());
  }

 private:
  /// What the mount around it shows just so. A link there cannot even be made again.
  bool is_there_already(const std::string& path, const Mount& mount) const {
    for (std::string above = parent_of(path); above != "/"; above = parent_of(above)) {
      const auto found = mounts_.find(above);
      if (found == mounts_.end()) continue;
      const Mount& around = found->second;
      // What lies behind a link is mounted where it really is.
      if (around.kind == Mount::Kind::link) {
        return mount.kind == Mount::Kind::link || mount.source == real_path_or(path);
      }
      if (around.source != above || around.kind == Mount::Kind::nothing) return false;
      // Its other name leads there through a link that is inside too.
      const bool other_name = mount.source != path && mount.source == real_path_or(path);
      return mount.kind == Mount::Kind::link || other_name ||
             (mount.kind == around.kind && mount.source == path);
    }
    return false;
  }

  std::vector<std::string> hidden_;
  std::map<std::string, Mount> mounts_;
};

std::string value_in(const LaunchSpec& spec, std::string_view name) {
  for (const auto& [known, value] : spec.environment) {
    if (known == name) return value;
  }
  return {};
}

Texts folders_of_path(const LaunchSpec& spec) {
  Texts folders;
  const std::string search = value_in(spec, "PATH");
  for (std::size_t at = 0; at <= search.size();) {
    const std::size_t end = std::min(search.find(':', at), search.size());
    if (end > at && search[at] == '/') folders.push_back(search.substr(at, end - at));
    at = end + 1;
  }
  return folders;
}

/// The program that `#!` names, looked up as env(1) does where it names that.
std::string interpreter_of(const std::string& program, const Texts& search) {
  std::array<char, 256> head;
  const Fd file(::open(program.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t got = file.valid() ? ::read(file.get(), head.data(), head.size()) : 0;
  if (got < 3 || head[0] != '#' || head[1] != '!') return {};
  std::string_view line(head.data() + 2, static_cast<std::size_t>(got) - 2);
  line = line.substr(0, line.find('\n'));
  const auto next_word = [&line] {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    const std::string word(line.substr(0, line.find_first_of(" \t")));
    line.remove_prefix(word.size());
    return word;
  };
  std::string name = next_word();
  if (!name.ends_with("/env")) return name;
  do {
    name = next_word();
  } while (name.starts_with("-"));
  for (const std::string& folder : search) {
    if (::access((folder + "/" + name).c_str(), X_OK) == 0) return folder + "/" + name;
  }
  return {};
}

/// A program and what lies around it: the packages of its node_modules, else its folder.
void add_program(Mounts& mounts, const std::string& program) {
  if (program.empty()) return;
  const std::string real = real_path_or(program);
  const std::size_t packages = real.find("/node_modules/");
  mounts.add_found(packages == std::string::npos ? parent_of(real) : real.substr(0, packages));
  mounts.add_found(program);
}

}  // namespace

Result<std::vector<std::string>> sandbox_arguments(const LaunchSpec& spec,
                                                   const std::string& program) {
  const Confinement& wanted = spec.confinement;
  if (wanted.bubblewrap.empty() || wanted.helper.empty()) {
    return fail(ErrorKind::invalid, "bad_launch", "nobody said where bubblewrap is");
  }
  Mounts mounts(wanted.hidden);
  const Texts search = folders_of_path(spec);
  for (const std::string& folder : search) mounts.add_found(folder);
  add_program(mounts, program);
  add_program(mounts, interpreter_of(real_path_or(program), search));
  for (const auto& [kind, paths] : {std::pair(Mount::Kind::read, &wanted.readable),
                                    std::pair(Mount::Kind::write, &wanted.writable)}) {
    for (const std::string& path : *paths) {
      Result<void> added = mounts.add(path, kind);
      if (!added.has_value()) return fail(std::move(added.error()));
    }
  }
  for (const auto& [folder, path] : wanted.placed) {
    Result<GivenPath> given = resolve_given(folder + "/", {});
    if (!given.has_value()) return fail(std::move(given.error()));
    mounts.place(given->path, path);
  }
  mounts.hide();

  Texts arguments = {"hold",
                     wanted.bubblewrap,
                     "--unshare-ipc",
                     "--unshare-pid",
                     "--unshare-net",
                     "--unshare-uts",
                     "--unshare-cgroup-try",
                     "--hostname",
                     "berth",
                     "--die-with-parent",
                     "--as-pid-1",
                     "--cap-drop",
                     "ALL"};
  if (wanted.user_namespace) {
    arguments.insert(arguments.end(), {"--unshare-user", "--disable-userns"});
  }
  arguments.insert(arguments.end(), {"--proc", "/proc", "--dev", "/dev"});
  for (const char* door : kKernelDoors) {
    arguments.insert(arguments.end(), {"--ro-bind-try", door, door});
  }
  mounts.write(arguments);
  arguments.insert(arguments.end(), {"--ro-bind", wanted.helper, kHelper});
  if (!wanted.egress_socket.empty()) {
    arguments.insert(arguments.end(), {"--ro-bind", wanted.egress_socket, kEgress});
  }
  arguments.insert(arguments.end(), {"--remount-ro", "/", "--chdir", spec.working_directory, "--",
                                     kHelper, "inside"});
  if (!wanted.egress_socket.empty()) {
    arguments.insert(arguments.end(),
                     {"--egress", kEgress, "--port", std::to_string(wanted.egress_port)});
    for (const std::uint32_t port : wanted.tunnels) {
      arguments.insert(arguments.end(), {"--tunnel", std::to_string(port)});
    }
  }
  arguments.insert(arguments.end(), {"--", program});
  arguments.insert(arguments.end(), spec.arguments.begin(), spec.arguments.end());
  return arguments;
}

}  // namespace berth::inline v0::io
