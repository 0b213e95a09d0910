#include <berth/git/by_command.h>
#include <berth/git/failure.h>
#include <berth/git/hardened.h>
#include <berth/git/lfs_pointer.h>
#include <berth/git/objects.h>
#include <berth/git/refs.h>
#include <berth/git/repository.h>

#include <git2.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

namespace berth::git {

using detail::Handle;
using detail::Opened;
using detail::out;

namespace {

class ContentsReader {
 public:
  explicit ContentsReader(std::size_t names_max) : names_max_(names_max) {}

  void add(const std::string& path, bool submodule, const std::function<bool()>& is_pointer) {
    contents.longest_path = std::max<std::uint64_t>(contents.longest_path, path.size());
    std::string lower = path;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (!seen_.emplace(std::move(lower), path).second) note(contents.case_collisions, path);
    if (submodule) return note(contents.submodules, path);
    ++contents.files;
    if (is_pointer()) note(contents.lfs_pointers, path);
  }

  RepositoryContents contents;

 private:
  void note(std::vector<std::string>& list, const std::string& path) const {
    if (list.size() < names_max_) list.push_back(path);
  }

  std::size_t names_max_;
  std::map<std::string, std::string> seen_;
};

struct Walk {
  ContentsReader& reader;
  git_odb* odb;
};

int visit(const char* root, const git_tree_entry* entry, void* payload) {
  Walk& walk = *static_cast<Walk*>(payload);
  const git_object_t type = git_tree_entry_type(entry);
  if (type == GIT_OBJECT_TREE) return 0;
  const git_oid* id = git_tree_entry_id(entry);
  walk.reader.add(std::string(root) + git_tree_entry_name(entry), type == GIT_OBJECT_COMMIT, [&] {
    std::size_t bytes = 0;
    git_object_t stored = GIT_OBJECT_INVALID;
    if (git_odb_read_header(&bytes, &stored, walk.odb, id) != 0) return false;
    Handle<git_odb_object> blob;
    if (!detail::may_be_lfs_pointer(bytes)) return false;
    if (git_odb_read(out(blob), walk.odb, id) != 0) return false;
    const std::string_view text(static_cast<const char*>(git_odb_object_data(blob.get())),
                                git_odb_object_size(blob.get()));
    return detail::is_lfs_pointer(text);
  });
  return 0;
}

struct ListedFile {
  std::string path;
  std::string id;
  bool submodule = false;
};

Result<RepositoryContents> contents_by_command(const detail::HardenedGit& git,
                                               const std::string& commit, std::size_t names_max) {
  // Without the repository's configuration: by it, git would ask a remote for what is missing, and
  // end at the first object that it cannot get.
  Result<detail::BorrowedObjects> objects =
      detail::BorrowedObjects::make(git, git.location().common_dir, {});
  if (!objects) return fail(std::move(objects).error());
  objects->use_own_index();
  Result<std::string> listed = objects->run({"ls-tree", "-r", "-z", "--full-tree", commit});
  if (!listed) return fail(std::move(listed).error());
  std::vector<ListedFile> files;
  std::vector<std::string> ids;
  for (const std::string& line : detail::split_at_zero(*listed)) {
    // "100644 blob <id>\t<path>"
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    const std::size_t id = line.rfind(' ', tab) + 1;
    files.push_back({.path = line.substr(tab + 1),
                     .id = line.substr(id, tab - id),
                     .submodule = line.starts_with("160000")});
    if (!files.back().submodule) ids.push_back(files.back().id);
  }
  Result<std::set<std::string>> pointers = detail::lfs_pointers(*objects, ids);
  if (!pointers) return fail(std::move(pointers).error());
  ContentsReader reader(names_max);
  for (const ListedFile& file : files) {
    reader.add(file.path, file.submodule, [&] { return pointers->contains(file.id); });
  }
  return std::move(reader.contents);
}

}  // namespace

Result<RepositoryContents> inspect_contents(const std::string& repository, const std::string& rev,
                                            std::size_t names_max, GitCommand* command) {
  const WorktreeRef worktree{.repository = repository, .command = command};
  Result<detail::Refs> refs = detail::Refs::open(worktree, {});
  if (!refs) return fail(std::move(refs).error());
  Result<std::string> commit = refs->commit(rev);
  if (!commit) return fail(std::move(commit).error());
  if (refs->backend() == Backend::git_command) {
    return contents_by_command(detail::HardenedGit(*command, refs->location(), {}), *commit,
                               names_max);
  }
  Result<Opened> opened = detail::open_objects(repository);
  if (!opened) return fail(std::move(opened).error());
  Result<Handle<git_tree>> tree = detail::find_tree(opened->repository.get(), *commit);
  if (!tree) return fail(std::move(tree).error());
  Handle<git_odb> odb;
  int rc = git_repository_odb(out(odb), opened->repository.get());
  ContentsReader reader(names_max);
  Walk walk{reader, odb.get()};
  if (rc == 0) rc = git_tree_walk(tree->get(), GIT_TREEWALK_PRE, visit, &walk);
  if (rc != 0) return detail::libgit2_fail(rc, repository + ": " + *commit);
  return std::move(reader.contents);
}

}  // namespace berth::git
