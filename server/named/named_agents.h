// server/named/named_agents.h — the named agents of this server: made, kept over restarts, removed.
#pragma once

#include <berth/core/mutex.h>
#include <berth/core/scope.h>
#include <berth/server/named/named_agent.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// A named agent is a session (of the same id if that is free) whose one agent is a profile of the
/// agent's name, derived from a configured one; docs/agents.md says why. What it was asked to be
/// is in `<state>/named/NAME/agent.json`.
///
/// How clients name an agent. There is one of a name on the server (its files and its profile are
/// called so); from another project than its own it looks as if there were none.
struct AgentName {
  std::string project;
  std::string name;
};

/// Verbs on one agent come one after the other. All errors of the lookup: `not_found`
/// ("agent_not_found"). On the sessions' shard; the references outlive it.
class NamedAgents {
 public:
  NamedAgents(SessionContext& context, Directory& directory, AgentProfiles& profiles);
  ~NamedAgents();

  /// Reads who there is and derives their profiles: before the directory recovers, which needs
  /// them. An agent whose file or profile is not there any more is logged and left alone.
  Task<Result<void>> read();
  /// Starts those that shall run and goes on with what a crash left half done.
  Task<void> begin();
  Task<void> shutdown();

  /// Those of one project.
  std::vector<const NamedAgent*> list(std::string_view project) const;
  Result<const NamedAgent*> find(const AgentName& name) const;

  /// Makes it if there is none of that name, and keeps it running from now on. Idempotent. Errors:
  /// `conflict` ("agent_conflict": it exists with other options, or a profile is called so),
  /// `invalid` naming the field.
  Task<Result<const NamedAgent*>> start(NamedSpec asked);
  /// After the running turn, or at once: then it is interrupted.
  Task<Result<const NamedAgent*>> stop(AgentName name, bool now);
  Task<Result<const NamedAgent*>> restart(AgentName name, bool now);
  /// Without memory, running as before. Its log and its queue stay, its checkpoints are put aside.
  Task<Result<const NamedAgent*>> reset(AgentName name, bool now);
  struct Removal {
    bool force = false;  ///< Else it must be stopped: error `conflict` ("agent_running").
    bool purge = false;  ///< The log, too; else its session is archived.
  };
  Task<Result<void>> remove(AgentName name, Removal order);

 private:
  struct Entry {
    explicit Entry(Executor& executor) : verbs(executor) {}
    Mutex verbs;
    /// Of one that read() found, until begin(); then of the last that a profile was derived for.
    NamedSpec spec;
    std::unique_ptr<NamedAgent> agent;
  };

  std::string folder_of(std::string_view name) const;
  Result<void> derive(const NamedSpec& spec);
  Task<void> begin_one(Entry* entry);
  Task<Result<SessionUse>> open_session(NamedSpec* spec);
  Task<Result<void>> make(Entry* entry, NamedSpec spec);
  Task<Result<void>> finish_removal(Entry* entry);
  Entry* entry_of(const AgentName& name) const;
  Result<void> require(const Entry& entry, const AgentName& name) const;

  SessionContext& context_;
  Directory& directory_;
  AgentProfiles& profiles_;
  std::map<std::string, std::unique_ptr<Entry>, std::less<>> entries_;
  bool down_ = false;
};

}  // namespace berth::server
