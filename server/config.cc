#include <berth/server/config.h>

#include <berth/core/json_writer.h>
#include <berth/server/auth/browser.h>
#include <berth/server/auth/caller.h>
#include <berth/server/ops/limits_table.h>
#include <berth/server/sessions/remote_credentials.h>

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <type_traits>
#include <utility>

namespace berth::server {

std::string state_directory_of(const io::Environment& environment, std::string_view flag) {
  if (!flag.empty()) return std::string(flag);
  if (auto state = environment.get("BERTH_STATE"); state && !state->empty()) return *state;
  if (auto xdg = environment.get("XDG_STATE_HOME"); xdg && !xdg->empty()) return *xdg + "/berth";
  return environment.get("HOME").value_or("/tmp") + "/.local/state/berth";
}

bool is_local_address(std::string_view address) {
  return address.starts_with("unix:") || address.starts_with("127.") ||
         address.starts_with("[::1]") || address.starts_with("localhost:");
}

namespace {

/// A value as TOML writes it.
std::string as_toml(std::string_view text) {
  std::string out;
  append_json_string(out, text);  // TOML's basic strings escape as JSON does
  return out;
}

std::string as_toml(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) out += (out.size() > 1 ? ", " : "") + as_toml(text);
  return out + "]";
}

std::string as_toml(Duration time) {
  std::string out;
  JsonWriter(out).number(std::chrono::duration<double>(time).count());
  return out;
}

/// `limits.queue_max` -> `BERTH_LIMITS_QUEUE_MAX`
std::string variable_of(std::string_view key) {
  std::string name = "BERTH_";
  for (const char c : key) {
    name += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return name;
}

/// Walks one table, and what the environment says in its place; remembers the first thing that is
/// wrong.
class Reader {
 public:
  Reader(ConfigSource source, std::string path, const toml::table& table)
      : source_(std::move(source)), path_(std::move(path)), table_(table) {}

  std::optional<Error> error;

  void text(std::string_view key, std::string& value) {
    if (const toml::node* node = take(key)) {
      if (auto found = node->value_exact<std::string>()) {
        value = *found;
      } else {
        wrong(*node, key, "a string");
      }
    }
    if (auto set = variable(key)) value = std::move(*set);
    note(key, as_toml(value));
  }

  void boolean(std::string_view key, bool& value) {
    constexpr const char* kRight = "true or false";
    if (const toml::node* node = take(key)) {
      if (auto found = node->value_exact<bool>()) {
        value = *found;
      } else {
        wrong(*node, key, kRight);
      }
    }
    if (auto set = variable(key)) {
      if (*set != "true" && *set != "false") wrong_variable(key, kRight);
      value = *set == "true";
    }
    note(key, value ? "true" : "false");
  }

  template <typename Number>
  void number(std::string_view key, Number& value) {
    constexpr const char* kRight = "a number above 0";
    if (const toml::node* node = take(key)) {
      const auto found = node->value_exact<std::int64_t>();
      if (found && *found > 0) {
        value = static_cast<Number>(*found);
      } else {
        wrong(*node, key, kRight);
      }
    }
    if (auto set = variable(key)) {
      std::int64_t found = 0;
      const auto [end, bad] = std::from_chars(set->data(), set->data() + set->size(), found);
      const bool whole = bad == std::errc() && end == set->data() + set->size();
      if (!whole || found <= 0) wrong_variable(key, kRight);
      value = static_cast<Number>(found);
    }
    note_if(value != Number(), key, std::to_string(value));
  }

  void hosts(std::string_view key, std::vector<std::string>& values) {
    texts(key, values);
    for (const std::string& value : values) {
      const Result<egress::Pattern> pattern = egress::parse_pattern(value);
      if (!pattern.has_value()) refuse(path_ + std::string(key) + ": " + value, "a host");
    }
  }

  void seconds(std::string_view key, Duration& value) {
    constexpr const char* kRight = "seconds above 0";
    const auto of = [](double count) {
      return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(count));
    };
    if (const toml::node* node = take(key)) {
      const auto found = node->value<double>();
      if (found && *found > 0) {
        value = of(*found);
      } else {
        wrong(*node, key, kRight);
      }
    }
    if (auto set = variable(key)) {
      double found = 0;
      const auto [end, bad] = std::from_chars(set->data(), set->data() + set->size(), found);
      const bool whole = bad == std::errc() && end == set->data() + set->size();
      if (!whole || !(found > 0)) wrong_variable(key, kRight);
      value = of(found);
    }
    note_if(value != Duration::zero(), key, as_toml(value));
  }

  /// In the environment: separated by commas.
  void texts(std::string_view key, std::vector<std::string>& values) {
    if (const toml::node* node = take(key)) {
      const toml::array* array = node->as_array();
      if (array == nullptr) return wrong(*node, key, "an array of strings");
      values.clear();
      for (const toml::node& element : *array) {
        auto found = element.value_exact<std::string>();
        if (!found) return wrong(element, key, "an array of strings");
        values.push_back(*found);
      }
    }
    if (auto set = variable(key)) {
      values.clear();
      for (std::string_view left = *set; !left.empty();) {
        const std::string_view one = left.substr(0, left.find(','));
        left.remove_prefix(std::min(left.size(), one.size() + 1));
        if (!one.empty()) values.emplace_back(one);
      }
    }
    note(key, as_toml(values));
  }

  void pairs(std::string_view key, std::vector<std::pair<std::string, std::string>>& values) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const toml::table* table = node->as_table();
    if (table == nullptr) return wrong(*node, key, "a table of strings");
    for (const auto& [name, element] : *table) {
      auto found = element.value_exact<std::string>();
      if (!found) return wrong(element, key, "a table of strings");
      values.emplace_back(std::string(name.str()), *found);
      origin_ = place_of(element);
      // What stands in an environment may be a secret, which is nobody else's.
      const bool hidden = key == "env";
      note(std::string(key) + "." + as_toml(name.str()), hidden ? "hidden" : as_toml(*found),
           !hidden);
    }
  }

