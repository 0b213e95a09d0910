#include <berth/git/by_command.h>
#include <berth/git/conversions.h>
#include <berth/git/diff.h>
#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/lfs_pointer.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>
#include <berth/git/opened.h>
#include <berth/git/snapshot.h>
#include <berth/git/special_files.h>
#include <berth/git/tree_difference.h>
#include <berth/git/working_tree.h>

#include <fcntl.h>
#include <git2.h>
#include <git2/sys/repository.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace berth::git {

using detail::Handle;
using detail::out;

namespace {

constexpr std::string_view kWorktree = "worktree";
constexpr git_object_size_t kBinaryLook = 8000;  // so far git looks for a zero

FileStatus status_of(git_delta_t status) {
  switch (status) {
    case GIT_DELTA_ADDED:
      return FileStatus::added;
    case GIT_DELTA_DELETED:
      return FileStatus::deleted;
    case GIT_DELTA_RENAMED:
      return FileStatus::renamed;
    case GIT_DELTA_TYPECHANGE:
      return FileStatus::typechange;
    default:
      return FileStatus::modified;
  }
}

/// What the callbacks of a comparison need.
struct Scan {
  const Patience* patience;
  std::set<std::string, std::less<>> type_changes;
};

int go_on(const git_diff*, const char*, const char*, void* payload) {
  return static_cast<const Scan*>(payload)->patience->exhausted() ? GIT_EUSER : 0;
}

int note_type_changes(const git_diff*, const git_diff_delta* delta, const char*, void* payload) {
  if (delta->status != GIT_DELTA_TYPECHANGE) return 0;
  static_cast<Scan*>(payload)->type_changes.emplace(delta->new_file.path);
  return 1;  // leave it out, go on
}

int keep_type_changes(const git_diff*, const git_diff_delta* delta, const char*, void* payload) {
  return static_cast<Scan*>(payload)->type_changes.contains(delta->new_file.path) ? 0 : 1;
}

git_diff_options diff_options(const DiffRequest& request, Scan& scan) {
  git_diff_options options = GIT_DIFF_OPTIONS_INIT;
  options.flags = GIT_DIFF_INDENT_HEURISTIC;
  if (request.binary_patches) options.flags |= GIT_DIFF_SHOW_BINARY;
  options.id_abbrev = GIT_OID_HEXSZ;
  options.progress_cb = go_on;
  options.payload = &scan;
  options.max_size = static_cast<git_off_t>(request.limits.file_bytes_max) + 1;
  return options;
}

/// What trees are compared through.
struct Reader {
  git_repository* repository;
  std::string root = {};  ///< The worktree whose files of attributes count; empty: none do.
  /// Folders of it, with a slash at the end, that are known to have none; null: look.
  const std::set<std::string>* without_attributes = nullptr;
  /// Not null: `repository` knows of no worktree, and this is set, in place of a result, when a
  /// file of attributes lies above a file that changed.
  bool* needs_attributes = nullptr;
};

/// Turns one libgit2 diff into a Change, within the limits.
class ChangeBuilder {
 public:
  ChangeBuilder(const Reader& reader, git_tree* old_tree, git_tree* new_tree,
                const DiffRequest& request)
      : reader_(reader),
        repository_(reader.repository),
        old_tree_(old_tree),
        new_tree_(new_tree),
        request_(request),
        wanted_(request.paths.begin(), request.paths.end()) {}

  Result<void> add_all(git_diff* diff) {
    if (!odb_) {
      const int rc = git_repository_odb(out(odb_), repository_);
      if (rc != 0) return detail::libgit2_fail(rc, "objects");
    }
    for (std::size_t i = 0; i < git_diff_num_deltas(diff); ++i) {
      const git_diff_delta* delta = git_diff_get_delta(diff, i);
      if (!is_wanted(delta)) continue;
      for (const git_diff_file* side : {&delta->old_file, &delta->new_file}) {
        if (Result<void> fine = check_attributes(side->path); !fine) return fine;
      }
    }
    if (reader_.needs_attributes != nullptr && *reader_.needs_attributes) return {};
    for (std::size_t i = 0; i < git_diff_num_deltas(diff); ++i) {
      if (Result<void> patient = request_.patience.check("diff"); !patient) return patient;
      if (!is_wanted(git_diff_get_delta(diff, i))) continue;
      ++change_.files_total;
      if (change_.files.size() >= request_.limits.files_max) {
        change_.files_truncated = true;
        continue;
      }
      if (Result<void> added = add(diff, i); !added) return added;
    }
    return {};
  }

