// server/agents/profile.h — how an agent is started and what is known of its dialect: data, not
// code.
#pragma once

#include <berth/core/clock.h>
#include <berth/server/agents/generation.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::server {

struct AgentTimeouts {
  Duration initialize = std::chrono::seconds(60);
  Duration session = std::chrono::seconds(60);       ///< session/new, resume, load, set_*.
  Duration cancel_grace = std::chrono::seconds(10);  ///< From cancel to the end of the process.
  Duration exit_grace = std::chrono::seconds(3);     ///< From closing stdin to the kill.
  Duration notify = std::chrono::seconds(30);        ///< Of the program that is told of an ending.
};

/// Which driver speaks with the agent.
enum class Driver : std::uint8_t {
  acp,         ///< Agent Client Protocol on stdio.
  opencode,    ///< `opencode serve`: HTTP and one event stream, one server for many sessions.
  checkpoint,  ///< NUL-ended prompts on stdin, JSON lines, checkpoint files.
  oneshot,     ///< A process a turn.
};
std::string_view to_string(Driver driver);

/// What an agent may do with the machine, from weak to strong (launch.h).
enum class LaunchMode : std::uint8_t {
  none,        ///< All that berth's user may.
  restricted,  ///< Landlock: writes only its workspace and its own folders; has the network.
  sandbox,     ///< Namespaces: sees nothing else, and no network but berth's proxy.
};
inline constexpr const char* kLaunchModeNames = "none, restricted or sandbox";  ///< For messages.
std::string_view to_string(LaunchMode mode);
std::optional<LaunchMode> launch_mode_named(std::string_view name);

/// How an error of an agent is recognised: all given parts must match.
struct ErrorShape {
  int code = 0;               ///< JSON-RPC code.
  std::string text_contains;  ///< In the error object's JSON, lower-cased; empty = any.
};

struct AgentProfile {
  std::string name;     ///< [a-z0-9][a-z0-9-]{0,63}
  std::string project;  ///< Of a named agent: no session of another one may use it.
  Driver driver = Driver::acp;
  std::string command;
  std::vector<std::string> arguments;
  /// Added to the allow-listed part of berth's own environment (kPassedEnvironment).
  std::vector<std::pair<std::string, std::string>> environment;
  /// Name in the agent's environment, name in berth's own: secrets stay out of the configuration.
  std::vector<std::pair<std::string, std::string>> environment_from;
  std::string working_directory;  ///< Of the process; empty: the session's directory.
  std::string provider;           ///< checkpoint and oneshot: `--provider`; opencode: providerID.
  std::string model;              ///< checkpoint and oneshot: `--model`; opencode: modelID.
  AgentTimeouts timeouts;
  /// A turn that runs longer is stopped and ends `expired`; 0: it may run for ever. While it waits
  /// for a person no time passes.
  Duration turn_time_max{};
  /// What says "I do not know this session", and what may pass by itself; besides the shapes that
  /// count for every agent (acp_errors.cc).
  std::vector<ErrorShape> unknown_session;
  std::vector<ErrorShape> transient;
  /// session/load: the replay goes on after the reply, until an update of this kind. Empty: by the
  /// protocol, the reply ends it.
  std::string replay_ends_with;
  /// The agent names its files by the minute: a load within the minute in which the session was
  /// made loses it, so the start waits for the next minute.
  bool waits_for_next_minute = false;
  /// Cut out of the agent's text and thoughts; what it wrote stays in the log
  /// (output_filter.h).
  std::vector<std::string> strip;
  std::vector<std::pair<std::string, std::string>> strip_between;
  bool warm = false;    ///< Started when a session of it is opened, if there is a place.
  bool pinned = false;  ///< Not ended for having idled, nor to make room for others.
  bool pinged = true;   ///< Asked for a sign of life when idle, if its driver has such a question.
  /// acp: how many sessions one process serves at once. They share its environment, its working
  /// directory (not theirs) and its death; the agent tells them apart.
  std::size_t sessions_per_process = 1;
  /// acp: ask for the draft version 2 of the protocol; an agent that does not speak it is spoken to
  /// in version 1.
  bool acp_v2 = false;
  bool proved = false;  ///< The tests run the real agent in the version that docs/agents.md names.
  std::optional<LaunchMode> launch;  ///< Empty: what the server prefers.
  /// Files and folders besides the workspace, absolute or beginning with `~/`, `$XDG_DATA_HOME/`,
  /// `$XDG_STATE_HOME/`, `$XDG_CONFIG_HOME/` or `$XDG_CACHE_HOME/`. A folder that ends in `/` is
  /// made when it is not there.
  std::vector<std::string> writable;
  std::vector<std::string> readable;
  std::vector<std::string> hidden;
  /// Hosts that it may reach from a sandbox, see egress/policy.h.
  std::vector<std::string> egress;
  std::size_t line_max = std::size_t{64} << 20;
  /// Of a process that serves many sessions (serves_many()).
  GenerationLimits generation;
  // Of named agents (named/named_agent.h).
  bool fifo = true;                        ///< They take prompts from a FIFO.
  std::size_t fifo_prompt_max = 1u << 20;  ///< Bytes; longer ones are refused.
  std::vector<std::string> notify;         ///< Program and arguments, told how turns end.
  std::string notify_maildir;              ///< Gets a mail for each ending; empty: none.
};

/// Whether one process of it serves several sessions, which it alone keeps apart.
bool serves_many(const AgentProfile& profile);

/// True for [a-z0-9][a-z0-9-]{0,63}.
bool is_profile_name(std::string_view name);

/// Names of berth's own environment that agents get; everything else stays with berth.
const std::vector<std::string>& passed_environment();

using AgentProfiles = std::map<std::string, AgentProfile, std::less<>>;

}  // namespace berth::server
