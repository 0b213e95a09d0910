#include <berth/git/conversions.h>
#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/index_entries.h>
#include <berth/git/scan_memory.h>
#include <berth/git/tree_update.h>

#include <fcntl.h>
#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

namespace berth::git::detail {
namespace {

constexpr std::string_view kFirst = "berth scan 2";
constexpr off_t kBytesMax = 64 << 20;

std::string read_whole(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return {};
  std::string text;
  struct stat st{};
  if (::fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= kBytesMax) {
    text.resize(static_cast<std::size_t>(st.st_size));
    const ssize_t got = ::read(fd, text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  ::close(fd);
  return text;
}

void put(std::string& out, char kind, std::string_view text) {
  out += kind;
  out += text;
  out += '\0';
}

/// Of core.excludesFile or its default, where libgit2 looks for it; empty when there is none.
std::string excludes_file(git_config* config) {
  git_buf path = GIT_BUF_INIT;
  std::string found;
  if (git_config_get_path(&path, config, "core.excludesfile") == 0 && path.ptr != nullptr) {
    found = path.ptr;
  }
  git_buf_dispose(&path);
  if (!found.empty()) return found;
  git_buf folders = GIT_BUF_INIT;
  if (git_libgit2_opts(GIT_OPT_GET_SEARCH_PATH, GIT_CONFIG_LEVEL_XDG, &folders) == 0 &&
      folders.ptr != nullptr) {
    std::string_view rest(folders.ptr, folders.size);
    while (!rest.empty() && found.empty()) {
      const std::size_t colon = rest.find(GIT_PATH_LIST_SEPARATOR);
      const std::string file = std::string(rest.substr(0, colon)) + "/ignore";
      if (kind_of(file) != PathKind::missing) found = file;
      rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    }
  }
  git_buf_dispose(&folders);
  return found;
}

}  // namespace

ScanMemory ScanMemory::of_checkout(const IndexFile& index) {
  ScanMemory memory;
  if (index.tree()) memory.tree = hex(*index.tree());
  for (const IndexEntry& entry : index.entries()) {
    if (entry.mode == kRepositoryMode) memory.links.emplace(entry.path);
    if (is_attributes_file(entry.path)) memory.attributes.emplace(entry.path);
  }
  return memory;
}

ScanMemory ScanMemory::load(const std::string& private_index) {
  ScanMemory memory;
  const std::string text = read_whole(file(private_index));
  std::string_view rest = text;
  bool first = true;
  bool whole = false;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\0');
    if (end == std::string_view::npos || end == 0) return {};
    const std::string value(rest.substr(1, end - 1));
    const char kind = rest.front();
    rest.remove_prefix(end + 1);
    if (first != (kind == 'b' && value == kFirst.substr(1))) return {};
    first = false;
    if (kind == 't') memory.tree = value;
    if (kind == 'r') memory.rules = value;
    if (kind == 'u') memory.users_index = value;
    if (kind == 'l') memory.links.insert(value);
    if (kind == 's') memory.skipped.insert(value);
    if (kind == 'f') memory.forced.insert(value);
    if (kind == 'a') memory.attributes.insert(value);
    whole = kind == '.';
  }
  return whole ? memory : ScanMemory();
}

Result<void> ScanMemory::save(const std::string& private_index) const {
  std::string out;
  put(out, kFirst[0], kFirst.substr(1));
  put(out, 't', tree);
  put(out, 'r', rules);
  put(out, 'u', users_index);
  for (const std::string& path : links) put(out, 'l', path);
  for (const std::string& path : skipped) put(out, 's', path);
  for (const std::string& path : forced) put(out, 'f', path);
  for (const std::string& path : attributes) put(out, 'a', path);
  put(out, '.', "");
  return write_file(file(private_index), out);
}

Result<OutsideRules> OutsideRules::read(const OpenedWorktree& worktree) {
  OutsideRules outside;
  Handle<git_config> config;
  const int rc = git_repository_config_snapshot(out(config), worktree.repository.get());
  if (rc != 0) return libgit2_fail(rc, "configuration");
  int trust = 1;
  if (git_config_get_bool(&trust, config.get(), "core.filemode") == 0) {
    outside.trust_mode = trust != 0;
  }
  const std::string excludes = excludes_file(config.get());
  const std::string exclude = worktree.common_dir + "/info/exclude";
  if (!excludes.empty()) {
    outside.rules = with_rule_file(nullptr, AT_FDCWD, excludes.c_str(), "", true);
  }
  outside.rules = with_rule_file(outside.rules, AT_FDCWD, exclude.c_str(), "", true);
  outside.signature = excludes;
  for (const std::string& file :
       {excludes, exclude, worktree.common_dir + "/config",
        worktree.common_dir + "/info/attributes", worktree.registration + "/config.worktree"}) {
    outside.signature += " " + (file.empty() ? "-" : stat_text(file));
  }
  return outside;
}

std::string stat_text(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) < 0) return "-";
  const StatData data = StatData::of(st);
  std::string text;
  for (const std::uint32_t part :
       {data.ctime_s, data.ctime_ns, data.mtime_s, data.mtime_ns, data.inode, data.size}) {
    text += std::to_string(part) + ".";
  }
  return text;
}

}  // namespace berth::git::detail