  Change take() {
    join_type_changes();
    for (const FileChange& file : change_.files) {
      change_.additions += file.additions;
      change_.deletions += file.deletions;
    }
    return std::move(change_);
  }

 private:
  bool is_wanted(const git_diff_delta* delta) const {
    return wanted_.empty() || wanted_.contains(delta->new_file.path) ||
           wanted_.contains(delta->old_file.path);
  }

  /// 0 for what is no file.
  std::uint64_t size_of(const git_diff_file& file) const {
    if (git_oid_is_zero(&file.id) || (file.mode & 0170000) != 0100000) return 0;
    std::size_t size = 0;
    git_object_t type = GIT_OBJECT_INVALID;
    return git_odb_read_header(&size, &type, odb_.get(), &file.id) == 0 ? size : 0;
  }

  FileKind kind_of(const git_diff_file& file, std::uint64_t size) const {
    if (file.mode == GIT_FILEMODE_COMMIT) return FileKind::submodule;
    Handle<git_odb_object> blob;
    if (!detail::may_be_lfs_pointer(size) || git_odb_read(out(blob), odb_.get(), &file.id) != 0) {
      return FileKind::plain;
    }
    const std::string_view content(static_cast<const char*>(git_odb_object_data(blob.get())),
                                   git_odb_object_size(blob.get()));
    return detail::is_lfs_pointer(content) ? FileKind::lfs_pointer : FileKind::plain;
  }

  /// The files of attributes that libgit2 will read for `path`; an agent writes them.
  Result<void> check_attributes(std::string folder) {
    while (!reader_.root.empty() && !folder.empty()) {
      folder.resize(folder.rfind('/', folder.size() - 2) + 1);  // npos + 1: the root
      if (!checked_.insert(folder).second) break;
      const auto* known = reader_.without_attributes;
      if (known != nullptr && known->contains(folder)) continue;
      const std::string file = reader_.root + "/" + folder + ".gitattributes";
      if (detail::kind_of(file) == detail::PathKind::missing) continue;
      if (reader_.needs_attributes != nullptr) *reader_.needs_attributes = true;
      Result<void> fine = detail::check_rule_file(AT_FDCWD, file.c_str(), file);
      if (!fine) return fine;
    }
    return {};
  }

  Result<void> add(git_diff* diff, std::size_t i) {
    const git_diff_delta* delta = git_diff_get_delta(diff, i);
    FileChange file;
    file.status = status_of(delta->status);
    file.path = delta->new_file.path;
    if (file.status == FileStatus::renamed) file.old_path = delta->old_file.path;
    file.old_mode = file.status == FileStatus::added ? 0 : delta->old_file.mode;
    file.mode = file.status == FileStatus::deleted ? 0 : delta->new_file.mode;
    const std::uint64_t old_size = size_of(delta->old_file);
    const std::uint64_t new_size = size_of(delta->new_file);
    file.kind =
        file.mode == 0 ? kind_of(delta->old_file, old_size) : kind_of(delta->new_file, new_size);
    if (std::max(old_size, new_size) > request_.limits.file_bytes_max) {
      file.counted = false;
      leave_out_patch(file);
    } else if (Result<void> compared = compare_lines(file, diff, i); !compared) {
      return compared;
    }
    change_.files.push_back(std::move(file));
    return {};
  }

  /// The same file again, whatever libgit2 takes it for.
  Result<Handle<git_diff>> as_text(const std::string& path) {
    git_diff_options options = GIT_DIFF_OPTIONS_INIT;
    options.flags = GIT_DIFF_FORCE_TEXT | GIT_DIFF_DISABLE_PATHSPEC_MATCH;
    options.id_abbrev = GIT_OID_HEXSZ;
    char* name = const_cast<char*>(path.c_str());
    options.pathspec = {.strings = &name, .count = 1};
    Handle<git_diff> diff;
    const int rc = git_diff_tree_to_tree(out(diff), repository_, old_tree_, new_tree_, &options);
    if (rc != 0) return detail::libgit2_fail(rc, path);
    return diff;
  }

  Result<void> compare_lines(FileChange& file, git_diff* diff, std::size_t i) {
    Result<void> compared = compare_content(file, diff, i);
    if (!compared || !file.binary || file.status == FileStatus::renamed) return compared;
    if (is_binary_to_git(*git_diff_get_delta(diff, i))) return compared;
    Result<Handle<git_diff>> text = as_text(file.path);
    if (!text) return fail(std::move(text).error());
    if (git_diff_num_deltas(text->get()) != 1) return compared;
    patch_bytes_ -= file.patch.size();
    file.patch.clear();
    return compare_content(file, text->get(), 0);
  }