  /// [["<think>", "</think>"], ...]
  void text_pairs(std::string_view key, std::vector<std::pair<std::string, std::string>>& values) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const char* const right = "an array of pairs of strings";
    const toml::array* array = node->as_array();
    if (array == nullptr) return wrong(*node, key, right);
    values.clear();
    for (const toml::node& element : *array) {
      const toml::array* pair = element.as_array();
      if (pair == nullptr || pair->size() != 2) return wrong(element, key, right);
      const auto first = pair->get(0)->value_exact<std::string>();
      const auto second = pair->get(1)->value_exact<std::string>();
      if (!first || !second || first->empty() || second->empty()) return wrong(element, key, right);
      values.emplace_back(*first, *second);
    }
    note(key, std::to_string(values.size()) + " of them", false);
  }

  /// [{ code = -32603, text = "no such thread" }, ...]
  void shapes(std::string_view key, std::vector<ErrorShape>& values) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const char* const right = "an array of tables with code (a number) and text (a string)";
    const toml::array* array = node->as_array();
    if (array == nullptr) return wrong(*node, key, right);
    for (const toml::node& element : *array) {
      const toml::table* shape = element.as_table();
      const auto code = shape == nullptr ? std::optional<std::int64_t>()
                                         : (*shape)["code"].value_exact<std::int64_t>();
      if (!code) return wrong(element, key, right);
      values.push_back({static_cast<int>(*code),
                        (*shape)["text"].value_exact<std::string>().value_or(std::string())});
    }
    note(key, std::to_string(values.size()) + " of them", false);
  }

  /// Empty when it is not there: its values may still come from the environment.
  const toml::table* table(std::string_view key) {
    static const toml::table kNothing;
    const toml::node* node = take(key);
    if (node == nullptr) return &kNothing;
    if (!node->is_table()) wrong(*node, key, "a table");
    return node->as_table();
  }

  /// Call last: what nobody asked for is a mistake of the writer.
  void refuse_unknown() {
    for (const auto& [name, node] : table_) {
      if (std::find(known_.begin(), known_.end(), name.str()) == known_.end()) {
        wrong(node, name.str(), "left out: there is no such key");
      }
    }
  }

 private:
  const toml::node* take(std::string_view key) {
    known_.emplace_back(key);
    const toml::node* const node = table_.get(key);
    origin_ = node == nullptr ? "default" : place_of(*node);
    return node;
  }
  /// What the environment says in place of the file; agents and hosts are of the file alone.
  std::optional<std::string> variable(std::string_view key) {
    if (source_.environment == nullptr || path_.starts_with("agents.") ||
        path_.starts_with("remotes.") || path_.starts_with("projects.")) {
      return std::nullopt;
    }
    const std::string name = variable_of(path_ + std::string(key));
    std::optional<std::string> value = source_.environment->get(name);
    if (!value || value->empty()) return std::nullopt;
    origin_ = "environment " + name;
    return value;
  }
  void note(std::string_view key, std::string value, bool is_toml = true) {
    if (source_.values == nullptr) return;
    source_.values->push_back(
        {path_ + std::string(key), std::move(value), std::exchange(origin_, {}), is_toml});
  }
  /// A zero stands for none, which cannot be written.
  void note_if(bool some, std::string_view key, std::string value) {
    note(key, some ? std::move(value) : "none", some);
  }
  std::string place_of(const toml::node& node) const {
    return source_.file + ":" + std::to_string(node.source().begin.line);
  }
  void wrong(const toml::node& node, std::string_view key, std::string_view right) {
    refuse(place_of(node) + ": " + path_ + std::string(key), right);
  }
  void wrong_variable(std::string_view key, std::string_view right) {
    refuse("environment: " + variable_of(path_ + std::string(key)), right);
  }
  void refuse(const std::string& what, std::string_view right) {
    if (error) return;
    error = make_error(ErrorKind::invalid, "bad_config", what + " must be " + std::string(right));
  }

  const ConfigSource source_;
  std::string path_;
  const toml::table& table_;
  std::vector<std::string> known_;
  std::string origin_;  // of the value that is read now
};

