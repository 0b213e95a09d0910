// What no session needs any more: worktrees, registrations, refs, trash.
#include <berth/git/clone_sweep.h>
#include <berth/git/guard.h>
#include <berth/git/overlay.h>
#include <berth/git/reaper.h>
#include <berth/git/registration.h>
#include <berth/git/removal.h>
#include <berth/git/retention.h>
#include <berth/server/sessions/session_key.h>
#include <berth/server/sessions/workspaces_git.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace berth::server {

namespace {

std::int64_t seconds_of(Duration time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time).count();
}

struct ReapResult {
  std::vector<ReapedItem> items;
  CloneTotals clones;  ///< Those that stay.
};

class Reaper {
 public:
  Reaper(const ReapOrder& order, std::string state, std::int64_t now, git::Patience patience)
      : order_(order), state_(std::move(state)), now_s_(now), patience_(patience) {}

  git::GitCommand* command = nullptr;
  RetentionLimits retention;

  Result<void> worktrees() {
    git::ReapRequest request;
    request.survey.repositories = order_.repositories;
    request.survey.roots = {state_ + "/worktrees"};
    request.survey.live_keys = order_.live_keys;
    request.survey.now_s = now_s_;
    request.survey.grace_s = order_.age_min_s;
    request.survey.command = command;
    request.survey.patience = patience_;
    request.dry_run = order_.dry_run;
    request.trash = state_ + "/trash";
    request.private_indexes = state_ + "/index";
    request.delete_now = false;
    Result<git::Reaped> reaped = git::reap_worktrees(request);
    if (!reaped.has_value()) return fail(std::move(reaped.error()));
    for (const git::SurveyedWorktree& worktree : reaped->survey.worktrees) {
      if (worktree.verdict == git::ReapVerdict::live ||
          worktree.verdict == git::ReapVerdict::removable) {
        continue;
      }
      std::string reason(git::to_string(worktree.verdict));
      if (!worktree.reason.empty()) reason += ": " + worktree.reason;
      add("worktree", worktree, "kept", std::move(reason));
    }
    for (const git::ReapedWorktree& gone : reaped->removed) {
      const bool failed = !gone.error.empty();
      add("worktree", gone.worktree, failed ? "failed" : done(),
          failed ? gone.error : "no session needs it and nothing is lost by it");
    }
    for (const std::string& failure : reaped->survey.failures) {
      items_.push_back({"repository", failure, {}, "failed", failure, 0, 0});
    }
    return {};
  }

  /// Layers of overlays: what a registration's lock keeps from the reaper of worktrees.
  Result<void> layers() {
    const std::string store = state_ + "/overlay";
    Result<std::vector<git::ListedOverlay>> listed = git::list_overlays(store);
    if (!listed.has_value()) return fail(std::move(listed.error()));
    for (const git::ListedOverlay& layer : *listed) {
      const std::int64_t age = now_s_ - key_time_ms(layer.key) / 1000;
      if (contains(order_.live_keys, layer.key)) continue;
      ReapedItem item{"layer", layer.path, layer.key, "kept", "young", age, 0};
      if (age >= order_.age_min_s) judge(layer, store, item);
      items_.push_back(std::move(item));
    }
    if (order_.dry_run) return {};
    Result<git::OverlaySweep> swept = git::sweep_overlays(store, {}, patience_);
    if (!swept.has_value()) return fail(std::move(swept.error()));
    return {};
  }

  Result<void> registrations(const std::string& repository) {
    git::PruneRequest request;
    request.repository = repository;
    request.now_s = now_s_;
    request.age_min_s = order_.age_min_s;
    request.dry_run = order_.dry_run;
    request.command = command;
    request.patience = patience_;
    Result<std::vector<git::PrunedRegistration>> pruned = git::prune_registrations(request);
    if (!pruned.has_value()) return fail(std::move(pruned.error()));
    for (const git::PrunedRegistration& gone : *pruned) {
      items_.push_back(
          {"registration", gone.path, gone.key, done(), "its folder is gone", gone.age_s, 0});
    }
    return {};
  }

  Result<void> refs(const std::string& repository) {
    git::RetentionRequest request;
    request.repository = repository;
    request.policy.live_keys = order_.known_keys;
    request.policy.keep_commits = order_.keep_commits;
    request.policy.snapshots_max = retention.snapshots_max;
    request.policy.snapshot_age_max_s = seconds_of(retention.snapshot_age_max);
    request.policy.salvage_age_max_s = seconds_of(retention.salvage_age_max);
    request.now_s = now_s_;
    request.dry_run = order_.dry_run;
    request.command = command;
    request.patience = patience_;
    Result<git::Retention> expired = git::expire_refs(request);
    if (!expired.has_value()) return fail(std::move(expired.error()));
    for (const git::ExpiredRef& ref : expired->expired) {
      items_.push_back({"ref", ref.ref, {}, done(), std::string(ref.reason), ref.age_s, 0});
    }
    return {};
  }

