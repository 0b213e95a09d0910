// What no session needs any more: worktrees, registrations, refs, trash.
#include <berth/git/reaper.h>
#include <berth/git/registration.h>
#include <berth/git/removal.h>
#include <berth/git/retention.h>
#include <berth/server/sessions/workspaces_git.h>

#include <utility>

namespace berth::server {

namespace {

class Reaper {
 public:
  Reaper(const ReapOrder& order, std::string state, std::int64_t now, git::Patience patience)
      : order_(order), state_(std::move(state)), now_s_(now), patience_(patience) {}

  Result<void> worktrees() {
    git::ReapRequest request;
    request.survey.repositories = order_.repositories;
    request.survey.roots = {state_ + "/worktrees"};
    request.survey.live_keys = order_.live_keys;
    request.survey.now_s = now_s_;
    request.survey.grace_s = order_.age_min_s;
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

  Result<void> registrations(const std::string& repository) {
    git::PruneRequest request;
    request.repository = repository;
    request.now_s = now_s_;
    request.age_min_s = order_.age_min_s;
    request.dry_run = order_.dry_run;
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
    request.now_s = now_s_;
    request.dry_run = order_.dry_run;
    request.patience = patience_;
    Result<git::Retention> expired = git::expire_refs(request);
    if (!expired.has_value()) return fail(std::move(expired.error()));
    for (const git::ExpiredRef& ref : expired->expired) {
      items_.push_back({"ref", ref.ref, {}, done(), std::string(ref.reason), ref.age_s, 0});
    }
    return {};
  }

  void failed(const std::string& repository, const Error& error) {
    items_.push_back({"repository", repository, {}, "failed", error.message, 0, 0});
  }

  std::vector<ReapedItem> take() { return std::move(items_); }

 private:
  std::string done() const { return order_.dry_run ? "would remove" : "removed"; }
  void add(const char* kind, const git::SurveyedWorktree& worktree, std::string verdict,
           std::string reason) {
    items_.push_back({kind, worktree.path, worktree.key, std::move(verdict), std::move(reason),
                      worktree.age_s, worktree.bytes});
  }

  const ReapOrder& order_;
  std::string state_;
  std::int64_t now_s_;
  git::Patience patience_;
  std::vector<ReapedItem> items_;
};

}  // namespace

Task<Result<std::vector<ReapedItem>>> GitWorkspaces::reap(ReapOrder order) {
  const std::int64_t now = now_s();
  const std::string state = state_;
  const Duration time = limits_.create_max;
  co_return co_await on_lane([order, now, state, time]() -> Result<std::vector<ReapedItem>> {
    const git::Patience patience = detail::patience_for(time);
    Reaper reaper(order, state, now, patience);
    if (Result<void> step = reaper.worktrees(); !step.has_value()) {
      return fail(std::move(step.error()));
    }
    for (const std::string& repository : order.repositories) {
      // A repository that is gone stops nothing else.
      Result<void> step = reaper.registrations(repository);
      if (step.has_value()) step = reaper.refs(repository);
      if (!step.has_value()) reaper.failed(repository, step.error());
    }
    if (!order.dry_run) {
      Result<std::size_t> emptied = git::empty_trash(state + "/trash", patience);
      if (!emptied.has_value()) return fail(std::move(emptied.error()));
    }
    return reaper.take();
  });
}

}  // namespace berth::server
