#include <berth/git/files.h>
#include <berth/git/folder_size.h>
#include <berth/git/guard.h>
#include <berth/git/names.h>
#include <berth/git/opened.h>
#include <berth/git/reaper.h>
#include <berth/git/registration.h>
#include <berth/git/removal.h>

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <set>

namespace berth::git {

using detail::PathKind;

std::string_view to_string(ReapVerdict verdict) {
  switch (verdict) {
    case ReapVerdict::live:
      return "live";
    case ReapVerdict::young:
      return "young";
    case ReapVerdict::adopted:
      return "adopted";
    case ReapVerdict::locked:
      return "locked";
    case ReapVerdict::unmounted:
      return "unmounted";
    case ReapVerdict::stray:
      return "stray";
    case ReapVerdict::has_work:
      return "has_work";
    case ReapVerdict::removable:
      return "removable";
  }
  return "unknown";
}

ReapVerdict decide(const ReapFacts& facts, std::int64_t grace_s) {
  if (facts.live) return ReapVerdict::live;
  if (facts.age_s < grace_s) return ReapVerdict::young;
  if (facts.condition == WorktreeCondition::unregistered) return ReapVerdict::stray;
  if (facts.adopted) return ReapVerdict::adopted;
  if (facts.locked && facts.condition != WorktreeCondition::half_made) return ReapVerdict::locked;
  if (facts.parent_missing) return ReapVerdict::unmounted;
  return facts.loses_nothing.value_or(false) ? ReapVerdict::removable : ReapVerdict::has_work;
}

namespace {

void measure(const Patience& patience, SurveyedWorktree& worktree) {
  const detail::FolderSize size = detail::folder_size(worktree.path, patience);
  worktree.bytes = size.bytes;
  worktree.files = size.files;
  worktree.measured = size.whole;
}

std::int64_t newest(const std::vector<std::string>& paths) {
  std::int64_t time = 0;
  for (const std::string& path : paths) {
    struct stat st{};
    if (::lstat(path.c_str(), &st) == 0) time = std::max<std::int64_t>(time, st.st_mtim.tv_sec);
  }
  return time;
}

std::vector<std::string> folders_in(const std::string& root) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(root, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.front() != '.') names.push_back(name);
  }
  return names;
}

class Surveyor {
 public:
  explicit Surveyor(const SurveyRequest& request)
      : request_(request), live_(request.live_keys.begin(), request.live_keys.end()) {}

  Result<Survey> run() {
    for (const std::string& repository : request_.repositories) {
      if (Result<void> patient = request_.patience.check("survey"); !patient) {
        return fail(std::move(patient).error());
      }
      look_into(repository);
    }
    add_strays();
    for (SurveyedWorktree& worktree : survey_.worktrees) {
      if (Result<void> patient = request_.patience.check("survey"); !patient) {
        return fail(std::move(patient).error());
      }
      if (request_.sizes) measure(request_.patience, worktree);
    }
    std::sort(survey_.worktrees.begin(), survey_.worktrees.end(),
              [](const SurveyedWorktree& left, const SurveyedWorktree& right) {
                return left.path != right.path ? left.path < right.path : left.key < right.key;
              });
    return std::move(survey_);
  }

 private:
  void look_into(const std::string& repository) {
    Result<std::vector<ListedWorktree>> listed =
        list_worktrees(repository, request_.roots, request_.command);
    Result<std::vector<RegisteredWorktree>> registered =
        listed ? list_registrations(repository, request_.command)
               : Result<std::vector<RegisteredWorktree>>(tl::unexpected<Error>(listed.error()));
    if (!registered) {
      survey_.failures.push_back(repository + ": " + registered.error().message);
      return;
    }
    const std::string common = registered->front().common_dir;
    for (const ListedWorktree& one : *listed) {
      const auto known =
          std::find_if(registered->begin(), registered->end(),
                       [&](const RegisteredWorktree& other) { return other.name == one.key; });
      judge(repository, common, one, known == registered->end() ? nullptr : &*known);
    }
  }

