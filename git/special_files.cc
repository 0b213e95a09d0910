#include <berth/git/special_files.h>

#include <dirent.h>
#include <fcntl.h>
#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string_view>
#include <vector>

namespace berth::git::detail {
namespace {

constexpr int kStarsMax = 500;
constexpr off_t kRuleFileBytesMax = 16 << 20;

tl::unexpected<Error> refused(const std::string& path) {
  return fail(ErrorKind::conflict, "special_file",
              path + ": is a pipe or a device, which git would wait for without end");
}

/// Links are followed, as libgit2 will follow them.
bool is_special(int folder, const char* path) {
  struct stat st{};
  return ::fstatat(folder, path, &st, 0) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

/// Goes on from `stars` in a line; stays where there are too many.
void count_stars(std::string_view bytes, int& stars) {
  for (std::size_t i = 0; i < bytes.size() && stars <= kStarsMax; ++i) {
    stars = bytes[i] == '\n' ? 0 : stars + (bytes[i] == '*' ? 1 : 0);
  }
}

/// libgit2 goes some calls deeper for each star of a rule: enough of them in one line, 300 kB, fill
/// the stack and end the process.
bool is_too_deep(int folder, const char* path, const struct stat& st) {
  if (st.st_size <= kStarsMax) return false;
  if (st.st_size > kRuleFileBytesMax) return true;  // that it would read whole
  const int file = ::openat(folder, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return false;
  std::vector<char> bytes(std::size_t{64} << 10);
  int stars = 0;
  for (ssize_t n; stars <= kStarsMax && (n = ::read(file, bytes.data(), bytes.size())) > 0;) {
    count_stars({bytes.data(), static_cast<std::size_t>(n)}, stars);
  }
  ::close(file);
  return stars > kStarsMax;
}

tl::unexpected<Error> hostile(const std::string& shown) {
  return fail(ErrorKind::conflict, "hostile_rules",
              shown + ": a rule of so many stars, or so large, that git would crash");
}

/// Walks folders from the top, so that the rules that decide about a folder are known to be
/// harmless before they are asked.
class RuleWalk {
 public:
  RuleWalk(git_repository* repository, git_index* index, std::string root, const Patience& patience)
      : repository_(repository), index_(index), root_(std::move(root)), patience_(patience) {}

  Result<void> run() {
    std::vector<std::string> open{""};
    while (!open.empty()) {
      const std::string folder = std::move(open.back());
      open.pop_back();
      if (Result<void> patient = patience_.check("looking at ignore rules"); !patient)
        return patient;
      std::vector<std::string> inside;
      if (Result<void> listed = list(folder, inside); !listed) return listed;
      for (std::string& name : inside) {
        if (is_entered(name)) open.push_back(std::move(name));
      }
    }
    return {};
  }

 private:
  /// Checks the rule files of `folder` ("" or "a/b/") and appends its subfolders.
  Result<void> list(const std::string& folder, std::vector<std::string>& subfolders) {
    const std::string full = root_ + "/" + folder;
    const int fd = ::open(full.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return {};  // gone or closed to us: libgit2 will not get in either
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd), ::closedir);
    if (!dir) return {};
    while (const dirent* entry = ::readdir(dir.get())) {
      const std::string_view name = entry->d_name;
      if (entry->d_type == DT_DIR) {
        if (name == ".git" && !folder.empty()) {
          subfolders.clear();  // a repository inside is not entered
          return {};
        }
        if (name != "." && name != ".." && name != ".git") {
          subfolders.push_back(folder + entry->d_name + "/");
        }
      } else if (name == ".gitignore" || name == ".gitattributes") {
        Result<void> harmless = check_rule_file(fd, entry->d_name, full + entry->d_name);
        if (!harmless) return harmless;
      } else if (entry->d_type == DT_UNKNOWN && name != ".git") {
        struct stat st{};  // a file system that does not tell types
        if (::fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
          subfolders.push_back(folder + entry->d_name + "/");
        }
      }
    }
    return {};
  }

  bool is_entered(const std::string& folder) const {
    std::size_t position = 0;
    if (git_index_find_prefix(&position, index_, folder.c_str()) == 0) return true;
    int ignored = 0;
    return git_ignore_path_is_ignored(&ignored, repository_, folder.c_str()) != 0 || ignored == 0;
  }

  git_repository* repository_;
  git_index* index_;
  std::string root_;
  const Patience& patience_;
};

}  // namespace

Result<void> check_rule_file(int folder, const char* name, const std::string& shown) {
  struct stat st{};  // links are followed, as libgit2 will follow them
  if (::fstatat(folder, name, &st, 0) != 0 || S_ISDIR(st.st_mode)) return {};
  if (!S_ISREG(st.st_mode)) return refused(shown);
  return is_too_deep(folder, name, st) ? Result<void>(hostile(shown)) : Result<void>();
}

Result<void> check_rule_blob(git_odb* odb, const git_oid& id, const std::string& shown) {
  std::size_t size = 0;
  git_object_t type = GIT_OBJECT_INVALID;
  if (git_odb_read_header(&size, &type, odb, &id) != 0) return {};
  if (size > static_cast<std::size_t>(kRuleFileBytesMax)) return hostile(shown);
  Handle<git_odb_object> object;
  if (git_odb_read(out(object), odb, &id) != 0) return {};
  int stars = 0;
  count_stars({static_cast<const char*>(git_odb_object_data(object.get())), size}, stars);
  return stars > kStarsMax ? Result<void>(hostile(shown)) : Result<void>();
}

Result<void> check_git_files(const std::string& git_dir, const std::string& common_dir) {
  for (const char* name : {"/HEAD", "/index", "/commondir", "/gitdir"}) {
    if (is_special(AT_FDCWD, (git_dir + name).c_str())) return refused(git_dir + name);
  }
  for (const char* name :
       {"/config", "/packed-refs", "/HEAD", "/shallow", "/objects/info/alternates"}) {
    if (is_special(AT_FDCWD, (common_dir + name).c_str())) return refused(common_dir + name);
  }
  for (const char* name : {"/info/exclude", "/info/attributes"}) {
    const std::string file = common_dir + name;
    if (Result<void> harmless = check_rule_file(AT_FDCWD, file.c_str(), file); !harmless) {
      return harmless;
    }
  }
  return {};
}

Result<void> check_rule_files(git_repository* repository, git_index* index, const std::string& path,
                              const Patience& patience) {
  return RuleWalk(repository, index, path, patience).run();
}

}  // namespace berth::git::detail