  /// Clones of remotes. Whatever a session has that is not deleted stays.
  Result<void> clones(const std::string& folder, const CloneLimits& limits) {
    git::CloneSweepRequest request;
    request.folder = folder;
    request.used = order_.used_repositories;
    request.now_s = now_s_;
    request.idle_min_s = order_.age_min_s;
    request.idle_max_s = seconds_of(limits.idle_max);
    request.bytes_max = limits.bytes_max;
    request.dry_run = order_.dry_run;
    request.patience = patience_;
    Result<std::vector<git::SweptClone>> swept = git::sweep_clones(request);
    if (!swept.has_value()) return fail(std::move(swept.error()));
    for (git::SweptClone& clone : *swept) {
      if (!clone.goes || order_.dry_run) {
        ++totals_.clones;
        totals_.bytes += clone.bytes;
      }
      const bool failed = !clone.error.empty();
      std::string reason = failed ? std::move(clone.error) : std::move(clone.reason);
      if (!clone.url.empty()) reason += " (" + clone.url + ")";
      items_.push_back({"clone",
                        clone.path,
                        {},
                        failed       ? "failed"
                        : clone.goes ? done()
                                     : "kept",
                        std::move(reason),
                        clone.idle_s,
                        clone.bytes});
    }
    return {};
  }

  void failed(const std::string& repository, const Error& error) {
    items_.push_back({"repository", repository, {}, "failed", error.message, 0, 0});
  }

  ReapResult take() { return {std::move(items_), totals_}; }

 private:
  std::string done() const { return order_.dry_run ? "would remove" : "removed"; }
  void add(const char* kind, const git::SurveyedWorktree& worktree, std::string verdict,
           std::string reason) {
    items_.push_back({kind, worktree.path, worktree.key, std::move(verdict), std::move(reason),
                      worktree.age_s, worktree.bytes});
  }

  static bool contains(const std::vector<std::string>& keys, const std::string& key) {
    return std::find(keys.begin(), keys.end(), key) != keys.end();
  }

  void judge(const git::ListedOverlay& layer, const std::string& store, ReapedItem& item) {
    const git::WorktreeRef worktree{
        .repository = layer.repository, .path = layer.path, .key = layer.key, .command = command};
    Result<git::OverlayReady> ready =
        git::ensure_overlay_ready({.worktree = worktree, .store = store}, patience_);
    Result<git::WorkLoss> loss = fail(ErrorKind::unavailable, "unknown", "it cannot be mounted");
    if (ready.has_value()) {
      loss = git::worktree_state({.worktree = worktree, .patience = patience_});
    }
    if (!loss.has_value() || !loss->loses_nothing()) {
      item.reason = "has_work: " + (loss.has_value() ? loss->reason : loss.error().message);
      return;
    }
    item.verdict = done();
    item.reason = "no session needs it and nothing is lost by it";
    if (order_.dry_run) return;
    git::RemoveOverlay request;
    request.worktree.worktree = worktree;
    request.worktree.private_index = state_ + "/index/" + layer.key;
    request.worktree.time_s = now_s_;
    request.worktree.patience = patience_;
    request.store = store;
    git::WorkLoss report;
    Result<git::Removal> removed = git::remove_overlay(request, report);
    if (removed.has_value()) return;
    item.verdict = "failed";
    item.reason = removed.error().message;
  }

  const ReapOrder& order_;
  std::string state_;
  std::int64_t now_s_;
  git::Patience patience_;
  std::vector<ReapedItem> items_;
  CloneTotals totals_;
};

}  // namespace

Task<Result<std::vector<ReapedItem>>> GitWorkspaces::reap(ReapOrder asked) {
  const std::int64_t now = now_s();
  const std::string state = state_;
  const Duration time = limits_.create_max;
  git::GitCommand* const command = tools_.command;
  const RetentionLimits retention = limits_.retention;
  const CloneLimits clones = limits_.clones;
  const std::string folder = clones_folder();
  io::Files* const files = &platform_.files();
  std::vector<std::string> looked_at;
  if (asked.repositories.empty()) {
    looked_at = {state + "/worktrees", state + "/overlay/layers", state + "/overlay/lowers",
                 folder};
  }
  Result<ReapResult> reaped = co_await on_lane_if(
      std::move(looked_at),
      [asked, now, state, time, command, retention, clones, folder, files]() -> Result<ReapResult> {
        const git::Patience patience = detail::patience_for(time);
        ReapOrder order = asked;
        // Clones that went, of sessions that are deleted.
        std::erase_if(order.repositories, [&](const std::string& repository) {
          return repository.starts_with(folder + "/") && !files->exists(repository);
        });
        Reaper reaper(order, state, now, patience);
        reaper.command = command;
        reaper.retention = retention;
        if (order.worktrees) {
          Result<void> step = reaper.worktrees();
          if (step.has_value()) step = reaper.layers();
          if (!step.has_value()) return fail(std::move(step.error()));
        }
        for (const std::string& repository : order.repositories) {
          // A repository that is gone stops nothing else.
          Result<void> step;
          if (order.worktrees) step = reaper.registrations(repository);
          if (step.has_value()) step = reaper.refs(repository);
          if (!step.has_value()) reaper.failed(repository, step.error());
        }
        // After the refs: one that held nothing else goes with them.
        Result<void> swept = reaper.clones(folder, clones);
        if (!swept.has_value()) return fail(std::move(swept.error()));
        if (!order.dry_run) {
          Result<std::size_t> emptied = git::empty_trash(state + "/trash", patience);
          if (!emptied.has_value()) return fail(std::move(emptied.error()));
        }
        return reaper.take();
      });
  if (!reaped.has_value()) co_return fail(std::move(reaped.error()));
  clone_totals_ = reaped->clones;
  co_return std::move(reaped->items);
}

}  // namespace berth::server
