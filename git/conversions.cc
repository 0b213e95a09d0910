#include <berth/git/conversions.h>
#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/special_files.h>
#include <berth/git/tree_update.h>

#include <git2.h>
#include <git2/sys/repository.h>

namespace berth::git::detail {
namespace {

bool has_global_attributes(int level, const char* name) {
  git_buf folders = GIT_BUF_INIT;
  if (git_libgit2_opts(GIT_OPT_GET_SEARCH_PATH, level, &folders) != 0) return true;
  std::string_view rest(folders.ptr != nullptr ? folders.ptr : "", folders.size);
  bool found = false;
  while (!rest.empty() && !found) {
    const std::size_t colon = rest.find(GIT_PATH_LIST_SEPARATOR);
    found = kind_of(std::string(rest.substr(0, colon)) + "/" + name) != PathKind::missing;
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
  }
  git_buf_dispose(&folders);
  return found;
}

}  // namespace

bool is_attributes_file(std::string_view path) {
  return path == ".gitattributes" || path.ends_with("/.gitattributes");
}

bool settings_may_convert(git_repository* repository) {
  Handle<git_config> config;
  Handle<git_config> frozen;
  if (git_repository_config(out(config), repository) != 0 ||
      git_config_snapshot(out(frozen), config.get()) != 0) {
    return true;
  }
  const char* value = nullptr;
  if (git_config_get_string(&value, frozen.get(), "core.autocrlf") == 0 &&
      std::string_view(value) != "false") {
    return true;
  }
  if (git_config_get_string(&value, frozen.get(), "core.attributesfile") == 0) return true;
  return kind_of(std::string(git_repository_commondir(repository)) + "info/attributes") !=
             PathKind::missing ||
         has_global_attributes(GIT_CONFIG_LEVEL_XDG, "attributes") ||
         has_global_attributes(GIT_CONFIG_LEVEL_SYSTEM, "gitattributes");
}

std::set<std::string> attributes_of_index(const UsersIndex& users, const std::string& root) {
  std::set<std::string> alone;
  for (const std::string& path : users.attributes) {
    if (!is_safe_relative(path)) continue;
    if (kind_of(root + "/" + path) != PathKind::file) alone.insert(path);
  }
  return alone;
}

Result<void> use_part_of_index(git_repository* repository, const UsersIndex& users,
                               const std::set<std::string>& paths) {
  Handle<git_odb> odb;
  Handle<git_index> index;
  int rc = git_repository_odb(out(odb), repository);
  if (rc == 0) rc = git_index_new(out(index));
  for (const std::string& path : paths) {
    if (rc != 0) break;
    const IndexEntry* known = find_entry(users.entries(), path);
    if (known == nullptr || known->mode == GIT_FILEMODE_COMMIT) continue;
    git_index_entry entry{};
    entry.path = path.c_str();
    entry.mode = known->mode;
    entry.id = to_oid(known->id);
    if (is_attributes_file(path)) {
      if (Result<void> fine = check_rule_blob(odb.get(), entry.id, path); !fine) return fine;
    }
    git_index_add(index.get(), &entry);  // a name that git would not have there is not asked for
  }
  if (rc == 0) rc = git_repository_set_index(repository, index.get());
  if (rc != 0) return libgit2_fail(rc, "index");
  return {};
}

}  // namespace berth::git::detail
