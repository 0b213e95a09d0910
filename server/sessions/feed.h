// server/sessions/feed.h — the order in which the sessions of a shard changed, for those who watch
// all of them.
#pragma once

#include <berth/core/intrusive.h>

#include <algorithm>
#include <cstdint>

namespace berth::server {

class Session;

/// A session's place in the feed; leaves it when it is destroyed.
class FeedEntry : public ListNode {
 public:
  explicit FeedEntry(Session& session) : session_(session) {}
  Session& session() const { return session_; }
  /// When it changed last, in the feed's count; 0 when it did not since it was loaded.
  std::uint64_t version() const { return version_; }

 private:
  friend class Feed;
  Session& session_;
  std::uint64_t version_ = 0;
};

/// Told, inside of the change, that some session changed. Costs the feed nothing but itself: how
/// far a watcher has come is one number, and what comes after that is in the list.
class FeedWatcher : public ListNode {
 public:
  virtual void on_feed_grew() = 0;
  /// It knows everything up to this version.
  std::uint64_t seen = 0;

 protected:
  ~FeedWatcher() = default;
};

/// What changed is in memory and may not be in the log yet: who shows it waits for that.
/// Single-threaded; outlives its entries and watchers.
class Feed {
 public:
  void touch(FeedEntry& entry) {
    entry.unlink();
    entry.version_ = ++version_;
    entries_.push_back(entry);
    watchers_.for_each([](FeedWatcher& watcher) { watcher.on_feed_grew(); });
  }
  std::uint64_t version() const { return version_; }
  void add(FeedWatcher& watcher) { watchers_.push_back(watcher); }

  /// Calls `fn(Session&)` for each session in memory that changed after `version`, oldest change
  /// first. Costs nothing for the others: every watcher comes here at each change.
  template <typename Fn>
  void for_each_after(std::uint64_t version, Fn fn) {
    entries_.for_each_of_end([version](const FeedEntry& entry) { return entry.version_ > version; },
                             [&fn](FeedEntry& entry) { fn(entry.session_); });
  }

  /// No watcher needs this entry's session in memory.
  bool seen_by_all(const FeedEntry& entry) {
    bool all = true;
    watchers_.for_each([&](FeedWatcher& watcher) { all = all && watcher.seen >= entry.version_; });
    return all;
  }
  /// Its session leaves the memory: who has not come so far cannot go on from where it was.
  void forget(const FeedEntry& entry) { forgotten_ = std::max(forgotten_, entry.version_); }
  std::uint64_t forgotten() const { return forgotten_; }

 private:
  std::uint64_t version_ = 0;
  std::uint64_t forgotten_ = 0;
  IntrusiveList<FeedEntry> entries_;  // by version
  IntrusiveList<FeedWatcher> watchers_;
};

}  // namespace berth::server
