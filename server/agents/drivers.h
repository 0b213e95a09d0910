// server/agents/drivers.h — makes the driver of each profile and keeps what its sessions share.
#pragma once

#include <berth/core/json_scan.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/server/agents/agent_port.h>
#include <berth/server/agents/launch.h>
#include <berth/server/agents/native_sessions.h>
#include <berth/server/agents/profile.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace berth::server {

class AcpProcesses;
namespace opencode {
class Servers;
}

/// Makes the driver of a profile; `sink` outlives what it makes. Error `invalid` ("unknown_agent").
class AgentFactory {
 public:
  virtual ~AgentFactory() = default;
  virtual Result<std::unique_ptr<AgentPort>> make(const std::string& profile, AgentSink& sink) = 0;
  virtual const AgentProfile* find(std::string_view profile) const = 0;
};

/// The drivers of one shard. The references outlive it; await shutdown() before it goes.
class Drivers final : public AgentFactory {
 public:
  /// `tag` marks all processes of this state directory, for the reaper of orphans.
  Drivers(io::Platform& platform, JsonScanner& scanner, const LaunchPolicy& launches,
          const AgentProfiles& profiles, std::string state_directory, std::string tag);
  ~Drivers() override;

  Result<std::unique_ptr<AgentPort>> make(const std::string& profile, AgentSink& sink) override;
  const AgentProfile* find(std::string_view profile) const override;

  /// Ends what sessions share (servers that serve many of them) after the sessions' own ports were
  /// shut down.
  Task<void> shutdown();

 private:
  io::Platform& platform_;
  JsonScanner& scanner_;
  const LaunchPolicy& launches_;
  const AgentProfiles& profiles_;
  NativeSessions natives_;
  std::string state_directory_;
  std::string tag_;
  // By profile:
  std::map<std::string, std::unique_ptr<AcpProcesses>> acp_;
  std::map<std::string, std::unique_ptr<opencode::Servers>> opencode_;
};

}  // namespace berth::server
