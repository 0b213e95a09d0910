#include <berth/server/agents/drivers.h>

#include <berth/server/agents/acp_agent.h>
#include <berth/server/agents/command/command_agent.h>
#include <berth/server/agents/opencode/agent.h>
#include <berth/server/agents/opencode/servers.h>

#include <utility>

namespace berth::server {

Drivers::Drivers(io::Platform& platform, JsonScanner& scanner, const LaunchPolicy& launches,
                 const AgentProfiles& profiles, std::string state_directory, std::string tag)
    : platform_(platform),
      scanner_(scanner),
      launches_(launches),
      profiles_(profiles),
      natives_(platform.reactor().clock().wall().count()),
      state_directory_(std::move(state_directory)),
      tag_(std::move(tag)) {}

Drivers::~Drivers() = default;

const AgentProfile* Drivers::find(std::string_view profile) const {
  const auto found = profiles_.find(profile);
  return found == profiles_.end() ? nullptr : &found->second;
}

Result<std::unique_ptr<AgentPort>> Drivers::make(const std::string& profile, AgentSink& sink) {
  const AgentProfile* found = find(profile);
  if (found == nullptr) {
    return fail(ErrorKind::invalid, "unknown_agent", "no agent profile " + profile);
  }
  switch (found->driver) {
    case Driver::acp: {
      std::unique_ptr<AcpProcesses>& processes = acp_[profile];
      if (processes == nullptr) {
        processes = std::make_unique<AcpProcesses>(platform_, scanner_, launches_, *found,
                                                   state_directory_, tag_);
      }
      return std::make_unique<AcpAgent>(platform_, *processes, natives_, *found, sink);
    }
    case Driver::opencode: {
      std::unique_ptr<opencode::Servers>& servers = opencode_[profile];
      if (servers == nullptr) {
        servers = std::make_unique<opencode::Servers>(platform_, launches_, *found,
                                                      state_directory_, tag_);
      }
      return std::make_unique<opencode::Agent>(platform_, *servers, *found, sink);
    }
    case Driver::checkpoint:
    case Driver::oneshot:
      break;
  }
  return std::make_unique<CommandAgent>(platform_, launches_, *found, state_directory_ + "/agents",
                                        tag_, sink);
}

Task<void> Drivers::shutdown() {
  for (const auto& entry : opencode_) co_await entry.second->shutdown();
}

}  // namespace berth::server
