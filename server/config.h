// server/config.h — what a server is started with: defaults, then the configuration file, then
// flags.
#pragma once

#include <berth/core/result.h>
#include <berth/io/http_server.h>
#include <berth/io/offload_threads.h>
#include <berth/io/platform.h>
#include <berth/io/tls.h>
#include <berth/server/agents/built_in.h>
#include <berth/server/agents/launch.h>
#include <berth/server/agents/profile.h>
#include <berth/server/auth/gate.h>
#include <berth/server/ops/otlp_exporter.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/workspace_limits.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// In the state directory: for files that live as long as one call; emptied at each start.
inline constexpr const char* kScratchFolder = "/scratch";

struct Config {
  std::string state_directory;
  std::string listen = "127.0.0.1:8420";  ///< Empty: no socket (app.h, handler()).
  std::string base_path;      ///< What clients see before the API's paths, behind a proxy: "/x".
  bool allow_public = false;  ///< A listener beyond loopback must be asked for.
  io::TlsServerFiles tls;     ///< Without a certificate: plain HTTP.
  enum class Durability : std::uint8_t { process, power } durability = Durability::process;
  AgentProfiles agents;
  SecretNames secrets;  ///< That mcp_servers of sessions may refer to.
  LaunchSettings launch;
  egress::Limits egress;
  SessionLimits sessions;
  PoolLimits pool;
  /// What the turns that run get to come to their end when the server is told to end.
  Duration drain_deadline = std::chrono::seconds(30);
  JournalLimits journal;
  GitWorkspaceLimits git;
  Duration tidy_every = std::chrono::hours(1);  ///< Expired refs and trash are looked for.
  io::HttpLimits http;
  /// Of the lanes that the platform came with, for people: who embeds a server with others says so.
  std::size_t offload_queue_max = io::OffloadOptions().queue_max;
  GateConfig gate;
  TracingConfig tracing;
  std::size_t metric_projects_max = 100;  ///< Rows of /metrics for each figure of projects.
};

/// `--state`, else $BERTH_STATE, else $XDG_STATE_HOME/berth, else ~/.local/state/berth.
std::string state_directory_of(const io::Environment& environment, std::string_view flag);

/// A value as it came to be, for `berth config print`.
struct ConfigValue {
  std::string key;      ///< "limits.queue_max"
  std::string value;    ///< As TOML, or words about it.
  std::string origin;   ///< "default", "FILE:LINE", "environment NAME" or "flag --NAME".
  bool is_toml = true;  ///< False: none, hidden, or too long to be shown.
};

/// Where values come from, beside the defaults. What it points to outlives the call.
struct ConfigSource {
  std::string file;                              ///< Its name, for errors.
  const io::Environment* environment = nullptr;  ///< `BERTH_` + the key in capitals wins over it.
  std::vector<ConfigValue>* values = nullptr;    ///< Gets every value there is.
};

/// Reads TOML, then the environment, into `config`. Errors: `invalid` ("bad_config") with line, key
/// and what would be right.
Result<void> apply_config(Config& config, std::string_view text, const ConfigSource& source);

/// The file alone.
Result<void> apply_toml(Config& config, std::string_view text, const std::string& file_name);

/// True for loopback addresses and unix sockets.
bool is_local_address(std::string_view address);

}  // namespace berth::server
