#include <berth/git/failure.h>
#include <berth/git/hardened.h>
#include <berth/git/lfs_pointer.h>
#include <berth/git/objects.h>
#include <berth/git/refs.h>
#include <berth/git/repository.h>

#include <git2.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>

namespace berth::git {

using detail::Handle;
using detail::Opened;
using detail::out;

namespace {

class ContentsReader {
 public:
  explicit ContentsReader(std::size_t names_max) : names_max_(names_max) {}

  /// `is_pointer` is asked only of files whose size fits.
  void add(const std::string& path, bool submodule, std::uint64_t bytes,
           const std::function<bool()>& is_pointer) {
    contents.longest_path = std::max<std::uint64_t>(contents.longest_path, path.size());
    std::string lower = path;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (!seen_.emplace(std::move(lower), path).second) note(contents.case_collisions, path);
    if (submodule) return note(contents.submodules, path);
    ++contents.files;
    if (detail::may_be_lfs_pointer(bytes) && is_pointer()) {
      note(contents.lfs_pointers, path);
    }
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
  std::size_t bytes = 0;
  git_object_t stored = GIT_OBJECT_INVALID;
  if (type == GIT_OBJECT_BLOB) git_odb_read_header(&bytes, &stored, walk.odb, id);
  walk.reader.add(
      std::string(root) + git_tree_entry_name(entry), type == GIT_OBJECT_COMMIT, bytes, [&] {
        Handle<git_odb_object> blob;
        if (git_odb_read(out(blob), walk.odb, id) != 0) return false;
        const std::string_view text(static_cast<const char*>(git_odb_object_data(blob.get())),
                                    git_odb_object_size(blob.get()));
        return detail::is_lfs_pointer(text);
      });
  return 0;
}

Result<RepositoryContents> contents_by_command(const detail::HardenedGit& git,
                                               const std::string& commit, std::size_t names_max) {
  Result<std::string> listed = git.run({"ls-tree", "-r", "-z", "-l", "--full-tree", commit});
  if (!listed) return fail(std::move(listed).error());
  ContentsReader reader(names_max);
  for (const std::string& line : detail::split_at_zero(*listed)) {
    // "100644 blob <id>    1234\t<path>"
    const std::size_t tab = line.find('\t');
    const std::size_t id = line.find(' ', 7) + 1;
    const std::size_t id_end = line.find(' ', id);
    const std::size_t size = line.rfind(' ', tab) + 1;
    if (tab == std::string::npos || id_end == std::string::npos || size > tab) continue;
    std::uint64_t bytes = 0;
    std::from_chars(line.data() + size, line.data() + tab, bytes);
    reader.add(line.substr(tab + 1), line.starts_with("160000"), bytes, [&] {
      return detail::is_lfs_pointer(
          git.run({"cat-file", "blob", line.substr(id, id_end - id)}).value_or(""));
    });
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