std::optional<Error> read_launch(Config& config, const ConfigSource& source,
                                 const toml::table& table) {
  LaunchSettings& settings = config.launch;
  egress::Limits& egress = config.egress;
  Reader reader(source, "launch.", table);
  std::string mode;
  reader.text("default", mode);
  reader.texts("writable", settings.writable);
  reader.texts("readable", settings.readable);
  reader.texts("hidden", settings.hidden);
  reader.hosts("egress", settings.egress);
  reader.number("egress_connections_max", egress.connections_max);
  reader.number("egress_connections_total_max", egress.connections_total_max);
  reader.seconds("egress_idle_timeout", egress.idle_timeout);
  reader.number("open_files_max", settings.limits.open_files);
  reader.number("process_memory_max", settings.limits.address_space);
  reader.number("memory_max", settings.limits.tree_memory);
  reader.number("processes_max", settings.limits.tree_processes);
  reader.number("cpu_percent_max", settings.limits.tree_cpu_percent);
  reader.refuse_unknown();
  if (reader.error || mode.empty()) return reader.error;
  settings.mode = launch_mode_named(mode);
  if (settings.mode) return {};
  return make_error(ErrorKind::invalid, "bad_config",
                    source.file + ": launch.default must be " + kLaunchModeNames);
}

/// [projects.NAME]
std::optional<Error> read_projects(LaunchSettings& launch, const ConfigSource& source,
                                   const toml::table& table) {
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    if (!is_project_name(name) || !node.is_table()) {
      return make_error(
          ErrorKind::invalid, "bad_config",
          source.file + ": projects." + name + " must be a table named [a-z0-9][a-z0-9._-]{0,63}");
    }
    Reader reader(source, "projects.\"" + name + "\".", *node.as_table());
    reader.hosts("egress", launch.project_egress[name]);
    reader.refuse_unknown();
    if (reader.error) return reader.error;
  }
  return {};
}

