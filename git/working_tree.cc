#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>
#include <berth/git/special_files.h>
#include <berth/git/working_tree.h>

#include <git2.h>
#include <git2/sys/repository.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <iterator>

namespace berth::git::detail {
namespace {

constexpr std::size_t kNamedSkippedMax = 100;

/// What the comparison found, by what is to be done.
struct Findings {
  std::vector<std::string> removed;
  std::vector<std::string> present;
  std::vector<std::string> ignored;
};

int go_on(const git_diff*, const char*, const char*, void* payload) {
  return static_cast<const Patience*>(payload)->exhausted() ? GIT_EUSER : 0;
}

void note_delta(const git_diff_delta* delta, Findings& findings) {
  switch (delta->status) {
    case GIT_DELTA_DELETED:
      findings.removed.emplace_back(delta->old_file.path);
      break;
    case GIT_DELTA_UNMODIFIED:
      break;
    case GIT_DELTA_IGNORED:
      findings.ignored.emplace_back(delta->new_file.path);
      break;
    default:
      findings.present.emplace_back(delta->new_file.path);
      break;
  }
}

}  // namespace

class TreeReader {
 public:
  explicit TreeReader(const TreeRequest& request)
      : request_(request), repository_(request.worktree.repository.get()) {}

  Result<WorkingTree> read(bool forget) {
    Result<void> done = open_index(forget);
    if (done) {
      done = check_rule_files(repository_, index(), request_.worktree.path, request_.patience);
    }
    if (done) done = compare();
    if (done) done = find_forced();
    if (done) done = apply();
    if (done) done = check_submodules();
    if (!done) return fail(std::move(done).error());
    request_.patience.note("tree");
    git_oid tree;
    const int rc = git_index_write_tree_to(&tree, index(), repository_);
    if (rc != 0) return libgit2_fail(rc, request_.worktree.path + ": tree");
    result_.tree_ = hex(tree);
    return std::move(result_);
  }

 private:
  git_index* index() const { return result_.index_.get(); }
  std::string full(const std::string& path) const { return request_.worktree.path + "/" + path; }

  void skip(const std::string& path) {
    ++result_.skipped_count_;
    if (result_.skipped_.size() < kNamedSkippedMax) result_.skipped_.push_back(path);
  }

  Result<void> open_index(bool forget) {
    const std::string& file = request_.private_index;
    if (forget && !file.empty()) {
      if (Result<void> gone = remove_file_if_exists(file); !gone) return gone;
    }
    int rc = file.empty() ? git_index_new(out(result_.index_))
                          : git_index_open(out(result_.index_), file.c_str());
    if (rc != 0 && !file.empty()) {
      // Broken (a full disk, a newer format): it is only a memory, so it is made anew.
      if (Result<void> gone = remove_file_if_exists(file); !gone) return gone;
      rc = git_index_open(out(result_.index_), file.c_str());
    }
    if (rc == 0) rc = git_repository_set_index(repository_, index());
    if (rc != 0) return libgit2_fail(rc, file);
    return git_index_entrycount(index()) == 0 ? seed() : Result<void>();
  }

  /// A fresh index starts from the base, else HEAD, so that tracked files which an ignore rule
  /// names stay tracked.
  Result<void> seed() {
    result_.changed_ = true;
    Result<std::string> base = ref_target(repository_, base_ref_of(request_.key));
    if (!base) return fail(std::move(base).error());
    if (base->empty()) base = ref_target(repository_, "HEAD");
    if (!base || base->empty()) return {};
    Result<Handle<git_tree>> tree = find_tree(repository_, *base);
    if (!tree) return {};  // the object is gone; untracked files are found all the same
    const int rc = git_index_read_tree(index(), tree->get());
    if (rc != 0) return libgit2_fail(rc, *base);
    return {};
  }

