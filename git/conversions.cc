#include <berth/git/conversions.h>
#include <berth/git/files.h>

#include <git2.h>

#include <string>

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

}  // namespace berth::git::detail