std::optional<Error> read_agent(AgentProfile& profile, const ConfigSource& source,
                                const toml::table& table) {
  Reader reader(source, "agents." + profile.name + ".", table);
  std::string like;
  reader.text("like", like);  // taken over by the caller, before the rest was read
  std::string driver(to_string(profile.driver));
  reader.text("driver", driver);
  // What starts a program for one driver (`opencode acp`) is nothing to another.
  if (driver != to_string(profile.driver)) profile.arguments.clear();
  reader.text("command", profile.command);
  reader.texts("args", profile.arguments);
  reader.pairs("env", profile.environment);
  reader.pairs("env_from", profile.environment_from);
  reader.text("cwd", profile.working_directory);
  reader.text("provider", profile.provider);
  reader.text("model", profile.model);
  reader.shapes("unknown_session", profile.unknown_session);
  reader.shapes("transient", profile.transient);
  reader.text("replay_ends_with", profile.replay_ends_with);
  reader.boolean("waits_for_next_minute", profile.waits_for_next_minute);
  reader.texts("strip", profile.strip);
  reader.text_pairs("strip_between", profile.strip_between);
  std::string launch(profile.launch ? to_string(*profile.launch) : "");
  reader.text("launch", launch);
  reader.texts("writable", profile.writable);
  reader.texts("readable", profile.readable);
  reader.texts("hidden", profile.hidden);
  reader.hosts("egress", profile.egress);
  reader.number("line_max", profile.line_max);
  reader.seconds("initialize_timeout", profile.timeouts.initialize);
  reader.seconds("session_timeout", profile.timeouts.session);
  reader.seconds("cancel_grace", profile.timeouts.cancel_grace);
  reader.seconds("exit_grace", profile.timeouts.exit_grace);
  reader.seconds("turn_time_max", profile.turn_time_max);
  reader.number("server_memory_max", profile.generation.memory_max);
  reader.seconds("server_age_max", profile.generation.age_max);
  reader.number("server_sessions_max", profile.generation.sessions_max);
  reader.boolean("warm", profile.warm);
  reader.boolean("pinned", profile.pinned);
  reader.boolean("pinged", profile.pinged);
  reader.number("sessions_per_process", profile.sessions_per_process);
  reader.boolean("acp_v2", profile.acp_v2);
  reader.boolean("fifo", profile.fifo);
  reader.number("fifo_prompt_max", profile.fifo_prompt_max);
  reader.texts("notify", profile.notify);
  reader.text("notify_maildir", profile.notify_maildir);
  reader.seconds("notify_timeout", profile.timeouts.notify);
  reader.refuse_unknown();
  bool known_driver = false;
  for (const Driver candidate :
       {Driver::acp, Driver::opencode, Driver::checkpoint, Driver::oneshot}) {
    if (driver != to_string(candidate)) continue;
    profile.driver = candidate;
    known_driver = true;
  }
  if (!reader.error && !known_driver) {
    return make_error(ErrorKind::invalid, "bad_config",
                      source.file + ": agents." + profile.name +
                          ".driver must be acp, opencode, checkpoint or oneshot");
  }
  if (!launch.empty()) {
    profile.launch = launch_mode_named(launch);
    if (!reader.error && !profile.launch) {
      return make_error(
          ErrorKind::invalid, "bad_config",
          source.file + ": agents." + profile.name + ".launch must be " + kLaunchModeNames);
    }
  }
  if (!reader.error && profile.command.empty()) {
    return make_error(ErrorKind::invalid, "bad_config",
                      source.file + ": agents." + profile.name + ".command is missing");
  }
  return reader.error;
}

std::optional<Error> read_tls(io::TlsServerFiles& files, const ConfigSource& source,
                              const toml::table& table) {
  Reader reader(source, "tls.", table);
  reader.text("certificate", files.certificate_chain);
  reader.text("key", files.private_key);
  reader.refuse_unknown();
  if (reader.error) return reader.error;
  if (files.certificate_chain.empty() && files.private_key.empty()) return {};
  for (const std::string& path : {files.certificate_chain, files.private_key}) {
    if (path.starts_with('/')) continue;
    return make_error(ErrorKind::invalid, "bad_config",
                      source.file + ": tls.certificate and tls.key must be absolute paths");
  }
  return {};
}

std::optional<Error> read_limits(Config& config, const ConfigSource& source,
                                 const toml::table& table) {
  Reader reader(source, "limits.", table);
  for (const LimitSpec& spec : limits_table()) {
    if (spec.fixed) continue;
    std::visit(
        [&](auto* value) {
          if constexpr (std::is_same_v<decltype(value), Duration*>) {
            reader.seconds(spec.name, *value);
          } else {
            reader.number(spec.name, *value);
          }
        },
        spec.of(config));
  }
  reader.refuse_unknown();
  return reader.error;
}

std::optional<Error> read_worktrees(HintLimits& limits, const ConfigSource& source,
                                    const toml::table& table) {
  Reader reader(source, "worktrees.", table);
  reader.boolean("watch", limits.watch);
  reader.number("watch_folders_max", limits.watches.folders_max);
  reader.number("watch_tree_folders_max", limits.watches.tree_folders_max);
  reader.number("watch_paths_max", limits.watches.paths_max);
  reader.seconds("watch_idle_max", limits.idle_max);
  reader.seconds("full_scan_every", limits.full_scan_every);
  reader.refuse_unknown();
  return reader.error;
}

std::optional<Error> read_retention(Config& config, const ConfigSource& source,
                                    const toml::table& table) {
  Reader reader(source, "retention.", table);
  reader.number("snapshots_max", config.git.retention.snapshots_max);
  reader.seconds("snapshot_age_max", config.git.retention.snapshot_age_max);
  reader.seconds("salvage_age_max", config.git.retention.salvage_age_max);
  reader.seconds("tidy_every", config.tidy_every);
  reader.refuse_unknown();
  return reader.error;
}

