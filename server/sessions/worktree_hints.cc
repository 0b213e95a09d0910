#include <berth/server/sessions/worktree_hints.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace berth::server {

namespace {

/// Reading all folders only to find again that they are too many costs more than it gives.
constexpr Duration kTryAgain = std::chrono::minutes(1);

}  // namespace

LookHints WorktreeHints::begin(const std::string& folder, TimePoint now) {
  LookHints look;
  if (watcher_ == nullptr) {
    look.reason = "not_watched";
    return look;
  }
  const std::lock_guard lock(mutex_);
  drop_idle(now);
  Entry& entry = entries_[folder];
  entry.used = now;
  look.reason = collect(folder, entry, now);
  if (look.reason.empty() && entry.since.empty()) look.reason = "first_look";
  if (look.reason.empty() && now - entry.full >= limits_.full_scan_every) {
    look.reason = "full_scan_due";
  }
  if (!look.reason.empty()) return look;
  look.hints.complete = true;
  look.hints.only_since_snapshot = true;
  look.hints.since = entry.since;
  look.hints.paths.assign(entry.paths.begin(), entry.paths.end());
  return look;
}

/// Takes in what was told. Returns why that is not all, with the watch begun anew.
std::string WorktreeHints::collect(const std::string& folder, Entry& entry, TimePoint now) {
  io::SeenChanges seen = watcher_->take(folder);
  if (seen.complete) {
    for (std::string& path : seen.paths) entry.paths.insert(std::move(path));
    return {};
  }
  entry.since.clear();
  entry.paths.clear();
  const std::string trouble = watch(folder, entry, now);
  return trouble.empty() ? std::move(seen.reason) : trouble;
}

std::string WorktreeHints::watch(const std::string& folder, Entry& entry, TimePoint now) {
  if (now < entry.try_again) return entry.trouble;
  for (;;) {
    const Result<void> begun = watcher_->begin(folder);
    if (begun.has_value()) return {};
    // Those that were not asked for longest make room.
    if (std::string_view(begun.error().code) == "watch_limit" && drop_oldest(folder)) continue;
    entry.try_again = now + kTryAgain;
    entry.trouble = begun.error().code;
    return entry.trouble;
  }
}

void WorktreeHints::succeeded(const std::string& folder, const std::string& tree, bool full,
                              TimePoint now) {
  if (watcher_ == nullptr) return;
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(folder);
  if (found == entries_.end()) return;
  found->second.since = tree;
  found->second.paths.clear();
  if (full) found->second.full = now;
}

void WorktreeHints::forget(const std::string& folder) {
  if (watcher_ == nullptr) return;
  const std::lock_guard lock(mutex_);
  watcher_->end(folder);
  entries_.erase(folder);
}

void WorktreeHints::drop_idle(TimePoint now) {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (now - entry->second.used < limits_.idle_max) {
      ++entry;
      continue;
    }
    watcher_->end(entry->first);
    entry = entries_.erase(entry);
  }
}

bool WorktreeHints::drop_oldest(const std::string& but) {
  auto oldest = entries_.end();
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->first == but) continue;
    if (oldest == entries_.end() || entry->second.used < oldest->second.used) oldest = entry;
  }
  if (oldest == entries_.end()) return false;
  watcher_->end(oldest->first);
  entries_.erase(oldest);
  return true;
}

}  // namespace berth::server
