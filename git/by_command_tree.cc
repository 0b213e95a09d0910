#include <berth/git/by_command.h>
#include <berth/git/files.h>
#include <berth/git/names.h>

#include <sys/stat.h>
#include <unistd.h>

#include <set>

namespace berth::git::detail {
namespace {

constexpr std::size_t kSkippedNamesMax = 100;

/// Reads the working files into the private index. One use.
class TreeByCommand {
 public:
  TreeByCommand(const Location& worktree, BorrowedObjects& objects, std::uint64_t file_bytes_max)
      : worktree_(worktree), objects_(objects), file_bytes_max_(file_bytes_max) {}

  Result<CommandTree> read(const std::vector<ListedEntry>& users) {
    // Times of files that were only touched; its exit code says that there are changed ones.
    Result<GitOutput> refreshed = objects_.try_run({"update-index", "-q", "--refresh"});
    if (!refreshed) return fail(std::move(refreshed).error());
    Result<void> done = find_changes();
    if (done) done = follow(users);
    if (done) done = store();
    if (!done) return fail(std::move(done).error());
    Result<std::string> tree = objects_.run({"write-tree"});
    if (!tree) return fail(std::move(tree).error());
    result_.tree = without_newline(*std::move(tree));
    return std::move(result_);
  }

 private:
  void skip(const std::string& path) {
    ++result_.skipped_count;
    if (result_.skipped.size() < kSkippedNamesMax) result_.skipped.push_back(path);
  }

  /// Files that differ from the private index or are new.
  Result<void> find_changes() {
    Result<std::string> listed = objects_.run(
        {"ls-files", "-z", "-t", "--others", "--modified", "--deleted", "--exclude-standard"});
    if (!listed) return fail(std::move(listed).error());
    for (const std::string& line : split_at_zero(*listed)) {
      if (line.size() > 2) consider(line.substr(2));
    }
    return {};
  }

  void consider(std::string path) {
    const bool nested = path.ends_with("/");
    if (nested) path.pop_back();
    if (!is_safe_relative(path)) return skip(path);
    const std::string full = worktree_.work_dir + "/" + path;
    struct stat st{};
    if (::lstat(full.c_str(), &st) != 0 || !has_real_parents(worktree_.work_dir, path)) {
      gone_.insert(path);
      return;
    }
    // A folder where the index has a file, or a submodule.
    const bool repository = S_ISDIR(st.st_mode) && kind_of(full + "/.git") != PathKind::missing;
    if (S_ISDIR(st.st_mode) && !repository) {
      gone_.insert(path);
      return;
    }
    const bool plain = S_ISREG(st.st_mode);
    if (!plain && !S_ISLNK(st.st_mode) && !S_ISDIR(st.st_mode)) return skip(path);
    if (plain && (static_cast<std::uint64_t>(st.st_size) > file_bytes_max_ ||
                  ::access(full.c_str(), R_OK) != 0)) {
      return skip(path);
    }
    if (nested || repository) {
      nested_.insert(path);
    } else {
      changed_.insert(path);
    }
  }

  /// What the user's index alone knows: files forced into it although they are ignored, and those
  /// that a sparse checkout left out, which are not deleted.
  Result<void> follow(const std::vector<ListedEntry>& users) {
    Result<std::string> listed = objects_.run({"ls-files", "-z", "--cached"});
    if (!listed) return fail(std::move(listed).error());
    std::set<std::string> known;
    for (std::string& path : split_at_zero(*listed)) known.insert(std::move(path));
    for (const ListedEntry& entry : users) {
      if (!is_safe_relative(entry.path)) continue;
      const bool on_disk = kind_of(worktree_.work_dir + "/" + entry.path) != PathKind::missing;
      if (entry.tag == 'S' && !on_disk) {
        gone_.erase(entry.path);
        add_index_line(left_out_, entry.mode, entry.id, entry.path);
      } else if (!known.contains(entry.path) && on_disk && entry.mode != "160000") {
        // Whether line endings are converted depends on what was committed or staged.
        if (entry.stage == '0') add_index_line(committed_, entry.mode, entry.id, entry.path);
        consider(entry.path);
      }
    }
    return {};
  }

  Result<std::string> feed(const char* how, const std::set<std::string>& paths) {
    std::string list;
    for (const std::string& path : paths) list += path + '\0';
    if (list.empty()) return list;
    return objects_.run({"update-index", "-z", "--add", how, "--stdin"}, std::move(list));
  }

  Result<void> store() {
    // By force: one whose folder became a link would be refused.
    Result<std::string> done = feed("--force-remove", gone_);
    if (done && !committed_.empty()) {
      done = objects_.run({"update-index", "-z", "--index-info"}, committed_);
    }
    if (done) done = feed("--replace", changed_);
    if (done && !left_out_.empty()) {
      done = objects_.run({"update-index", "-z", "--index-info"}, left_out_);
    }
    if (!done) return fail(std::move(done).error());
    for (const std::string& path : nested_) {
      // One without a commit has nothing to name it by.
      Result<GitOutput> added =
          objects_.try_run({"update-index", "--add", "--replace", "--", path});
      if (!added) return fail(std::move(added).error());
      if (added->exit_code != 0) skip(path);
    }
    return {};
  }

