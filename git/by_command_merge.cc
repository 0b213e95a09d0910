// Trees by the git command.
#include <berth/git/by_command.h>
#include <berth/git/names.h>
#include <berth/git/trees.h>

#include <array>
#include <cstdio>
#include <map>

namespace berth::git::detail {
namespace {

constexpr int kUsageError = 129;

/// The three sides of a path in conflict.
using Sides = std::array<bool, 3>;

/// What a side of git's merge is called behind the name of a file that a folder took the place of:
/// "<path>~<commit>".
std::string without_side(const std::string& path, const std::string& ours,
                         const std::string& theirs) {
  for (const std::string& side : {ours, theirs}) {
    const std::size_t at = path.rfind("~" + side);
    if (at != std::string::npos) return path.substr(0, at);
  }
  return path;
}

class TreesByCommand final : public Trees {
 public:
  explicit TreesByCommand(const HardenedGit& git) : git_(git) {}

  Result<std::string> tree(const std::string& id) override {
    if (!is_object_id(id)) return fail(ErrorKind::invalid, "bad_object_id", "'" + id + "'");
    Result<BorrowedObjects> objects = borrow();
    if (!objects) return fail(std::move(objects).error());
    return tree_of(*objects, id);
  }

  Result<std::string> edited(const std::string& tree, const NamedFiles& edits) override {
    Result<BorrowedObjects> objects = borrow();
    if (!objects) return fail(std::move(objects).error());
    std::string lines;
    const std::string none(tree.size(), '0');
    for (const auto& [path, file] : edits) {
      add_index_line(lines, octal_of(file.mode), file.mode == 0 ? none : file.id, path);
    }
    Result<std::string> done = objects->run({"read-tree", tree});
    if (done) done = objects->run({"update-index", "-z", "--index-info"}, std::move(lines));
    // What a partial clone lacks is not asked for.
    if (done) done = objects->run({"write-tree", "--missing-ok"});
    if (!done) return done;
    return without_newline(*std::move(done));
  }

  Result<Merged> merge(const std::string& base, const std::string& ours,
                       const std::string& theirs) override {
    Result<BorrowedObjects> objects = borrow();
    if (!objects) return fail(std::move(objects).error());
    // git merges commits, and finds their base itself.
    Result<std::string> root = commit(base, {});
    Result<std::string> left = root ? commit(ours, *root) : root;
    Result<std::string> right = left ? commit(theirs, *root) : left;
    if (!right) return fail(std::move(right).error());
    const std::vector<std::string> arguments = {"-c",         "merge.directoryRenames=false",
                                                "merge-tree", "--write-tree",
                                                "-z",         "--no-messages",
                                                *left,        *right};
    Result<GitOutput> output = objects->try_run(arguments);
    if (!output) return fail(std::move(output).error());
    if (output->exit_code == kUsageError) {
      return fail(ErrorKind::unsupported, "git_command_too_old",
                  "git merge-tree --write-tree is needed, which is in git 2.38 and later");
    }
    if (output->exit_code > 1) {
      Result<std::string> failed = objects->run(arguments);  // for its error
      return failed ? fail(ErrorKind::internal, "git_failed", "git merge-tree")
                    : fail(std::move(failed).error());
    }
    const std::vector<std::string> parts = split_at_zero(output->output);
    Merged merged;
    if (output->exit_code == 1) {
      merged.conflicts = conflicts_of(parts, *left, *right);
    } else if (!parts.empty()) {
      merged.tree = parts[0];
    }
    return merged;
  }

 private:
  /// Neither the repository's configuration nor anybody's files.
  Result<BorrowedObjects> borrow() const {
    Result<BorrowedObjects> objects = BorrowedObjects::make(git_, {}, {});
    if (!objects) return objects;
    objects->use_own_index();
    if (Result<void> done = objects->use_no_files(); !done) return fail(std::move(done).error());
    return objects;
  }

  /// At no time at all, so that the same merge makes the same objects.
  Result<std::string> commit(const std::string& tree, const std::string& parent) const {
    std::vector<std::string> arguments = {"commit-tree", tree, "-m", "berth merge"};
    if (!parent.empty()) arguments.insert(arguments.end(), {"-p", parent});
    Result<std::string> made = git_.run(std::move(arguments), {}, Author{});
    if (!made) return made;
    return without_newline(*std::move(made));
  }

  Result<std::vector<TreeStep>> compare(const std::string& from, const std::string& to) override {
    Result<BorrowedObjects> objects = borrow();
    if (!objects) return fail(std::move(objects).error());
    for (const std::string& id : {from, to}) {
      if (!is_object_id(id)) return fail(ErrorKind::invalid, "bad_object_id", "'" + id + "'");
      Result<std::string> there = tree_of(*objects, id);
      if (!there) return fail(std::move(there).error());
    }
    Result<std::string> raw =
        objects->run({"diff-tree", "-r", "-z", "--raw", "--no-renames", from, to});
    if (!raw) return fail(std::move(raw).error());
    Result<std::vector<RawChange>> changes = parse_raw(*raw);
    if (!changes) return fail(std::move(changes).error());
    std::vector<TreeStep> steps;
    for (RawChange& one : *changes) {
      steps.push_back(
          {std::move(one.path), file_of(one.old_mode, one.old_id), file_of(one.mode, one.id)});
    }
    return steps;
  }

  static TreeFile file_of(std::uint32_t mode, const std::string& id) {
    return mode == 0 ? TreeFile() : TreeFile{id, mode};
  }

  /// The tree, then "<mode> <id> <stage>\t<path>" for each side of each path, by path.
  static std::vector<ApplyConflict> conflicts_of(const std::vector<std::string>& parts,
                                                 const std::string& ours,
                                                 const std::string& theirs) {
    std::map<std::string, Sides> found;
    for (std::size_t i = 1; i < parts.size(); ++i) {
      const std::size_t tab = parts[i].find('\t');
      if (tab == std::string::npos || tab == 0) continue;
      const int side = parts[i][tab - 1] - '1';
      if (side < 0 || side > 2) continue;
      const std::string path = without_side(parts[i].substr(tab + 1), ours, theirs);
      found[path][static_cast<std::size_t>(side)] = true;
    }
    std::vector<ApplyConflict> conflicts;
    for (const auto& [path, sides] : found) {
      conflicts.push_back({path, conflict_reason(sides[0], sides[1], sides[2])});
    }
    return conflicts;
  }

  const HardenedGit& git_;
};

}  // namespace

std::string octal_of(std::uint32_t mode) {
  std::array<char, 16> text;
  std::snprintf(text.data(), text.size(), "%o", mode);
  return text.data();
}

std::unique_ptr<Trees> trees_by_command(const HardenedGit& git) {
  return std::make_unique<TreesByCommand>(git);
}

}  // namespace berth::git::detail
