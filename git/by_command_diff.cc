#include <berth/git/by_command.h>
#include <berth/git/index_entries.h>
#include <berth/git/names.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace berth::git::detail {
namespace {

/// Compares two trees; attributes are read from `objects`' working files.
class DiffByCommand {
 public:
  DiffByCommand(const DiffRequest& request, const BorrowedObjects& objects)
      : request_(request), objects_(objects) {}

  Result<Change> run(const std::string& from, const std::string& to) {
    change_.from_tree = from;
    change_.to_tree = to;
    Result<void> done = list(from, to);
    if (done) done = count(from, to);
    if (done) keep_asked_for();
    if (done) done = mark_pointers();
    if (done && request_.with_patches && !change_.files.empty()) done = add_patches(from, to);
    if (!done) return fail(std::move(done).error());
    for (const FileChange& file : change_.files) {
      change_.additions += file.additions;
      change_.deletions += file.deletions;
    }
    return std::move(change_);
  }

 private:
  Result<std::string> compare(const char* how, const std::string& from, const std::string& to) {
    std::vector<std::string> arguments = {
        "-c",
        "core.bigFileThreshold=" + std::to_string(request_.limits.file_bytes_max),
        "diff-tree",
        "-r",
        "--no-ext-diff",
        "--no-textconv",
        "--no-color",
        "--src-prefix=a/",
        "--dst-prefix=b/",
        "--find-renames",
        "-l" + std::to_string(request_.limits.rename_candidates_max),
        how};
    // In a patch names are quoted, as git apply wants them.
    const bool patch = std::string_view(how) == "--patch";
    if (!patch) arguments.emplace_back("-z");
    if (patch && request_.binary_patches) arguments.emplace_back("--binary");
    arguments.push_back(from);
    arguments.push_back(to);
    Result<GitOutput> output = objects_.try_run(arguments);
    if (!output) return fail(std::move(output).error());
    if (output->exit_code != 0) return objects_.run(arguments);  // for its error
    change_.renames_limited =
        change_.renames_limited ||
        output->error.find("rename detection was skipped") != std::string::npos;
    return std::move(output->output);
  }

  Result<void> list(const std::string& from, const std::string& to) {
    Result<std::string> raw = compare("--raw", from, to);
    if (!raw) return fail(std::move(raw).error());
    Result<std::vector<RawChange>> changes = parse_raw(*raw);
    if (!changes) return fail(std::move(changes).error());
    for (RawChange& one : *changes) {
      FileChange file{.old_mode = one.old_mode, .mode = one.mode};
      file.path = std::move(one.path);
      file.old_path = std::move(one.old_path);
      file.status = status_of(one.letter);
      // Of the new file, unless that is gone.
      if ((one.mode != 0 ? one.mode : one.old_mode) == kRepositoryMode) {
        file.kind = FileKind::submodule;
      }
      ids_.push_back(one.mode != 0 ? std::move(one.id) : std::move(one.old_id));
      change_.files.push_back(std::move(file));
    }
    return {};
  }

  static FileStatus status_of(char letter) {
    switch (letter) {
      case 'A':
        return FileStatus::added;
      case 'D':
        return FileStatus::deleted;
      case 'R':
        return FileStatus::renamed;
      case 'T':
        return FileStatus::typechange;
      default:
        return FileStatus::modified;
    }
  }

  /// Its records come in the order of the list.
  Result<void> count(const std::string& from, const std::string& to) {
    Result<std::string> counts = compare("--numstat", from, to);
    if (!counts) return fail(std::move(counts).error());
    const std::vector<std::string> parts = split_at_zero(*counts);
    std::size_t next = 0;
    for (FileChange& file : change_.files) {
      if (next >= parts.size()) break;
      const std::string& head = parts[next];
      const std::size_t tab = head.find('\t');
      if (tab == std::string::npos) break;
      file.binary = head[0] == '-';
      if (!file.binary) {
        std::from_chars(head.data(), head.data() + tab, file.additions);
        std::from_chars(head.data() + tab + 1, head.data() + head.size(), file.deletions);
      }
      next += file.status == FileStatus::renamed ? 3 : 1;
    }
    return {};
  }

  void keep_asked_for() {
    std::vector<FileChange>& files = change_.files;
    for (std::size_t i = 0; i < files.size(); ++i) order_.push_back(i);
    if (!request_.paths.empty()) {
      std::erase_if(order_, [&](std::size_t i) {
        return std::none_of(request_.paths.begin(), request_.paths.end(),
                            [&](const std::string& path) {
                              return path == files[i].path || path == files[i].old_path;
                            });
      });
    }
    std::sort(order_.begin(), order_.end(),
              [&](std::size_t a, std::size_t b) { return files[a].path < files[b].path; });
    change_.files_total = order_.size();
    if (order_.size() > request_.limits.files_max) {
      order_.resize(request_.limits.files_max);
      change_.files_truncated = true;
    }
    listed_ = std::move(files);
    for (const std::size_t i : order_) change_.files.push_back(listed_[i]);
  }

  Result<void> mark_pointers() {
    std::vector<std::string> wanted;
    for (std::size_t n = 0; n < order_.size(); ++n) {
      if (change_.files[n].kind == FileKind::plain) wanted.push_back(ids_[order_[n]]);
    }
    Result<std::set<std::string>> pointers = lfs_pointers(objects_, wanted);
    if (!pointers) return fail(std::move(pointers).error());
    for (std::size_t n = 0; n < order_.size(); ++n) {
      FileChange& file = change_.files[n];
      const bool is_one = file.kind == FileKind::plain && pointers->contains(ids_[order_[n]]);
      if (is_one) file.kind = FileKind::lfs_pointer;
    }
    return {};
  }