  const Location& worktree_;
  BorrowedObjects& objects_;
  std::uint64_t file_bytes_max_;
  std::set<std::string> changed_;
  std::set<std::string> gone_;
  std::set<std::string> nested_;
  std::string committed_;  // entries of the user's index that are not in ours, as lines
  std::string left_out_;
  CommandTree result_;
};

/// An index to begin with: HEAD's files, all to be compared.
Result<void> begin(const HardenedGit& git, const BorrowedObjects& objects) {
  Result<std::string> head = git.run({"rev-parse", "--quiet", "--verify", "HEAD^{tree}"});
  if (!head) return objects.run({"read-tree", "--empty"}).map([](const std::string&) {});
  return objects.run({"read-tree", without_newline(*head)}).map([](const std::string&) {});
}

}  // namespace

Result<std::vector<ListedEntry>> listed_index(const BorrowedObjects& objects) {
  Result<std::string> listed = objects.run({"ls-files", "-z", "-s", "-v"});
  if (!listed) return fail(std::move(listed).error());
  std::vector<ListedEntry> entries;
  for (const std::string& line : split_at_zero(*listed)) {
    // "H 100644 <id> 0\t<path>"
    const std::size_t mode = 2;
    const std::size_t id = line.find(' ', mode);
    const std::size_t stage = id == std::string::npos ? id : line.find(' ', id + 1);
    const std::size_t tab = stage == std::string::npos ? stage : line.find('\t', stage);
    if (tab == std::string::npos) {
      return fail(ErrorKind::internal, "git_failed", "git ls-files: unexpected line " + line);
    }
    entries.push_back({.tag = line[0],
                       .mode = line.substr(mode, id - mode),
                       .id = line.substr(id + 1, stage - id - 1),
                       .stage = line[stage + 1],
                       .path = line.substr(tab + 1)});
  }
  return entries;
}

Result<std::vector<ListedEntry>> user_index(const HardenedGit& git, const Location& worktree) {
  Result<BorrowedObjects> copy = BorrowedObjects::make(git, worktree.work_dir, {});
  if (!copy) return fail(std::move(copy).error());
  if (Result<void> taken = copy->take_index(worktree.git_dir); !taken) {
    return fail(std::move(taken).error());
  }
  return listed_index(*copy);
}

void add_index_line(std::string& lines, const std::string& mode, const std::string& id,
                    const std::string& path) {
  lines.append(mode).append(" ").append(id).append(" 0\t").append(path);
  lines.push_back('\0');
}

Result<CommandTree> command_tree(const WorktreeRef& worktree, const std::string& private_index,
                                 std::uint64_t file_bytes_max, const Patience& patience) {
  Result<Location> location = verify_links(worktree);
  if (!location) return fail(std::move(location).error());
  const HardenedGit git(*worktree.command, *location, patience);
  Result<std::vector<ListedEntry>> users = user_index(git, *location);
  if (!users) return fail(std::move(users).error());
  Result<BorrowedObjects> objects = BorrowedObjects::make(git, location->work_dir, private_index);
  if (!objects) return fail(std::move(objects).error());
  if (private_index.empty()) objects->use_own_index();
  // Of a run that was killed: nobody else writes this file.
  if (!private_index.empty()) {
    if (Result<void> gone = remove_file_if_exists(private_index + ".lock"); !gone) {
      return fail(gone.error());
    }
  }
  patience.note(Step::command_snapshot_files);
  // One that is missing, broken, or names objects that were collected, is made anew.
  const bool there = !private_index.empty() && kind_of(private_index) == PathKind::file;
  Result<GitOutput> usable = objects->try_run({"write-tree"});
  if (!usable) return fail(std::move(usable).error());
  if (!there || usable->exit_code != 0) {
    if (there) {
      if (Result<void> gone = remove_file_if_exists(private_index); !gone) {
        return fail(gone.error());
      }
    }
    if (Result<void> begun = begin(git, *objects); !begun) return fail(std::move(begun).error());
  }
  return TreeByCommand(*location, *objects, file_bytes_max).read(*users);
}

Result<Snapshot> command_snapshot(const SnapshotRequest& request) {
  if (!is_ref_name(request.name)) {
    return fail(ErrorKind::invalid, "bad_ref_name", "snapshot name '" + request.name + "'");
  }
  if (Result<void> there = verify_worktree(request.worktree); !there) return fail(there.error());
  Result<Refs> refs = Refs::open(request.worktree, request.patience);
  if (!refs) return fail(std::move(refs).error());
  const std::string& key = request.worktree.key;
  Result<CommandTree> tree = command_tree(request.worktree, request.private_index,
                                          request.file_bytes_max, request.patience);
  if (!tree) return fail(std::move(tree).error());
  if (Result<void> there = verify_worktree(request.worktree); !there) return fail(there.error());

  Snapshot snapshot;
  snapshot.parent = request.parent;
  const std::string prefix = "refs/berth/s/" + key + "/";
  if (snapshot.parent.empty()) {
    Result<std::string> next = refs->next_number(prefix);
    if (!next) return fail(std::move(next).error());
    const std::string last = std::to_string(std::stoll(*next) - 1);
    Result<std::string> parent = last == request.name ? std::string() : refs->target(prefix + last);
    if (parent && parent->empty()) parent = refs->target(base_ref_of(key));
    if (!parent) return fail(std::move(parent).error());
    snapshot.parent = *std::move(parent);
  }
  snapshot.tree = tree->tree;
  snapshot.ref = snapshot_ref_of(key, request.name);
  snapshot.skipped = std::move(tree->skipped);
  snapshot.skipped_count = tree->skipped_count;
  std::vector<std::string> parents;
  if (!snapshot.parent.empty()) parents.push_back(snapshot.parent);
  request.patience.note(Step::command_snapshot_commit);
  Result<std::string> commit = refs->write_commit(
      snapshot.tree, parents,
      request.message.empty() ? "berth snapshot " + request.name : request.message, request.time_s);
  if (!commit) return fail(std::move(commit).error());
  snapshot.commit = *std::move(commit);
  request.patience.note(Step::command_snapshot_ref);
  if (Result<void> set = refs->set(snapshot.ref, snapshot.commit); !set) return fail(set.error());
  return snapshot;
}

}  // namespace berth::git::detail
