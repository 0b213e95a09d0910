#include <berth/server/cli/serve_config.h>

#include <berth/core/json_writer.h>
#include <berth/io/installed.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kConfigBytesMax = std::size_t{1} << 20;

/// The scripted agent is installed beside this program.
std::string scripted_agent() {
  const char* name = "berth-scripted-agent";
  return io::find_installed(name, "../bench/agents/").value_or(name);
}

/// A flag was given for it.
void override_value(std::vector<ConfigValue>* values, std::string_view key, std::string_view value,
                    std::string origin) {
  if (values == nullptr) return;
  for (ConfigValue& each : *values) {
    if (each.key != key) continue;
    each.value.clear();
    append_json_string(each.value, value);
    each.origin = std::move(origin);
  }
}

/// What state_directory_of() goes by when nothing else says where the state is.
std::string origin_of_state(const io::Environment& environment) {
  for (const char* name : {"XDG_STATE_HOME", "HOME"}) {
    if (const auto value = environment.get(name); value && !value->empty()) {
      return std::string("default, below $") + name;
    }
  }
  return "default";
}

/// What sandboxes are made with; without them there are none.
void find_sandbox_programs(io::Files& files, const io::Environment& environment,
                           LaunchSettings& launch) {
  const Result<std::string> helper = io::find_installed("berth-launch", "../io/");
  if (helper.has_value()) launch.helper = *helper;
  const std::string path = environment.get("PATH").value_or("/usr/local/bin:/usr/bin:/bin");
  std::string_view search = path;
  while (!search.empty() && launch.bubblewrap.empty()) {
    const std::string_view folder = search.substr(0, search.find(':'));
    search.remove_prefix(std::min(search.size(), folder.size() + 1));
    const std::string program = std::string(folder) + "/bwrap";
    if (folder.starts_with('/') && files.exists(program)) launch.bubblewrap = program;
  }
}

}  // namespace

Result<Config> read_serve_config(io::Files& files, const io::Environment& environment,
                                 const ServeOptions& options, std::vector<ConfigValue>* values) {
  Config config;
  config.agents = built_in_agents(scripted_agent());
  ConfigSource source;
  source.file =
      options.config.empty() ? environment.get("BERTH_CONFIG").value_or("") : options.config;
  source.environment = &environment;
  source.values = values;
  std::string text;
  if (!source.file.empty()) {
    Result<std::string> read = files.read(source.file, kConfigBytesMax);
    if (!read.has_value()) return fail(std::move(read.error()));
    text = std::move(*read);
  }
  Result<void> applied = apply_config(config, text, source);
  if (!applied.has_value()) return fail(std::move(applied.error()));
  if (!options.state.empty()) {
    config.state_directory = options.state;
    override_value(values, "state", config.state_directory, "flag --state");
  } else if (config.state_directory.empty()) {
    config.state_directory = state_directory_of(environment, {});
    override_value(values, "state", config.state_directory, origin_of_state(environment));
  }
  find_sandbox_programs(files, environment, config.launch);
  if (!options.listen.empty()) {
    config.listen = options.listen;
    override_value(values, "listen", config.listen, "flag --listen");
  }
  return config;
}

Result<void> settle_state(io::Files& files, Config& config) {
  Result<void> made = files.make_directories(config.state_directory, 0700);
  if (!made.has_value()) return made;
  Result<std::string> real = files.canonical(config.state_directory);
  if (!real.has_value()) return fail(std::move(real.error()));
  config.state_directory = std::move(*real);
  AgentProfile& scripted = config.agents["scripted"];
  if (scripted.command == scripted_agent() && scripted.arguments.empty()) {
    const std::string kept = config.state_directory + "/scripted-sessions";
    scripted.arguments = {"--sessions", kept};
    scripted.writable.push_back(kept + "/");
  }
  return {};
}

}  // namespace berth::server
