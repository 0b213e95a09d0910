// server/agents/launch.h — how the program of a profile is started, and what it may do with the
// machine.
#pragma once

#include <berth/io/platform.h>
#include <berth/server/agents/git_folders.h>
#include <berth/server/agents/profile.h>
#include <berth/server/egress/proxy.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// What of the machine an agent and its tools get; see docs/launch.md.
struct LaunchSettings {
  std::optional<LaunchMode> mode;  ///< Of profiles that name none; empty: see LaunchPolicy::choose.
  // As in AgentProfile, for all agents:
  std::vector<std::string> writable;
  std::vector<std::string> readable;
  std::vector<std::string> hidden;
  std::vector<std::string> egress;
  /// By project: what its sessions' agents may reach besides.
  std::map<std::string, std::vector<std::string>, std::less<>> project_egress;
  io::ProcessLimits limits;
  bool count_memory = false;  ///< Of all agents: a limit of the pool wants to know it.
  // For `sandbox`; empty: it cannot be had.
  std::string bubblewrap;  ///< The program, absolute.
  std::string helper;      ///< berth-launch, absolute.
};

/// What can be had here, found out by trying.
struct LaunchSupport {
  bool restricted = false;
  std::string restricted_reason = "not tried";  ///< For people: how, or why not.
  bool sandbox = false;
  std::string sandbox_reason = "not tried";
  bool user_namespace = false;  ///< Sandboxes get one of their own.
};

/// One start.
struct LaunchOrder {
  std::string directory;  ///< Where it runs, unless its profile says.
  std::string key;        ///< [A-Za-z0-9]: of the session, or what names a shared process.
  std::string tag;        ///< See io::LaunchSpec.
  std::string project;    ///< Of the session; empty for a process that several may share.
  LaunchMode least = LaunchMode::none;  ///< What the session asks for.
  /// Absolute; besides `directory`. From clients too: what of berth's own state is not the
  /// session's is refused.
  std::vector<std::string> folders;
  /// The same, of berth's state: what the driver knows. berth follows nothing that it finds there.
  std::vector<std::string> granted;
  std::vector<std::string> shown;  ///< Of berth's state, to be read only: what the driver tells it.
  GitFolders git;
};

/// What is started.
struct AgentLaunch {
  io::LaunchSpec spec;
  std::shared_ptr<egress::Door> door;  ///< Its way out; to be kept as long as the process lives.
};

struct LaunchChoice {
  LaunchMode mode = LaunchMode::none;
  std::string reason;  ///< For people.
};

/// Decides how agents are started. The references outlive it.
class LaunchPolicy {
 public:
  LaunchPolicy(LaunchSettings settings, const io::Environment& own, std::string state_directory);

  void learn(LaunchSupport support) { support_ = std::move(support); }
  /// Without one a sandbox has no network at all. It outlives what is launched.
  void use(egress::Proxy* proxy) { proxy_ = proxy; }
  const LaunchSupport& support() const { return support_; }

  /// The strongest of what the profile (or else the settings) and the session ask for; where
  /// neither asks, `restricted` if it can be had. Error `unsupported` ("launch_unsupported") when
  /// what was asked for cannot be had: it is never replaced by something weaker.
  Result<LaunchChoice> choose(const AgentProfile& profile, LaunchMode least) const;

  /// Command, arguments, environment, limits and confinement. Errors: of choose(), those of
  /// listening for a sandbox's network, and `denied` ("launch_folder") for a folder that is part of
  /// berth's state.
  Result<AgentLaunch> launch(const AgentProfile& profile, const LaunchOrder& order) const;

  /// What went through the proxy; null when there is none.
  const egress::Stats* egress_stats() const {
    return proxy_ == nullptr ? nullptr : &proxy_->stats();
  }
  bool has_sandbox_programs() const {
    return !settings_.bubblewrap.empty() && !settings_.helper.empty();
  }
  /// A sandbox in which `program` would run, to see whether one can be made.
  io::LaunchSpec trial(const std::string& program, bool user_namespace) const;

  /// Where agents keep what lives as long as one server: emptied at each start of it.
  std::string scratch() const { return state_directory_ + "/tmp"; }

 private:
  std::vector<std::string> hosts_for(const AgentProfile& profile, const std::string& project) const;
  void restrict(const AgentProfile& profile, const LaunchOrder& order,
                io::LaunchSpec& launch) const;
  Result<void> sandbox(const AgentProfile& profile, const LaunchOrder& order,
                       AgentLaunch& launch) const;
  void add_workspaces(const AgentProfile& profile, const LaunchOrder& order,
                      io::Confinement& confinement) const;
  void add_named(const AgentProfile& profile, const io::LaunchSpec& launch,
                 io::Confinement& confinement) const;
  Result<void> check_folder(const std::string& folder, const std::string& key) const;

  LaunchSettings settings_;
  const io::Environment& own_;
  std::string state_directory_;
  LaunchSupport support_;
  egress::Proxy* proxy_ = nullptr;
};

/// Command, arguments, environment (the allow-listed part of berth's `own`, then the profile's) and
/// working directory; `directory` is for profiles that name none. Not confined: for programs that
/// are berth's user's own.
io::LaunchSpec launch_of(const AgentProfile& profile, const io::Environment& own,
                         std::string directory, std::string tag);

}  // namespace berth::server
