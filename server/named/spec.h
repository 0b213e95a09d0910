// server/named/spec.h — what a named agent was asked to be: a file an agent, which a restart reads.
#pragma once

#include <berth/core/result.h>
#include <berth/server/agents/profile.h>
#include <berth/server/sessions/directory.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

struct NamedSpec {
  /// What is under way and is gone on with after a crash.
  enum class Leaving : std::uint8_t { no, removing, purging };

  std::string name;     ///< As profiles are called; names the agent in its session, too.
  std::string profile;  ///< It is derived from this one; its own name: it is that profile.
  std::string provider;
  std::string model;
  std::vector<std::string> arguments;  ///< Behind the profile's own.
  // Of its session; the meaning is that of OpenRequest.
  std::string project = "default";
  std::string session;
  std::string directory;
  std::string repository;
  std::string base;
  std::string workspace;
  std::string permission;

  bool wanted = false;  ///< berth keeps it running.
  Leaving leaving = Leaving::no;
};

std::string to_json(const NamedSpec& spec);
/// Error `invalid` ("bad_agent_file").
Result<NamedSpec> parse_named_spec(std::string_view json);

/// The options of a start that stand in `asked` (its empty fields are not asked for) against those
/// of an agent that exists: error `conflict` ("agent_conflict") naming the first that differs.
Result<void> check_same_options(const NamedSpec& exists, const NamedSpec& asked);

/// What the agent runs as. `base` is the profile that the spec names.
AgentProfile derived_profile(const AgentProfile& base, const NamedSpec& spec);

OpenRequest open_request(const NamedSpec& spec);

}  // namespace berth::server
