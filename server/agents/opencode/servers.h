// server/agents/opencode/servers.h — the opencode servers of one profile: one that takes sessions,
// and older ones that end with their last session.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/server/agents/launch.h>
#include <berth/server/agents/opencode/server.h>
#include <berth/server/agents/profile.h>

#include <list>
#include <memory>
#include <string>

namespace berth::server::opencode {

/// Starts a server when the first session asks, gives it to all that come later, and ends it with
/// the last one. opencode never gives back what a directory cost it (45 to 50 MB each): a server
/// above the limits of AgentProfile::generation takes no further session, a new one does, and the
/// old one drains. On one shard; await shutdown() before it goes.
class Servers {
 public:
  /// The references outlive it; `directory` is where the servers run.
  Servers(io::Platform& platform, const LaunchPolicy& launches, const AgentProfile& profile,
          std::string directory, std::string tag);

  /// A server that takes sessions, started if need be (two callers, one start); give it back with
  /// release(). Errors: kNoSeat where none may be started, those of the start (its stderr is in
  /// `stderr_tail` then), `cancelled`.
  Task<Result<Server*>> acquire(bool may_start, std::string* stderr_tail, StopToken stop);
  /// Ends it with its last user, who waits until nothing of it is left.
  Task<void> release(Server* server);
  /// Whether acquire() would give it to one more.
  bool takes_sessions(const Server& server) const;

  /// Ends all of them and waits until they are gone.
  Task<void> shutdown();

  int generations() const { return generation_; }

 private:
  struct Hosted {
    Hosted(Executor& executor, std::unique_ptr<Server> made)
        : server(std::move(made)), unused(executor) {}
    std::unique_ptr<Server> server;
    TimePoint began{};
    int users = 0;
    std::uint64_t served = 0;
    Event unused;
  };

  Task<void> host(Hosted* hosted);
  bool takes_sessions(const Hosted& hosted) const;

  io::Platform& platform_;
  const LaunchPolicy& launches_;
  const AgentProfile& profile_;
  std::string directory_;
  std::string tag_;
  Scope scope_;
  std::list<Hosted> hosted_;
  Hosted* current_ = nullptr;
  int generation_ = 0;
  bool closing_ = false;
};

}  // namespace berth::server::opencode