std::optional<Error> read_clones(CloneLimits& limits, const ConfigSource& source,
                                 const toml::table& table) {
  Reader reader(source, "clones.", table);
  reader.text("folder", limits.folder);
  reader.seconds("time_max", limits.time_max);
  reader.seconds("fetch_age_max", limits.fetch_age_max);
  reader.seconds("idle_max", limits.idle_max);
  reader.number("bytes_max", limits.bytes_max);
  reader.text("proxy", limits.proxy);
  reader.text("ca_file", limits.ca_file);
  reader.refuse_unknown();
  if (reader.error) return reader.error;
  for (const std::string& path : {limits.folder, limits.ca_file}) {
    if (path.empty() || path.starts_with('/')) continue;
    return make_error(ErrorKind::invalid, "bad_config",
                      source.file + ": clones.folder and clones.ca_file must be absolute paths");
  }
  return {};
}

/// [remotes."host"] or [remotes."host:port"]
std::optional<Error> read_remotes(std::vector<RemoteAccess>& remotes, const ConfigSource& source,
                                  const toml::table& table) {
  for (const auto& [key, node] : table) {
    RemoteAccess access;
    access.host = remote_host_of(key.str());
    const std::string path = "remotes.\"" + access.host + "\".";
    if (!node.is_table()) {
      return make_error(ErrorKind::invalid, "bad_config",
                        source.file + ": " + path + " must be a table");
    }
    Reader reader(source, path, *node.as_table());
    reader.text("user", access.user);
    reader.text("password_env", access.password_env);
    reader.text("password_file", access.password_file);
    reader.text("ssh_key", access.ssh_key);
    reader.text("ssh_passphrase_env", access.ssh_passphrase_env);
    reader.boolean("ssh_agent", access.ssh_agent);
    reader.refuse_unknown();
    if (reader.error) return reader.error;
    remotes.push_back(std::move(access));
  }
  return {};
}

/// The tables about git.
std::optional<Error> read_git(Config& config, const ConfigSource& source, Reader& root) {
  const toml::table* worktrees = root.table("worktrees");
  const toml::table* retention = root.table("retention");
  const toml::table* clones = root.table("clones");
  const toml::table* remotes = root.table("remotes");
  std::optional<Error> error;
  if (worktrees != nullptr) error = read_worktrees(config.git.hints, source, *worktrees);
  if (!error && retention != nullptr) error = read_retention(config, source, *retention);
  if (!error && clones != nullptr) error = read_clones(config.git.clones, source, *clones);
  if (!error && remotes != nullptr)
    error = read_remotes(config.git.clones.remotes, source, *remotes);
  return error;
}

std::optional<Error> read_tracing(TracingConfig& config, const ConfigSource& source,
                                  const toml::table& table) {
  Reader reader(source, "tracing.", table);
  reader.text("otlp_endpoint", config.otlp_endpoint);
  reader.text("service_name", config.service_name);
  reader.number("sample_every", config.limits.sample_every);
  reader.number("commits_every", config.limits.commits_every);
  reader.number("spans_max", config.limits.spans_max);
  reader.refuse_unknown();
  if (reader.error || config.otlp_endpoint.empty()) return reader.error;
  Result<OtlpTarget> target = OtlpTarget::parse(config.otlp_endpoint);
  if (target.has_value()) return {};
  return std::move(target.error()).with_context(source.file + ": tracing.otlp_endpoint");
}

/// Whom the word of proxies is taken for.
std::optional<Error> read_proxies(GateConfig& gate, const std::string& file_name, Reader& reader) {
  std::vector<std::string> proxies;
  reader.texts("trusted_proxies", proxies);
  std::string header = gate.proxy_header == ProxyHeader::forwarded ? "forwarded" : "x-forwarded";
  reader.text("proxy_header", header);
  Result<TrustedProxies> trusted = TrustedProxies::parse(proxies);
  if (!trusted.has_value()) return std::move(trusted.error()).with_context(file_name);
  gate.trusted_proxies = std::move(*trusted);
  if (header != "forwarded" && header != "x-forwarded") {
    return make_error(ErrorKind::invalid, "bad_config",
                      file_name + ": proxy_header must be x-forwarded or forwarded");
  }
  gate.proxy_header = header == "forwarded" ? ProxyHeader::forwarded : ProxyHeader::x_forwarded;
  return {};
}

