// bench/git/changes_bench.cc — what a turn changed, found by berth and by the git command in the
// same run: changes_bench [options of rig.h].
//
// In each round some files are appended to and a new one is made, in a worktree for each side and
// in an overlay; both sides are timed, neither always first; then the files are put back.

#include "rig.h"

#include <berth/git/diff.h>
#include <berth/git/overlay.h>
#include <berth/git/removal.h>
#include <berth/git/snapshot.h>
#include <berth/git/worktree.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace berth::git::bench {
namespace {

namespace fs = std::filesystem;

struct Pair {
  std::vector<Cost> ours;
  std::vector<Cost> theirs;
};

/// A worktree of berth, and what was last seen of it.
struct Ours {
  WorktreeRef ref;
  std::string index;
  std::string tree;
};

/// One repository with a worktree for each side, and an overlay where that can be.
class Place {
 public:
  Place(const std::string& root, int files, const Options& options)
      : files_(files), options_(options), repo_(root + "/repo" + std::to_string(files)) {
    make_repository(repo_, files, options.commits);
    fs::create_directories(repo_ + "-trees");
    plain_ = {{repo_, repo_ + "-trees/ours", key_of(1)}, repo_ + "-trees/ours.index", {}};
    auto made =
        create_worktree({.worktree = plain_.ref, .base = {}, .private_index = plain_.index});
    must(made.has_value(), "create_worktree");
    base_ = made->base_commit;
    if (probe_overlay(store()).usable) {
      overlay_ = {{repo_, repo_ + "-trees/over", key_of(2)}, repo_ + "-trees/over.index", base_};
      made = create_overlay(
          {.worktree = {.worktree = overlay_.ref, .base = {}, .private_index = overlay_.index},
           .store = store()});
      must(made.has_value(), "create_overlay");
    }
    // A clone: in a shared object database one side would find stored what the other one wrote.
    run_git(repo_, {"clone", "-q", repo_, their_tree()});
    fs::copy_file(their_tree() + "/.git/index", their_index());
    settle(0);
  }
  ~Place() {
    if (!has_overlay()) return;
    WorkLoss report;
    static_cast<void>(remove_overlay(
        {.worktree = {.worktree = overlay_.ref, .base = {}, .force = true}, .store = store()},
        report));
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  void measure(int touched, Report& report) {
    std::map<std::string, Pair> rows;
    const auto their_diff = [&] {
      run_git(their_tree(), {"diff", base_});
      run_git(their_tree(), {"ls-files", "--others", "--exclude-standard"});
    };
    const auto their_list = [&] {
      run_git(their_tree(), {"diff", "--numstat", base_});
      run_git(their_tree(), {"ls-files", "--others", "--exclude-standard"});
    };
    const auto their_snapshot = [&] {
      run_git(their_tree(), {"add", "-A"}, their_index());
      run_git(their_tree(), {"write-tree"}, their_index());
    };
    for (int round = 0; round < options_.rounds; ++round) {
      std::vector<std::string> names;
      const auto both = [&](const std::string& name, const std::function<void()>& ours,
                            const std::function<void()>& theirs) {
        if (name.find(options_.only) == std::string::npos) return;
        Pair& row = rows[name];
        if (round % 2 == 0) row.ours.push_back(timed(options_, ours));
        row.theirs.push_back(timed(options_, theirs));
        if (round % 2 != 0) row.ours.push_back(timed(options_, ours));
      };
      /// On files that neither side has seen in this form.
      const auto fresh = [&](const std::string& name, const std::function<void()>& ours) {
        if (name.find(options_.only) == std::string::npos) return;
        names = edit(touched, round);
        both(name, ours, their_snapshot);
        restore(names);
        settle(round);
      };
      names = edit(touched, round);
      both("change with patches, full scan", [&] { change(plain_, {}, true, names); }, their_diff);
      both(
          "change with patches, hints", [&] { change(plain_, hints(names), true, names); },
          their_diff);
      both(
          "change, counts only, hints", [&] { change(plain_, hints(names), false, names); },
          their_list);
      if (has_overlay()) {
        both(
            "change with patches, overlay", [&] { change(overlay_, layer(), true, names); },
            their_diff);
      }
      restore(names);
      settle(round);
      fresh("snapshot, full scan", [&] { snapshot(plain_, {}, round); });
      fresh("snapshot, hints", [&] { snapshot(plain_, hints(names), round); });
      if (has_overlay()) fresh("snapshot, overlay", [&] { snapshot(overlay_, layer(), round); });
    }
    Report::heading(std::to_string(files_) + " files, " + std::to_string(touched) + " touched" +
                    (options_.cold ? ", cold" : ""));
    for (const auto& [name, row] : rows) {
      report.compare(files_, std::to_string(touched) + " touched: " + name, row.ours, row.theirs);
    }
  }

 private:
  bool has_overlay() const { return !overlay_.index.empty(); }
  std::string store() const { return repo_ + "-store"; }
  std::string their_tree() const { return repo_ + "-trees/theirs"; }
  std::string their_index() const { return repo_ + "-trees/theirs.index"; }

  Hints hints(const std::vector<std::string>& names) const {
    return {.complete = true, .since = plain_.tree, .paths = names};
  }
  /// What the upper layer of the overlay says.
  Hints layer() const {
    auto changed = changed_paths({overlay_.ref, store()}, {});
    must(changed.has_value(), "changed_paths");
    return {.complete = changed->complete, .since = changed->commit, .paths = changed->paths};
  }

  void change(const Ours& side, const Hints& known, bool patches,
              const std::vector<std::string>& names) const {
    auto found = diff({.worktree = side.ref,
                       .from = base_,
                       .to = "worktree",
                       .with_patches = patches,
                       .private_index = side.index,
                       .hints = known});
    must(found && found->files.size() == names.size(), "diff");
    must(found->scan.full == !known.complete, "the way of scanning");
  }

  static void snapshot(Ours& side, const Hints& known, int round) {
    auto taken = take_snapshot({.worktree = side.ref,
                                .name = std::to_string(round),
                                .private_index = side.index,
                                .time_s = 1,
                                .hints = known});
    must(taken && taken->scan.full == !known.complete, "take_snapshot");
    side.tree = taken->tree;
  }

  std::vector<std::string> trees() const {
    std::vector<std::string> all{plain_.ref.path, their_tree()};
    if (has_overlay()) all.push_back(overlay_.ref.path);
    return all;
  }

  /// Each call writes contents that were never there before, and other ones in each worktree: two
  /// of them share one object database, where the second to write the same would find it done.
  std::vector<std::string> edit(int touched, int round) {
    std::vector<std::string> names;
    const auto line = [edit = std::to_string(++edits_)](const std::string& tree) {
      return "edit " + edit + " in " + tree.substr(tree.rfind('/') + 1) + "\n";
    };
    for (int i = 0; i < touched - 1; ++i) {
      const int n = static_cast<int>((static_cast<long>(i) * 397 + round * 31L) % files_);
      const std::string name = name_of(n);
      if (std::find(names.begin(), names.end(), name) != names.end()) continue;
      names.push_back(name);
      for (const std::string& tree : trees()) {
        std::ofstream(tree + "/" + name, std::ios::app) << line(tree);
      }
    }
    names.push_back("new" + std::to_string(round));
    for (const std::string& tree : trees()) write(tree + "/" + names.back(), line(tree));
    return names;
  }

  void restore(const std::vector<std::string>& names) const {
    for (const std::string& tree : trees()) {
      for (const std::string& name : names) {
        if (name.starts_with("new")) {
          fs::remove(tree + "/" + name);
        } else {
          const std::string digits = name.substr(name.rfind('f') + 1);
          write(tree + "/" + name, text_of(std::atoi(digits.c_str())));
        }
      }
    }
  }

  /// Both sides have seen the files as they are now. The overlay is made anew where it holds much:
  /// its layer names what was put back as well.
  void settle(int round) {
    fs::remove(plain_.index + ".memory");
    for (int i = 0; i < 2; ++i) snapshot(plain_, {}, round);
    if (has_overlay()) remake_overlay();
    run_git(their_tree(), {"update-index", "-q", "--refresh"});
    run_git(their_tree(), {"add", "-A"}, their_index());
    run_git(their_tree(), {"write-tree"}, their_index());
  }

  void remake_overlay() {
    WorkLoss report;
    const RemoveOverlay remove{.worktree = {.worktree = overlay_.ref,
                                            .base = {},
                                            .force = true,
                                            .private_index = overlay_.index},
                               .store = store()};
    must(remove_overlay(remove, report).has_value(), "remove_overlay");
    auto made = create_overlay(
        {.worktree = {.worktree = overlay_.ref, .base = {}, .private_index = overlay_.index},
         .store = store()});
    must(made.has_value(), "create_overlay");
  }

  int files_;
  const Options& options_;
  std::string repo_;
  std::string base_;
  Ours plain_;
  Ours overlay_;
  int edits_ = 0;
};

}  // namespace
}  // namespace berth::git::bench

int main(int argc, char** argv) {
  using namespace berth::git::bench;
  return run(argc, argv, [](const Options& options, const std::string& root, Report& report) {
    for (const int files : options.files) {
      Place place(root, files, options);
      for (const int touched : options.touched) {
        if (touched <= files / 2) place.measure(touched, report);
      }
    }
  });
}