  Result<void> compare() {
    git_diff_options options = GIT_DIFF_OPTIONS_INIT;
    options.flags = GIT_DIFF_INCLUDE_UNTRACKED | GIT_DIFF_RECURSE_UNTRACKED_DIRS |
                    GIT_DIFF_INCLUDE_TYPECHANGE | GIT_DIFF_INCLUDE_IGNORED |
                    GIT_DIFF_INCLUDE_UNREADABLE | GIT_DIFF_INCLUDE_UNREADABLE_AS_UNTRACKED;
    if (!request_.private_index.empty()) options.flags |= GIT_DIFF_UPDATE_INDEX;
    options.ignore_submodules =
        GIT_SUBMODULE_IGNORE_ALL;  // looked at below, without their settings
    options.progress_cb = go_on;
    options.payload = const_cast<Patience*>(&request_.patience);
    Handle<git_diff> diff;
    const int rc = git_diff_index_to_workdir(out(diff), repository_, index(), &options);
    if (Result<void> patient = request_.patience.check("comparing the working files"); !patient) {
      return patient;
    }
    if (rc != 0) return libgit2_fail(rc, request_.worktree.path);
    for (std::size_t i = 0; i < git_diff_num_deltas(diff.get()); ++i) {
      note_delta(git_diff_get_delta(diff.get(), i), findings_);
    }
    return {};
  }

  /// Files that the user's index has although an ignore rule names them (`git add -f`): work as
  /// well. An index that libgit2 cannot read (split, sparse) has none that we know of.
  Result<void> find_forced() {
    Handle<git_index> users;
    const std::string file = request_.worktree.registration + "/index";
    if (kind_of(file) != PathKind::file || git_index_open(out(users), file.c_str()) != 0) return {};
    const std::size_t count = git_index_entrycount(users.get());
    const std::size_t ours = git_index_entrycount(index());
    std::size_t next = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const git_index_entry* entry = git_index_get_byindex(users.get(), i);
      int order = 1;
      while (next < ours) {
        order = std::strcmp(git_index_get_byindex(index(), next)->path, entry->path);
        if (order >= 0) break;
        ++next;
      }
      if (next < ours && order == 0) continue;
      const std::string path = entry->path;
      if (entry->mode == GIT_FILEMODE_COMMIT || !is_safe_relative(path)) continue;
      if (!has_real_parents(request_.worktree.path, path)) continue;
      const PathKind kind = kind_of(full(path));
      if (kind == PathKind::file || kind == PathKind::link) findings_.present.push_back(path);
    }
    return {};
  }

  Result<void> apply() {
    // libgit2 files repositories inside that are no submodules under "ignored".
    for (const std::string& path : findings_.ignored) {
      int really = 0;
      if (path.back() != '/' || kind_of(full(path) + ".git") == PathKind::missing) continue;
      git_ignore_path_is_ignored(&really, repository_, path.c_str());
      if (really == 0) findings_.present.push_back(path);
    }
    if (!findings_.removed.empty() || !findings_.present.empty()) result_.changed_ = true;
    // Removals first: a file may have become a folder, or the other way.
    for (const std::string& path : findings_.removed) git_index_remove(index(), path.c_str(), 0);
    std::size_t done = 0;
    for (const std::string& path : findings_.present) {
      request_.patience.note("a file");
      if (Result<void> stored = store(path); !stored) return stored;
      if (++done % 16 == 0) {
        Result<void> patient = request_.patience.check("storing the working files");
        if (!patient) return patient;
      }
    }
    return {};
  }