/// How clients call this server.
std::optional<Error> check_addresses(const Config& config, const std::string& file_name) {
  for (const std::string& origin : config.gate.allowed_origins) {
    if (is_origin(origin)) continue;
    return make_error(
        ErrorKind::invalid, "bad_config",
        file_name + ": allowed_origins must be like https://ui.example, not " + origin);
  }
  if (!is_base_path(config.base_path)) {
    return make_error(ErrorKind::invalid, "bad_config",
                      file_name +
                          ": base_path must be /segments of [A-Za-z0-9._-] without a slash at "
                          "its end, or empty");
  }
  return {};
}

}  // namespace

Result<void> apply_toml(Config& config, std::string_view text, const std::string& file_name) {
  return apply_config(config, text, {file_name});
}

Result<void> apply_config(Config& config, std::string_view text, const ConfigSource& source) {
  const std::string& file_name = source.file;
  toml::table root;
  try {
    root = toml::parse(text, file_name);
  } catch (const toml::parse_error& error) {
    return fail(ErrorKind::invalid, "bad_config",
                file_name + ":" + std::to_string(error.source().begin.line) + ": " +
                    std::string(error.description()));
  }
  Reader reader(source, "", root);
  reader.text("listen", config.listen);
  reader.text("base_path", config.base_path);
  reader.text("state", config.state_directory);
  reader.boolean("allow_public", config.allow_public);
  reader.texts("allowed_hosts", config.gate.allowed_hosts);
  reader.texts("allowed_origins", config.gate.allowed_origins);
  if (auto error = read_proxies(config.gate, file_name, reader)) return fail(std::move(*error));
  std::string durability = config.durability == Config::Durability::power ? "power" : "process";
  reader.text("durability", durability);
  const toml::table* agents = reader.table("agents");
  const toml::table* limits = reader.table("limits");
  std::vector<std::pair<std::string, std::string>> secrets;
  reader.pairs("secrets", secrets);
  const toml::table* tls = reader.table("tls");
  const toml::table* launch = reader.table("launch");
  const toml::table* projects = reader.table("projects");
  const toml::table* tracing = reader.table("tracing");
  if (auto error = read_git(config, source, reader)) return fail(std::move(*error));
  reader.refuse_unknown();
  if (reader.error) return fail(std::move(*reader.error));
  for (auto& [name, variable] : secrets) {
    config.secrets.insert_or_assign(std::move(name), std::move(variable));
  }
  if (auto error = check_addresses(config, file_name)) return fail(std::move(*error));
  if (durability != "process" && durability != "power") {
    return fail(ErrorKind::invalid, "bad_config",
                file_name + ": durability must be process or power");
  }
  config.durability =
      durability == "power" ? Config::Durability::power : Config::Durability::process;
  if (tls != nullptr) {
    if (auto error = read_tls(config.tls, source, *tls)) return fail(std::move(*error));
  }
  if (launch != nullptr) {
    if (auto error = read_launch(config, source, *launch)) return fail(std::move(*error));
  }
  if (projects != nullptr) {
    if (auto error = read_projects(config.launch, source, *projects))
      return fail(std::move(*error));
  }
  if (tracing != nullptr) {
    if (auto error = read_tracing(config.tracing, source, *tracing)) return fail(std::move(*error));
  }
  if (limits != nullptr) {
    if (auto error = read_limits(config, source, *limits)) return fail(std::move(*error));
  }
  if (agents == nullptr) return {};
  for (const auto& [key, node] : *agents) {
    const std::string name(key.str());
    if (!is_profile_name(name) || !node.is_table()) {
      return fail(
          ErrorKind::invalid, "bad_config",
          file_name + ": agents." + name + " must be a table named [a-z0-9][a-z0-9-]{0,63}");
    }
    AgentProfile& profile = config.agents[name];
    const auto like = (*node.as_table())["like"].value_exact<std::string>();
    if (like && !like->empty()) {
      const auto found = config.agents.find(*like);
      if (found == config.agents.end() || *like == name) {
        return fail(ErrorKind::invalid, "bad_config",
                    file_name + ": agents." + name + ".like must be the name of another profile");
      }
      profile = found->second;
      profile.proved = false;
    }
    profile.name = name;
    if (auto error = read_agent(profile, source, *node.as_table())) return fail(std::move(*error));
  }
  return {};
}

}  // namespace berth::server
