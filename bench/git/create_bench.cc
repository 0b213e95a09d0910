// bench/git/create_bench.cc — workspaces made as worktrees and as overlays, next to `git worktree
// add` in the same run: create_bench [options of rig.h].
//
// Each is checked with `git status`. What was made is deleted at the end only: on ext4 without a
// journal a fresh deletion slows the next creation.

#include "rig.h"

#include <berth/git/diff.h>
#include <berth/git/overlay.h>
#include <berth/git/removal.h>
#include <berth/git/worktree.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace berth::git::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kAtOnce = 8;

struct AtOnce {
  Cost cost;
  int failures = 0;
};

/// Calls `make` with 0 to count - 1 from eight threads.
AtOnce eight_at_once(int count, const std::function<void(int)>& make) {
  std::atomic<int> next{0};
  std::atomic<int> failures{0};
  const Cost cost = timed([&] {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kAtOnce; ++t) {
      threads.emplace_back([&] {
        for (int n; (n = next++) < count;) {
          try {
            make(n);
          } catch (const std::exception&) {
            ++failures;
          }
        }
      });
    }
  });
  return {cost, failures};
}

/// One repository and the workspaces made of it.
class Size {
 public:
  Size(const std::string& root, int files, const Options& options, Report& report)
      : files_(files),
        options_(options),
        report_(report),
        repo_(root + "/repo" + std::to_string(files)),
        trees_(repo_ + "-trees"),
        store_(repo_ + "-store"),
        overlays_(probe_overlay(store_).usable) {
    make_repository(repo_, files, options.commits);
    fs::create_directories(trees_);
  }

  void run() {
    Report::heading(std::to_string(files_) + " files, " + std::to_string(options_.rounds) +
                    " rounds" + (options_.cold ? ", cold" : ""));
    std::vector<Cost> plain;
    std::vector<Cost> overlay;
    std::vector<Cost> theirs;
    std::vector<Cost> first_ours;
    std::vector<Cost> first_theirs;
    if (overlays_) overlay_create(request("prepare"));
    for (int round = 0; round < options_.rounds; ++round) {
      const std::string number = std::to_string(round);
      const auto measure = [&](std::vector<Cost>& costs, const std::function<void()>& work) {
        costs.push_back(timed(options_, work));
      };
      const std::vector<std::function<void()>> turns{
          [&] { measure(plain, [&] { plain_create(request("plain" + number)); }); },
          [&] { measure(theirs, [&] { git_create("git" + number); }); },
          [&] {
            if (overlays_) measure(overlay, [&] { overlay_create(request("over" + number)); });
          }};
      for (std::size_t i = 0; i < turns.size(); ++i) {
        turns[(i + static_cast<std::size_t>(round)) % turns.size()]();  // nobody always goes first
      }
      look_first(round, first_ours, first_theirs);
      expect_clean(trees_ + "/plain" + number);
      if (overlays_) expect_clean(trees_ + "/over" + number);
    }
    const std::string cold = options_.cold ? ", cold" : "";
    report_.compare(files_, "create worktree" + cold, plain, theirs);
    if (overlays_) report_.compare(files_, "create overlay, base prepared" + cold, overlay, theirs);
    report_.compare(files_, "first change" + cold, first_ours, first_theirs);
    if (options_.cold || options_.commits > 0) return;
    show_disk();
    if (overlays_ && files_ <= 10000) hundred_overlays();
    if (files_ <= 1000) many_worktrees();  // else it is millions of files
  }

  ~Size() {
    for (const WorktreeRef& one : mounted_) {
      WorkLoss report;
      RemoveOverlay remove{.worktree = {.worktree = one, .base = {}, .force = true},
                           .store = store_};
      static_cast<void>(remove_overlay(remove, report));
    }
  }
  Size(const Size&) = delete;
  Size& operator=(const Size&) = delete;

 private:
  std::string index_of(const std::string& key) const { return store_ + "/" + key + ".index"; }
  CreateWorktree request(const std::string& name) {
    const std::string key = key_of(next_++);
    return {
        .worktree = {repo_, trees_ + "/" + name, key}, .base = {}, .private_index = index_of(key)};
  }
  void plain_create(const CreateWorktree& request) {
    plain_ = request.worktree;
    base_ = made(create_worktree(request));
  }
  void overlay_create(const CreateWorktree& request) {
    overlay_key_ = request.worktree.key;
    mounted_.push_back(request.worktree);
    made(create_overlay({.worktree = request, .store = store_}));
  }
  static std::string made(const Result<CreatedWorktree>& result) {
    must(result.has_value(), result ? "" : result.error().message);
    return result->base_commit;
  }
  void git_create(const std::string& name) const {
    run_git(repo_, {"worktree", "add", "-q", "-b", name, trees_ + "/" + name});
  }