  /// libgit2 takes files with few control characters for binary, and applies the attributes of
  /// files to links.
  bool is_binary_to_git(const git_diff_delta& delta) {
    const std::uint32_t mode =
        delta.status == GIT_DELTA_DELETED ? delta.old_file.mode : delta.new_file.mode;
    const char* value = nullptr;
    if (mode == 0100644 || mode == 0100755) {
      git_attr_get(&value, repository_, GIT_ATTR_CHECK_FILE_THEN_INDEX, delta.new_file.path,
                   "diff");
    }
    if (git_attr_value(value) == GIT_ATTR_VALUE_FALSE) return true;
    if (git_attr_value(value) == GIT_ATTR_VALUE_TRUE) return false;
    for (const git_diff_file* side : {&delta.old_file, &delta.new_file}) {
      Handle<git_blob> blob;
      if (git_oid_is_zero(&side->id)) continue;
      if (git_blob_lookup(out(blob), repository_, &side->id) != 0) return true;
      const auto size = std::min<git_object_size_t>(git_blob_rawsize(blob.get()), kBinaryLook);
      const void* content = git_blob_rawcontent(blob.get());
      if (size > 0 && std::memchr(content, 0, static_cast<std::size_t>(size)) != nullptr) {
        return true;
      }
    }
    return false;
  }

  Result<void> compare_content(FileChange& file, git_diff* diff, std::size_t i) {
    Handle<git_patch> patch;
    const int rc = git_patch_from_diff(out(patch), diff, i);
    if (rc != 0) return detail::libgit2_fail(rc, file.path);
    file.binary = (git_diff_get_delta(diff, i)->flags & GIT_DIFF_FLAG_BINARY) != 0;
    if (!patch) return {};
    git_patch_line_stats(nullptr, &file.additions, &file.deletions, patch.get());
    const git_diff_delta* delta = git_patch_get_delta(patch.get());
    const bool same_content = git_oid_equal(&delta->old_file.id, &delta->new_file.id) != 0;
    if (!request_.with_patches) return {};
    if (file.binary && !request_.binary_patches && !same_content) return {};
    if (Result<void> put = put_patch(file, patch.get()); !put) return put;
    // libgit2 says "Binary files differ" also where only mode or name do; `git apply` then wants
    // the contents.
    const std::size_t line = file.patch.find("\nBinary files ");
    if (file.binary && same_content && line != std::string::npos) file.patch.resize(line + 1);
    return {};
  }

  Result<void> put_patch(FileChange& file, git_patch* patch) {
    const std::size_t about = git_patch_size(patch, 1, 1, 1);
    if (about > request_.limits.file_patch_bytes_max) {
      leave_out_patch(file);
      return {};
    }
    git_buf text = GIT_BUF_INIT;
    const int rc = git_patch_to_buf(&text, patch);
    if (rc != 0) return detail::libgit2_fail(rc, file.path);
    const bool fits = text.size <= request_.limits.file_patch_bytes_max &&
                      patch_bytes_ + text.size <= request_.limits.patch_bytes_max;
    if (fits) {
      file.patch.append(text.ptr, text.size);
      patch_bytes_ += text.size;
    } else {
      leave_out_patch(file);
    }
    git_buf_dispose(&text);
    return {};
  }

  void leave_out_patch(FileChange& file) {
    file.patch_truncated = true;
    change_.patch_truncated = true;
  }

  /// A file that became a link, or the other way, comes as a deletion and an addition, because `git
  /// apply` takes nothing else. In the list it is one entry.
  void join_type_changes() {
    std::vector<FileChange>& files = change_.files;
    std::sort(files.begin(), files.end(), [](const FileChange& a, const FileChange& b) {
      if (a.path != b.path) return a.path < b.path;
      return a.status == FileStatus::deleted && b.status != FileStatus::deleted;
    });
    std::vector<FileChange> joined;
    joined.reserve(files.size());
    for (FileChange& file : files) {
      if (joined.empty() || joined.back().path != file.path) {
        joined.push_back(std::move(file));
        continue;
      }
      FileChange& first = joined.back();
      first.status = FileStatus::typechange;
      first.mode = file.mode;
      first.kind = file.kind;
      first.additions += file.additions;
      first.deletions += file.deletions;
      first.binary = first.binary || file.binary;
      first.counted = first.counted && file.counted;
      first.patch_truncated = first.patch_truncated || file.patch_truncated;
      first.patch += file.patch;
      // One half alone would only delete the file.
      if (first.patch_truncated || (first.binary && !request_.binary_patches)) first.patch.clear();
      --change_.files_total;
    }
    files = std::move(joined);
  }