  void judge(const std::string& repository, const std::string& common, const ListedWorktree& one,
             const RegisteredWorktree* known) {
    const std::string registration = detail::registration_of(common, one.key);
    SurveyedWorktree found{
        .repository = repository, .key = one.key, .path = one.path, .condition = one.condition};
    const auto base = request_.bases.find(one.key);
    if (base != request_.bases.end()) found.base = base->second;
    found.age_s = request_.now_s - newest({registration, registration + "/HEAD",
                                           registration + "/index", one.path, one.path + "/.git"});
    ReapFacts facts{.live = live_.contains(one.key),
                    .adopted = known != nullptr && known->adopted,
                    .locked = known != nullptr && known->locked,
                    .condition = one.condition,
                    .age_s = found.age_s};
    facts.parent_missing = !one.path.empty() && detail::kind_of(one.path) == PathKind::missing &&
                           detail::kind_of(detail::parent_of(one.path)) != PathKind::directory;
    found.overlay = known != nullptr && known->lock_reason == detail::kOverlayMark;
    facts.locked = facts.locked && !found.overlay;
    if (facts.locked) found.reason = known->lock_reason;
    found.verdict = decide(facts, request_.grace_s);
    if (found.verdict == ReapVerdict::has_work) {
      Result<WorkLoss> loss =
          worktree_state({.worktree = {repository, one.path, one.key, request_.command},
                          .base = found.base,
                          .patience = request_.patience});
      facts.loses_nothing = loss && loss->loses_nothing();
      found.reason = loss ? loss->reason : loss.error().message;
      found.verdict = decide(facts, request_.grace_s);
    }
    seen_.insert(one.path);
    survey_.worktrees.push_back(std::move(found));
  }

  /// Folders that no repository claims.
  void add_strays() {
    for (const std::string& root : request_.roots) {
      const std::string folder = detail::canonical(root);
      for (const std::string& name : folders_in(folder)) {
        const std::string path = folder + "/" + name;
        if (seen_.contains(path) || seen_.contains(root + "/" + name)) continue;
        if (detail::kind_of(path) != PathKind::directory) continue;
        SurveyedWorktree found{.path = path, .condition = WorktreeCondition::unregistered};
        if (is_key(name)) found.key = name;
        found.age_s = request_.now_s - newest({path, path + "/.git"});
        const bool live = !found.key.empty() && live_.contains(found.key);
        found.verdict = decide(
            {.live = live, .condition = WorktreeCondition::unregistered, .age_s = found.age_s},
            request_.grace_s);
        found.reason = "no repository here knows this folder";
        survey_.worktrees.push_back(std::move(found));
      }
    }
  }

  const SurveyRequest& request_;
  std::set<std::string> live_;
  std::set<std::string> seen_;
  Survey survey_;
};

bool shall_go(const ReapRequest& request, const SurveyedWorktree& worktree) {
  if (worktree.overlay) return false;
  if (worktree.verdict == ReapVerdict::removable) return true;
  return worktree.verdict == ReapVerdict::has_work && request.salvage_after_s &&
         worktree.age_s >= *request.salvage_after_s;
}

ReapedWorktree take_away(const ReapRequest& request, const SurveyedWorktree& worktree) {
  ReapedWorktree reaped{.worktree = worktree};
  if (request.dry_run) return reaped;
  RemoveWorktree removal{
      .worktree = {worktree.repository, worktree.path, worktree.key, request.survey.command},
      .base = worktree.base,
      .force = worktree.verdict == ReapVerdict::has_work,
      .trash = request.trash,
      .delete_now = request.delete_now,
      .time_s = request.survey.now_s,
      .patience = request.survey.patience};
  if (!request.private_indexes.empty()) {
    removal.private_index = request.private_indexes + "/" + worktree.key;
  }
  WorkLoss report;
  Result<Removal> done = remove_worktree(removal, report);
  if (!done) {
    reaped.error = done.error().message;
    return reaped;
  }
  reaped.salvage_ref = done->salvage_ref;
  reaped.branch_kept = done->branch_kept;
  reaped.trash = done->trash;
  return reaped;
}

}  // namespace

Result<Survey> survey_worktrees(const SurveyRequest& request) {
  return Surveyor(request).run();
}

Result<Reaped> reap_worktrees(const ReapRequest& request) {
  Result<Survey> survey = survey_worktrees(request.survey);
  if (!survey) return fail(std::move(survey).error());
  Reaped reaped;
  for (const SurveyedWorktree& worktree : survey->worktrees) {
    if (reaped.removed.size() >= request.removals_max) break;
    if (!shall_go(request, worktree)) continue;
    if (request.survey.patience.exhausted()) break;
    ReapedWorktree one = take_away(request, worktree);
    if (one.error.empty()) reaped.bytes += worktree.bytes;
    reaped.removed.push_back(std::move(one));
  }
  reaped.survey = *std::move(survey);
  return reaped;
}

}  // namespace berth::git