  /// What changed in the worktrees that were just made: nothing, which nobody has looked at yet.
  void look_first(int round, std::vector<Cost>& ours, std::vector<Cost>& theirs) {
    const auto our_turn = [&] {
      ours.push_back(timed(options_, [&] {
        auto found = diff({.worktree = plain_,
                           .from = base_,
                           .to = "worktree",
                           .private_index = index_of(plain_.key)});
        must(found && found->files.empty(), "diff");
      }));
    };
    if (round % 2 == 0) our_turn();
    theirs.push_back(timed(options_, [&] {
      const std::string tree = trees_ + "/git" + std::to_string(round);
      run_git(tree, {"diff", base_});
      run_git(tree, {"ls-files", "--others", "--exclude-standard"});
    }));
    if (round % 2 != 0) our_turn();
  }

  void show_disk() {
    const std::string registration = repo_ + "/.git/worktrees/";
    const auto ours = [&](const std::string& folder, const std::string& key) {
      return static_cast<double>(disk_of(folder) + disk_of(registration + key) +
                                 disk_of(index_of(key))) /
             1024;
    };
    const double theirs =
        static_cast<double>(disk_of(trees_ + "/git0") + disk_of(registration + "git0")) / 1024;
    const std::string last = std::to_string(options_.rounds - 1);
    report_.number(files_, "disk per worktree", ours(trees_ + "/plain" + last, plain_.key), theirs,
                   "KiB");
    if (!overlays_) return;
    report_.number(files_, "disk per overlay",
                   ours(store_ + "/layers/" + overlay_key_, overlay_key_), theirs, "KiB");
  }

  void hundred_overlays() {
    std::vector<CreateOverlay> requests;
    for (int n = 0; n < 100; ++n) {
      requests.push_back({.worktree = request("at-once" + std::to_string(n)), .store = store_});
      mounted_.push_back(requests.back().worktree.worktree);
    }
    const AtOnce ours = eight_at_once(
        100, [&](int n) { made(create_overlay(requests[static_cast<std::size_t>(n)])); });
    must(ours.failures == 0, "overlays at once");
    expect_clean(requests.back().worktree.worktree.path);
    report_.number(files_, "100 overlays, 8 at once", ours.cost.wall, 0, "ms");
  }

  /// Few, then many: whether one costs the same among many.
  void many_worktrees() {
    for (const int count : {25, 100}) {
      std::vector<CreateWorktree> requests;
      for (int n = 0; n < count; ++n) {
        requests.push_back(request("of" + std::to_string(count) + "-" + std::to_string(n)));
      }
      const AtOnce ours = eight_at_once(
          count, [&](int n) { made(create_worktree(requests[static_cast<std::size_t>(n)])); });
      must(ours.failures == 0, "worktrees at once");
      for (const CreateWorktree& one : requests) expect_clean(one.worktree.path);
      // Git reads registrations that another git is just making, and then fails now and then.
      const AtOnce theirs = eight_at_once(count, [&](int n) {
        git_create("git-of" + std::to_string(count) + "-" + std::to_string(n));
      });
      report_.number(files_, "each of " + std::to_string(count) + " worktrees, 8 at once",
                     ours.cost.wall / count, theirs.cost.wall / count, "ms");
      report_.number(files_, "failed of " + std::to_string(count), 0, theirs.failures, "");
    }
  }

  int files_;
  const Options& options_;
  Report& report_;
  std::string repo_;
  std::string trees_;
  std::string store_;
  bool overlays_;
  int next_ = 0;
  WorktreeRef plain_;  // made last
  std::string base_;
  std::string overlay_key_;
  std::vector<WorktreeRef> mounted_;
};

}  // namespace
}  // namespace berth::git::bench

int main(int argc, char** argv) {
  using namespace berth::git::bench;
  return run(argc, argv, [](const Options& options, const std::string& root, Report& report) {
    for (const int files : options.files) Size(root, files, options, report).run();
  });
}