  /// One patch for each of the list, in its order; a change of type has two halves.
  Result<void> add_patches(const std::string& from, const std::string& to) {
    Result<std::string> text = compare("--patch", from, to);
    if (!text) return fail(std::move(text).error());
    std::vector<std::string> patches(listed_.size());
    std::size_t at = text->starts_with("diff --git ") ? 0 : text->size();
    for (std::size_t i = 0; i < listed_.size() && at < text->size(); ++i) {
      const int halves = listed_[i].status == FileStatus::typechange ? 2 : 1;
      for (int half = 0; half < halves && at < text->size(); ++half) {
        const std::size_t end = text->find("\ndiff --git ", at);
        const std::size_t stop = end == std::string::npos ? text->size() : end + 1;
        patches[i] += text->substr(at, stop - at);
        at = stop;
      }
    }
    std::uint64_t total = 0;
    for (std::size_t n = 0; n < order_.size(); ++n) {
      FileChange& file = change_.files[n];
      std::string& patch = patches[order_[n]];
      if (file.binary && !request_.binary_patches && file.status != FileStatus::renamed) continue;
      if (patch.size() > request_.limits.file_patch_bytes_max ||
          total + patch.size() > request_.limits.patch_bytes_max) {
        file.patch_truncated = true;
        change_.patch_truncated = true;
        continue;
      }
      total += patch.size();
      file.patch = std::move(patch);
    }
    return {};
  }

  const DiffRequest& request_;
  const BorrowedObjects& objects_;
  Change change_;
  std::vector<FileChange> listed_;
  std::vector<std::string> ids_;  // of the blobs of `listed_`
  std::vector<std::size_t> order_;
};

}  // namespace

std::uint32_t mode_of(const std::string& octal) {
  std::uint32_t mode = 0;
  std::from_chars(octal.data(), octal.data() + octal.size(), mode, 8);
  return mode;
}

Result<std::vector<RawChange>> parse_raw(std::string_view printed) {
  const std::vector<std::string> parts = split_at_zero(printed);
  std::vector<RawChange> changes;
  for (std::size_t i = 0; i + 1 < parts.size();) {
    // ":100644 100755 <id> <id> R086", then one path or two
    const std::string& head = parts[i];
    const std::size_t old_id = 15;
    const std::size_t new_id = head.find(' ', old_id) + 1;
    const std::size_t status = head.rfind(' ');
    if (head.size() < old_id || head[0] != ':' || new_id == 0 || status < new_id) {
      return fail(ErrorKind::internal, "git_failed", "git diff-tree: unexpected line " + head);
    }
    RawChange change{.old_mode = mode_of(head.substr(1, 6)),
                     .mode = mode_of(head.substr(8, 6)),
                     .old_id = head.substr(old_id, new_id - 1 - old_id),
                     .id = head.substr(new_id, status - new_id),
                     .letter = head[status + 1]};
    const bool renamed = change.letter == 'R';
    if (renamed && i + 2 >= parts.size()) break;
    if (renamed) change.old_path = parts[i + 1];
    change.path = parts[i + (renamed ? 2 : 1)];
    i += renamed ? 3 : 2;
    changes.push_back(std::move(change));
  }
  return changes;
}

Result<std::string> tree_of(const BorrowedObjects& objects, const std::string& id) {
  Result<std::string> tree =
      objects.run({"rev-parse", "--quiet", "--verify", "--end-of-options", id + "^{tree}"});
  if (tree) return without_newline(*std::move(tree));
  if (tree.error().kind != ErrorKind::internal) return tree;
  return fail(ErrorKind::not_found, "object_not_found", id + ": no such commit or tree");
}

Result<Change> command_diff(const DiffRequest& request) {
  if (!is_object_id(request.from)) {
    return fail(ErrorKind::invalid, "bad_object_id", "from '" + request.from + "'");
  }
  const bool of_files = request.to == "worktree";
  if (!of_files && !is_object_id(request.to)) {
    return fail(ErrorKind::invalid, "bad_object_id", "to '" + request.to + "'");
  }
  Result<Refs> refs = Refs::open(request.worktree, request.patience);
  if (!refs) return fail(std::move(refs).error());
  CommandTree files;
  if (of_files) {
    Result<CommandTree> read =
        command_tree(request.worktree, request.private_index,
                     std::numeric_limits<std::uint64_t>::max(), request.patience);
    if (!read) return fail(std::move(read).error());
    files = *std::move(read);
  }
  // The attributes of a worktree that is gone cannot be asked.
  Result<Location> location = request.worktree.path.empty() ? Result<Location>(refs->location())
                                                            : verify_links(request.worktree);
  if (!location) location = refs->location();
  const HardenedGit git(*request.worktree.command, *location, request.patience);
  Result<BorrowedObjects> objects = BorrowedObjects::make(git, location->work_dir, {});
  if (!objects) return fail(std::move(objects).error());
  objects->use_own_index();
  Result<std::string> from = tree_of(*objects, request.from);
  if (!from) return fail(std::move(from).error());
  Result<std::string> to = of_files ? files.tree : tree_of(*objects, request.to);
  if (!to) return fail(std::move(to).error());
  Result<Change> change = DiffByCommand(request, *objects).run(*from, *to);
  if (change) change->skipped = std::move(files.skipped);
  return change;
}

}  // namespace berth::git::detail
