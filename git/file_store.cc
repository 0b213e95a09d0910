#include <berth/git/failure.h>
#include <berth/git/file_store.h>
#include <berth/git/files.h>

#include <git2.h>
#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>
#include <git2/sys/repository.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <set>

namespace berth::git::detail {
namespace {

constexpr std::uint64_t kMemoryBytesMax = 64 << 20;
constexpr int kBeforeAllOthers = 999;

}  // namespace

Result<void> FileStore::begin(const std::vector<Present>& all, const ObjectId& base) {
  std::uint64_t bytes = 0;
  for (const Present& present : all) bytes += present.size;
  if (options_.only_in_memory && bytes <= kMemoryBytesMax) {
    if (Result<void> kept = keep_in_memory(); !kept) return kept;
  }
  Result<bool> changed = has_new_attributes(all, base);
  if (!changed) return fail(std::move(changed).error());
  return *changed ? hide_old_attributes() : Result<void>();
}

Result<void> FileStore::keep_in_memory() {
  Handle<git_odb> odb;
  git_odb_backend* memory = nullptr;
  int rc = git_repository_odb(out(odb), repository_);
  if (rc == 0) rc = git_mempack_new(&memory);
  if (rc == 0) rc = git_odb_add_backend(odb.get(), memory, kBeforeAllOthers);
  if (rc != 0) return libgit2_fail(rc, "objects in memory");
  return {};
}

/// True when a file of attributes above one of the files is another than in the base.
Result<bool> FileStore::has_new_attributes(const std::vector<Present>& all, const ObjectId& base) {
  std::set<std::string, std::less<>> seen;
  for (const Present& present : all) {
    if (present.kind != PlaceKind::file) continue;
    std::string folder = present.path;
    while (!folder.empty()) {
      folder.resize(folder.rfind('/', folder.size() - 2) + 1);  // npos + 1: the root
      if (!seen.insert(folder).second) break;
      const std::string name = folder + ".gitattributes";
      const std::string full = options_.root + "/" + name;
      if (kind_of(full) != PathKind::file) continue;
      Result<TreeEdit> old = find_in_tree(repository_, base, name);
      if (!old) return fail(std::move(old).error());
      git_oid now;
      if (old->mode == 0 || git_odb_hashfile(&now, full.c_str(), GIT_OBJECT_BLOB) != 0 ||
          to_id(now) != old->id) {
        return true;
      }
    }
  }
  return false;
}

/// libgit2 asks the index for attributes even where a file in the worktree has replaced them, which
/// git does not. So it is given the user's index without those entries, in memory.
Result<void> FileStore::hide_old_attributes() {
  const std::string file = std::string(git_repository_path(repository_)) + "index";
  Handle<git_index> index;
  if (kind_of(file) != PathKind::file || git_index_open(out(index), file.c_str()) != 0) return {};
  std::vector<std::string> replaced;
  for (std::size_t i = 0; i < git_index_entrycount(index.get()); ++i) {
    const std::string path = git_index_get_byindex(index.get(), i)->path;
    if (name_of(path) != ".gitattributes" || !is_safe_relative(path)) continue;
    if (kind_of(options_.root + "/" + path) == PathKind::file) replaced.push_back(path);
  }
  for (const std::string& path : replaced) git_index_remove(index.get(), path.c_str(), 0);
  const int rc = git_repository_set_index(repository_, index.get());
  if (rc != 0) return libgit2_fail(rc, file);
  return {};
}

Result<std::optional<TreeEdit>> FileStore::put(const Present& present, std::uint32_t old_mode) {
  if (++files_read_ % 16 == 0) {
    Result<void> patient = options_.patience.check("storing the working files");
    if (!patient) return fail(std::move(patient).error());
  }
  options_.patience.note("a file");
  if (present.kind == PlaceKind::repository) return put_repository(present.path);
  if (present.kind == PlaceKind::file && present.size > options_.file_bytes_max) {
    return skip(present.path);
  }
  // Between the walk and now a folder may have become a link that leads out.
  if (!has_real_parents(options_.root, present.path)) return TreeEdit{};
  TreeEdit edit{.mode = 0120000};
  if (present.kind == PlaceKind::file) {
    const bool keeps_mode = !options_.trust_mode && (old_mode & 0170000) == 0100000;
    const bool executable = options_.trust_mode && (present.mode & 0100) != 0;
    edit.mode = keeps_mode ? old_mode : executable ? 0100755U : 0100644U;
  }
  git_oid oid;
  const int rc = git_blob_create_from_workdir(&oid, repository_, present.path.c_str());
  if (rc == 0) {
    edit.id = to_id(oid);
    return edit;
  }
  Error error = libgit2_error(rc, present.path);
  if (std::strcmp(error.code, "git_write_failed") == 0) return fail(std::move(error));
  return put_as_it_is(present, edit.mode);
}

std::optional<TreeEdit> FileStore::skip(std::string path) {
  skipped_.push_back(std::move(path));
  return std::nullopt;
}

/// The conversion of line endings refused the file (`core.safecrlf`) or it cannot be read: its
/// bytes, if there are.
Result<std::optional<TreeEdit>> FileStore::put_as_it_is(const Present& present,
                                                        std::uint32_t mode) {
  const std::string path = options_.root + "/" + present.path;
  struct stat st{};
  if (::lstat(path.c_str(), &st) < 0) return TreeEdit{};  // gone while we looked
  if (!S_ISREG(st.st_mode)) return skip(present.path);
  std::ifstream file(path, std::ios::binary);
  if (!file) return skip(present.path);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  git_oid oid;
  const int rc = git_blob_create_from_buffer(&oid, repository_, bytes.data(), bytes.size());
  if (rc != 0) return skip(present.path);
  return TreeEdit{.mode = mode, .id = to_id(oid)};
}

/// A repository inside: recorded as the commit it stands on, as git does. Without a commit it is
/// left out.
std::optional<TreeEdit> FileStore::put_repository(const std::string& path) {
  Handle<git_repository> nested;
  git_oid head;
  int rc = git_repository_open_ext(out(nested), (options_.root + "/" + path).c_str(),
                                   GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr);
  if (rc == 0) rc = git_reference_name_to_id(&head, nested.get(), "HEAD");
  if (rc != 0) return skip(path + "/");
  return TreeEdit{.mode = GIT_FILEMODE_COMMIT, .id = to_id(head)};
}

}  // namespace berth::git::detail
