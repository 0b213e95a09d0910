// server/sessions/pool.h — the live agents of a shard: who may start, and who ends to make room.
#pragma once

#include <berth/core/intrusive.h>
#include <berth/core/result.h>
#include <berth/io/platform.h>
#include <berth/server/sessions/health.h>
#include <berth/server/sessions/pool_decisions.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// A process that somebody should look at.
struct Look {
  io::ProcessId process;
  bool whole_tree = false;
};

/// One agent's part in a session, as the pool sees it; in the pool from want() to gone().
class PoolMember : public ListNode {
 public:
  /// Start now. May come within want(). `joins`: only in a process that serves others of the
  /// profile; there is no place for one more.
  virtual void on_start_granted(bool joins) = 0;
  /// Nobody made room in time; not in the pool any more.
  virtual void on_start_refused(const Error& error) = 0;
  /// Must end in order; it is idle. `limit` names why.
  virtual void on_eviction(std::string_view limit) = 0;
  /// What is known of it now; `phase` says "waiting" by waits_to_start().
  virtual PooledAgent pooled() const = 0;

  /// Its process, if there is a reason to look at it now.
  virtual std::optional<Look> wanted_look() const = 0;
  virtual void on_look(const io::VitalSigns& signs) = 0;

  bool waits_to_start() const { return waiting_; }

 protected:
  ~PoolMember() = default;

 private:
  friend class Pool;
  bool waiting_ = false;
  bool starting_ = false;
};

struct PoolStats {
  std::uint64_t starts = 0;
  std::uint64_t refused = 0;
  std::map<std::string, std::uint64_t, std::less<>> evicted;  ///< By the limit's name.
};

/// Gives out the places that PoolLimits leave. A start that must wait does so in order; the turn
/// that it is for is committed already. Single-threaded; outlives its members.
class Pool final : private io::TimerOp {
 public:
  Pool(io::Reactor& reactor, PoolLimits limits);
  ~Pool();

  /// Would `candidate` (phase waiting) be started, or wait for no longer than idle ones need to
  /// end? Error `unavailable` ("overloaded") naming the limit. For whoever has accepted nothing
  /// yet.
  Result<void> check(const PooledAgent& candidate);
  /// A start is wanted: on_start_granted() or on_start_refused() follows, unless gone() comes
  /// first.
  void want(PoolMember& member);
  /// The start that was granted has succeeded.
  void started(PoolMember& member);
  /// No turn needs it any more; it stays until its time or its place is needed.
  void rested(PoolMember& member);
  /// Its process is gone, or its start is not wanted any more. Nothing happens for a stranger.
  void gone(PoolMember& member);

  /// What is known of its members has changed by itself.
  void reconsider() { look_soon(); }
  template <typename Fn>
  void for_each_member(Fn fn) {
    members_.for_each(fn);
  }

  const PoolLimits& limits() const { return limits_; }
  const PoolStats& stats() const { return stats_; }
  /// Everybody in it, now.
  std::vector<PooledAgent> agents();

 private:
  void on_timer() override;
  void look_soon();
  void look_at(TimePoint when);
  void grant(PoolMember& member, bool joins);
  void apply(const PoolPlan& plan, const std::vector<PoolMember*>& members);
  bool anything_goes(const PooledAgent& wanting) const;

  io::Reactor& reactor_;
  PoolLimits limits_;
  IntrusiveList<PoolMember> members_;
  std::size_t size_ = 0;
  std::size_t waiting_ = 0;
  std::size_t starting_ = 0;
  TimePoint looks_at_{};
  PoolStats stats_;
};

/// The error of a limit that is reached; `what` follows its name.
Error overloaded(std::string_view limit, std::string_view what);

}  // namespace berth::server
