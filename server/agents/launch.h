// server/agents/launch.h — how the program of a profile is started, and what it may do with the
// machine.
#pragma once

#include <berth/io/platform.h>
#include <berth/server/agents/profile.h>

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
  io::ProcessLimits limits;
};

/// What can be had here, found out by trying.
struct LaunchSupport {
  bool restricted = false;
  std::string restricted_reason = "not tried";  ///< For people: how, or why not.
};

/// One start.
struct LaunchOrder {
  std::string directory;  ///< Where it runs, unless its profile says.
  std::string key;        ///< [A-Za-z0-9]: of the session, or what names a shared process.
  std::string tag;        ///< See io::LaunchSpec.
  LaunchMode least = LaunchMode::none;  ///< What the session asks for.
  /// Absolute; besides `directory`. From clients too: what of berth's own state is not the
  /// session's is refused.
  std::vector<std::string> folders;
  std::vector<std::string> granted;  ///< Found by berth itself: parts of the repository, and so on.
};

struct LaunchChoice {
  LaunchMode mode = LaunchMode::none;
  std::string reason;  ///< For people.
};

/// Decides how agents are started. Pure but for its environment; the references outlive it.
class LaunchPolicy {
 public:
  LaunchPolicy(LaunchSettings settings, const io::Environment& own, std::string state_directory);

  void learn(LaunchSupport support) { support_ = std::move(support); }
  const LaunchSupport& support() const { return support_; }

  /// The strongest of what the profile (or else the settings) and the session ask for; where
  /// neither asks, `restricted` if it can be had. Error `unsupported` ("launch_unsupported") when
  /// what was asked for cannot be had: it is never replaced by something weaker.
  Result<LaunchChoice> choose(const AgentProfile& profile, LaunchMode least) const;

  /// Command, arguments, environment, limits and confinement. Errors: of choose(), and `denied`
  /// ("launch_folder") for a folder that is part of berth's state.
  Result<io::LaunchSpec> spec(const AgentProfile& profile, const LaunchOrder& order) const;

  /// Where agents keep what lives as long as one server: emptied at each start of it.
  std::string scratch() const { return state_directory_ + "/tmp"; }

 private:
  io::Confinement restricted(const AgentProfile& profile, const LaunchOrder& order,
                             const io::LaunchSpec& launch) const;
  Result<void> check_folder(const std::string& folder, const std::string& key) const;

  LaunchSettings settings_;
  const io::Environment& own_;
  std::string state_directory_;
  LaunchSupport support_;
};

/// Command, arguments, environment (the allow-listed part of berth's `own`, then the profile's) and
/// working directory; `directory` is for profiles that name none. Not confined: for programs that
/// are berth's user's own.
io::LaunchSpec launch_of(const AgentProfile& profile, const io::Environment& own,
                         std::string directory, std::string tag);

}  // namespace berth::server