  const Reader& reader_;
  git_repository* repository_;
  git_tree* old_tree_;
  git_tree* new_tree_;
  const DiffRequest& request_;
  std::set<std::string, std::less<>> wanted_;
  std::set<std::string> checked_;  // folders
  Handle<git_odb> odb_;
  Change change_;
  std::uint64_t patch_bytes_ = 0;
};

Result<bool> find_renames(git_diff* diff, const DiffRequest& request) {
  const std::size_t added = git_diff_num_deltas_of_type(diff, GIT_DELTA_ADDED);
  const std::size_t deleted = git_diff_num_deltas_of_type(diff, GIT_DELTA_DELETED);
  if (added == 0 || deleted == 0) return false;
  const bool limited = std::max(added, deleted) > request.limits.rename_candidates_max;
  git_diff_find_options options = GIT_DIFF_FIND_OPTIONS_INIT;
  options.flags = GIT_DIFF_FIND_RENAMES;
  if (limited) options.flags |= GIT_DIFF_FIND_EXACT_MATCH_ONLY;
  options.rename_limit = limited ? added + deleted : request.limits.rename_candidates_max;
  const int rc = git_diff_find_similar(diff, &options);
  if (rc != 0) return detail::libgit2_fail(rc, "finding renames");
  return limited;
}

Result<Change> compare(const Reader& reader, const std::string& from, const std::string& to,
                       const DiffRequest& request) {
  git_repository* repository = reader.repository;
  Result<Handle<git_tree>> old_tree = detail::find_tree(repository, from);
  if (!old_tree) return fail(std::move(old_tree).error());
  Result<Handle<git_tree>> new_tree = detail::find_tree(repository, to);
  if (!new_tree) return fail(std::move(new_tree).error());
  Result<detail::TreeDifference> trees =
      detail::only_what_differs(repository, old_tree->get(), new_tree->get(), request.patience);
  if (!trees) return fail(std::move(trees).error());
  git_tree* before = trees->before.get();
  git_tree* after = trees->after.get();

  // Changes of type stay out of the search for renames: their halves would be paired with other
  // files.
  Scan scan{.patience = &request.patience, .type_changes = {}};
  git_diff_options options = diff_options(request, scan);
  options.flags |= GIT_DIFF_INCLUDE_TYPECHANGE;
  options.notify_cb = note_type_changes;
  Handle<git_diff> diff;
  Handle<git_diff> halves;
  int rc = git_diff_tree_to_tree(out(diff), repository, before, after, &options);
  if (rc == 0 && !scan.type_changes.empty()) {
    options.flags &= ~static_cast<std::uint32_t>(GIT_DIFF_INCLUDE_TYPECHANGE);
    options.notify_cb = keep_type_changes;
    rc = git_diff_tree_to_tree(out(halves), repository, before, after, &options);
  }
  if (Result<void> patient = request.patience.check("comparing trees"); !patient) {
    return fail(std::move(patient).error());
  }
  if (rc != 0) return detail::libgit2_fail(rc, "comparing trees");
  Result<bool> limited = find_renames(diff.get(), request);
  if (!limited) return fail(std::move(limited).error());

  ChangeBuilder builder(reader, before, after, request);
  Result<void> added = builder.add_all(diff.get());
  if (added && halves) added = builder.add_all(halves.get());
  if (!added) return fail(std::move(added).error());
  Change change = builder.take();
  change.renames_limited = *limited;
  change.from_tree = detail::hex(*git_tree_id(old_tree->get()));
  change.to_tree = detail::hex(*git_tree_id(new_tree->get()));
  return change;
}

/// True when the user's index has any. One that only git reads stays with libgit2, which says so.
Result<bool> use_attributes_of(const detail::OpenedWorktree& worktree) {
  Result<detail::IndexFile> index = detail::IndexFile::open(worktree.registration + "/index");
  if (!index && index.error().kind == ErrorKind::unsupported) return true;
  const std::vector<detail::IndexEntry> none;
  const std::vector<detail::IndexEntry>& entries = index ? index->entries() : none;
  detail::UsersIndex users{
      .attributes = {},
      .entries = [&]() -> const std::vector<detail::IndexEntry>& { return entries; }};
  for (const detail::IndexEntry& entry : entries) {
    if (detail::is_attributes_file(entry.path)) users.attributes.emplace(entry.path);
  }
  Result<void> used = detail::use_part_of_index(worktree.repository.get(), users,
                                                detail::attributes_of_index(users, worktree.path));
  if (!used) return fail(std::move(used).error());
  return !users.attributes.empty();
}

/// The objects of `of`, and nothing else of it: no settings, no attributes, no files.
Result<Handle<git_repository>> only_objects(git_repository* of) {
  Handle<git_odb> odb;
  Handle<git_config> config;
  Handle<git_index> index;
  Handle<git_repository> bare;
  int rc = git_repository_odb(out(odb), of);
  if (rc == 0) rc = git_repository_wrap_odb(out(bare), odb.get());
  if (rc == 0) rc = git_config_new(out(config));
  if (rc == 0) rc = git_repository_set_config(bare.get(), config.get());
  if (rc == 0) rc = git_index_new(out(index));
  if (rc == 0) rc = git_repository_set_index(bare.get(), index.get());
  if (rc != 0) return detail::libgit2_fail(rc, "objects");
  return bare;
}

/// For each file libgit2 looks for attributes in all folders above it, again and again: where there
/// are none it is not given the worktree.
Result<Change> compare_in(const detail::OpenedWorktree& worktree, bool index_has_attributes,
                          const std::set<std::string>* without_attributes, const std::string& to,
                          const DiffRequest& request) {
  git_repository* repository = worktree.repository.get();
  if (!index_has_attributes && !detail::settings_may_convert(repository)) {
    Result<Handle<git_repository>> objects = only_objects(repository);
    if (!objects) return fail(std::move(objects).error());
    bool needs_attributes = false;
    Result<Change> change = compare({.repository = objects->get(),
                                     .root = worktree.path,
                                     .without_attributes = without_attributes,
                                     .needs_attributes = &needs_attributes},
                                    request.from, to, request);
    if (!needs_attributes) return change;
  }
  return compare({.repository = repository, .root = worktree.path}, request.from, to, request);
}

Result<Change> diff_worktree(const DiffRequest& request) {
  Result<detail::OpenedWorktree> worktree = detail::open_worktree(request.worktree);
  if (!worktree) return fail(std::move(worktree).error());
  Result<detail::WorkingTree> tree =
      detail::WorkingTree::read({.worktree = *worktree,
                                 .key = request.worktree.key,
                                 .private_index = request.private_index,
                                 .file_bytes_max = SnapshotRequest{}.file_bytes_max,
                                 .hints = request.hints,
                                 .only_in_memory = true,
                                 .patience = request.patience});
  if (!tree) return fail(std::move(tree).error());
  if (Result<void> there = verify_worktree(request.worktree); !there) {
    return fail(std::move(there).error());
  }
  Result<Change> change = compare_in(*worktree, tree->index_has_attributes(),
                                     &tree->without_attributes(), tree->tree(), request);
  if (!change) return change;
  change->skipped = tree->skipped();
  change->scan = tree->report();
  return change;
}

}  // namespace