  Result<void> store(const std::string& path) {
    if (path.back() == '/') return store_nested(path.substr(0, path.size() - 1));
    struct stat st{};
    if (::lstat(full(path).c_str(), &st) < 0 || S_ISDIR(st.st_mode)) {
      git_index_remove(index(), path.c_str(), 0);  // gone while we looked, or a folder by now
      return {};
    }
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
      git_index_remove(index(), path.c_str(), 0);
      skip(path);
      return {};
    }
    if (S_ISREG(st.st_mode) && static_cast<std::uint64_t>(st.st_size) > request_.file_bytes_max) {
      skip(path);
      return {};
    }
    const int rc = git_index_add_bypath(index(), path.c_str());
    if (rc == 0) return {};
    Error error = libgit2_error(rc, path);
    if (std::strcmp(error.code, "git_write_failed") == 0) return fail(std::move(error));
    return store_as_it_is(path, st.st_mode);
  }

  /// The conversion of line endings refused the file (`core.safecrlf`) or it cannot be read: its
  /// bytes, if there are.
  Result<void> store_as_it_is(const std::string& path, unsigned mode) {
    std::ifstream file(full(path), std::ios::binary);
    git_index_entry entry{};
    entry.path = path.c_str();
    entry.mode = (mode & 0100) != 0 ? GIT_FILEMODE_BLOB_EXECUTABLE : GIT_FILEMODE_BLOB;
    if (!file || !S_ISREG(mode)) {
      skip(path);
      return {};
    }
    const std::string bytes((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
    int rc = git_blob_create_from_buffer(&entry.id, repository_, bytes.data(), bytes.size());
    if (rc == 0) rc = git_index_add(index(), &entry);
    if (rc != 0) skip(path);
    return {};
  }

  /// A repository inside: recorded as the commit it stands on, as git does. Without a commit it is
  /// left out.
  Result<void> store_nested(const std::string& path) {
    Handle<git_repository> nested;
    git_index_entry entry{};
    entry.path = path.c_str();
    entry.mode = GIT_FILEMODE_COMMIT;
    int rc = git_repository_open_ext(out(nested), full(path).c_str(), GIT_REPOSITORY_OPEN_NO_SEARCH,
                                     nullptr);
    if (rc == 0) rc = git_reference_name_to_id(&entry.id, nested.get(), "HEAD");
    if (rc == 0) rc = git_index_add(index(), &entry);
    if (rc != 0) skip(path + "/");
    return {};
  }

  /// Submodules: kept as they are when not populated, moved to their HEAD when populated, dropped
  /// when gone.
  Result<void> check_submodules() {
    struct Known {
      std::string path;
      git_oid id;
    };
    std::vector<Known> known;
    for (std::size_t i = 0; i < git_index_entrycount(index()); ++i) {
      const git_index_entry* entry = git_index_get_byindex(index(), i);
      if (entry->mode == GIT_FILEMODE_COMMIT) known.push_back({entry->path, entry->id});
    }
    for (const Known& submodule : known) {
      if (kind_of(full(submodule.path)) != PathKind::directory) {
        git_index_remove(index(), submodule.path.c_str(), 0);
        result_.changed_ = true;
      } else if (kind_of(full(submodule.path) + "/.git") != PathKind::missing) {
        Result<void> stored = store_nested(submodule.path);
        if (!stored) return stored;
        const git_index_entry* now = git_index_get_bypath(index(), submodule.path.c_str(), 0);
        if (now != nullptr && !git_oid_equal(&now->id, &submodule.id)) result_.changed_ = true;
      }
    }
    return {};
  }

  const TreeRequest& request_;
  git_repository* repository_;
  WorkingTree result_;
  Findings findings_;
};

Result<WorkingTree> WorkingTree::read(const TreeRequest& request) {
  Result<WorkingTree> tree = TreeReader(request).read(false);
  if (tree || request.private_index.empty() || tree.error().kind != ErrorKind::internal)
    return tree;
  // The index may name objects that `git gc` took after their ref was deleted: once more from the
  // files alone.
  return TreeReader(request).read(true);
}

Result<void> WorkingTree::keep() {
  if (!changed_ || git_index_path(index_.get()) == nullptr) return {};
  const int rc = git_index_write(index_.get());
  if (rc != 0) return libgit2_fail(rc, git_index_path(index_.get()));
  return {};
}

}  // namespace berth::git::detail