std::string_view to_string(FileStatus status) {
  switch (status) {
    case FileStatus::added:
      return "added";
    case FileStatus::modified:
      return "modified";
    case FileStatus::deleted:
      return "deleted";
    case FileStatus::renamed:
      return "renamed";
    case FileStatus::typechange:
      return "typechange";
  }
  return "modified";
}

std::string patch_text(const Change& change) {
  std::string text;
  for (const FileChange& file : change.files) text += file.patch;
  return text;
}

Result<Change> diff(const DiffRequest& request) {
  if (detail::uses_command(request.worktree)) return detail::command_diff(request);
  if (!is_object_id(request.from)) {
    return fail(ErrorKind::invalid, "bad_object_id", "from '" + request.from + "'");
  }
  if (request.to == kWorktree) {
    Result<Change> change = diff_worktree(request);
    if (!change && detail::goes_to_command(request.worktree, change.error())) {
      return detail::command_diff(request);  // an index of a kind that only git reads
    }
    return change;
  }
  if (!is_object_id(request.to)) {
    return fail(ErrorKind::invalid, "bad_object_id", "to '" + request.to + "'");
  }
  if (!request.worktree.path.empty()) {
    // Its attributes say which files are binary. A worktree that is gone has none to ask.
    Result<detail::OpenedWorktree> worktree = detail::open_worktree(request.worktree);
    if (worktree) {
      Result<bool> attributes = use_attributes_of(*worktree);
      if (!attributes) return fail(std::move(attributes).error());
      return compare_in(*worktree, *attributes, nullptr, request.to, request);
    }
  }
  Result<detail::Opened> opened = detail::open_objects(request.worktree.repository);
  if (!opened) return fail(std::move(opened).error());
  return compare({.repository = opened->repository.get()}, request.from, request.to, request);
}

}  // namespace berth::git
