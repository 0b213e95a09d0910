#include <berth/server/config.h>

#include <berth/server/sessions/remote_credentials.h>

#include <toml++/toml.h>

#include <algorithm>

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

/// Walks one table; remembers the first thing that is wrong.
class Reader {
 public:
  Reader(const std::string& file, std::string path, const toml::table& table)
      : file_(file), path_(std::move(path)), table_(table) {}

  std::optional<Error> error;

  void text(std::string_view key, std::string& value) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    if (auto found = node->value_exact<std::string>()) {
      value = *found;
    } else {
      wrong(*node, key, "a string");
    }
  }

  void boolean(std::string_view key, bool& value) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    if (auto found = node->value_exact<bool>()) {
      value = *found;
    } else {
      wrong(*node, key, "true or false");
    }
  }

  template <typename Number>
  void number(std::string_view key, Number& value) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const auto found = node->value_exact<std::int64_t>();
    if (found && *found > 0) {
      value = static_cast<Number>(*found);
    } else {
      wrong(*node, key, "a number above 0");
    }
  }

  void seconds(std::string_view key, Duration& value) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const auto found = node->value<double>();
    if (found && *found > 0) {
      value = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(*found));
    } else {
      wrong(*node, key, "seconds above 0");
    }
  }

  void texts(std::string_view key, std::vector<std::string>& values) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr) return wrong(*node, key, "an array of strings");
    values.clear();
    for (const toml::node& element : *array) {
      auto found = element.value_exact<std::string>();
      if (!found) return wrong(element, key, "an array of strings");
      values.push_back(*found);
    }
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
  }

  const toml::table* table(std::string_view key) {
    const toml::node* node = take(key);
    if (node == nullptr) return nullptr;
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
    return table_.get(key);
  }
  void wrong(const toml::node& node, std::string_view key, std::string_view right) {
    if (error) return;
    error = make_error(ErrorKind::invalid, "bad_config",
                       file_ + ":" + std::to_string(node.source().begin.line) + ": " + path_ +
                           std::string(key) + " must be " + std::string(right));
  }

  const std::string& file_;
  std::string path_;
  const toml::table& table_;
  std::vector<std::string> known_;
};

std::optional<Error> read_agent(AgentProfile& profile, const std::string& file,
                                const toml::table& table) {
  Reader reader(file, "agents." + profile.name + ".", table);
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
  reader.number("line_max", profile.line_max);
  reader.seconds("initialize_timeout", profile.timeouts.initialize);
  reader.seconds("session_timeout", profile.timeouts.session);
  reader.seconds("cancel_grace", profile.timeouts.cancel_grace);
  reader.seconds("exit_grace", profile.timeouts.exit_grace);
  reader.seconds("turn_time_max", profile.turn_time_max);
  reader.number("server_memory_max", profile.server_memory_max);
  reader.boolean("warm", profile.warm);
  reader.boolean("pinned", profile.pinned);
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
    return make_error(
        ErrorKind::invalid, "bad_config",
        file + ": agents." + profile.name + ".driver must be acp, opencode, checkpoint or oneshot");
  }
  if (!reader.error && profile.command.empty()) {
    return make_error(ErrorKind::invalid, "bad_config",
                      file + ": agents." + profile.name + ".command is missing");
  }
  return reader.error;
}

std::optional<Error> read_tls(io::TlsServerFiles& files, const std::string& file,
                              const toml::table& table) {
  Reader reader(file, "tls.", table);
  reader.text("certificate", files.certificate_chain);
  reader.text("key", files.private_key);
  reader.refuse_unknown();
  if (reader.error) return reader.error;
  for (const std::string& path : {files.certificate_chain, files.private_key}) {
    if (path.starts_with('/')) continue;
    return make_error(ErrorKind::invalid, "bad_config",
                      file + ": tls.certificate and tls.key must be absolute paths");
  }
  return {};
}

std::optional<Error> read_limits(Config& config, const std::string& file,
                                 const toml::table& table) {
  Reader reader(file, "limits.", table);
  reader.number("queue_max", config.sessions.queue_max);
  reader.number("prompt_bytes_max", config.sessions.prompt_bytes_max);
  reader.seconds("snapshot_wait_max", config.sessions.snapshot_wait_max);
  reader.seconds("heartbeat", config.sessions.heartbeat);
  reader.seconds("reader_stall_max", config.sessions.reader_stall_max);
  reader.number("continuation_bytes_max", config.sessions.continuation_bytes_max);
  reader.seconds("question_expiry", config.sessions.question_expiry);
  reader.seconds("rest_after", config.sessions.rest_after);
  reader.seconds("stall_after", config.sessions.stall_after);
  reader.number("attach_retries_max", config.sessions.retries.retries_max);
  reader.seconds("attach_retry_first", config.sessions.retries.wait_first);
  reader.seconds("attach_retry_max", config.sessions.retries.wait_max);
  reader.number("agents_live_max", config.pool.agents_live_max);
  reader.number("agents_per_project_max", config.pool.agents_per_project_max);
  reader.number("agents_memory_max", config.pool.agents_memory_max);
  reader.seconds("agents_idle_ttl", config.pool.agents_idle_ttl);
  reader.number("agents_starting_max", config.pool.agents_starting_max);
  reader.number("starts_waiting_max", config.pool.starts_waiting_max);
  reader.seconds("start_wait_max", config.pool.start_wait_max);
  reader.seconds("crash_wait_first", config.pool.crash_wait_first);
  reader.seconds("crash_wait_max", config.pool.crash_wait_max);
  reader.seconds("drain_deadline", config.drain_deadline);
  reader.number("connections_max", config.http.connections_max);
  reader.number("body_max", config.http.body_max);
  reader.seconds("head_timeout", config.http.head_timeout);
  reader.seconds("body_timeout", config.http.body_timeout);
  reader.seconds("idle_timeout", config.http.idle_timeout);
  reader.number("tail_bytes_max", config.journal.tail_bytes_max);
  reader.seconds("commit_interval_min", config.journal.commit_interval_min);
  reader.refuse_unknown();
  return reader.error;
}

std::optional<Error> read_worktrees(HintLimits& limits, const std::string& file,
                                    const toml::table& table) {
  Reader reader(file, "worktrees.", table);
  reader.boolean("watch", limits.watch);
  reader.number("watch_folders_max", limits.watches.folders_max);
  reader.number("watch_tree_folders_max", limits.watches.tree_folders_max);
  reader.number("watch_paths_max", limits.watches.paths_max);
  reader.seconds("watch_idle_max", limits.idle_max);
  reader.seconds("full_scan_every", limits.full_scan_every);
  reader.refuse_unknown();
  return reader.error;
}

std::optional<Error> read_retention(Config& config, const std::string& file,
                                    const toml::table& table) {
  Reader reader(file, "retention.", table);
  reader.number("snapshots_max", config.git.retention.snapshots_max);
  reader.seconds("snapshot_age_max", config.git.retention.snapshot_age_max);
  reader.seconds("salvage_age_max", config.git.retention.salvage_age_max);
  reader.seconds("tidy_every", config.tidy_every);
  reader.refuse_unknown();
  return reader.error;
}

std::optional<Error> read_clones(CloneLimits& limits, const std::string& file,
                                 const toml::table& table) {
  Reader reader(file, "clones.", table);
  reader.text("folder", limits.folder);
  reader.seconds("time_max", limits.time_max);
  reader.seconds("fetch_age_max", limits.fetch_age_max);
  reader.text("proxy", limits.proxy);
  reader.text("ca_file", limits.ca_file);
  reader.refuse_unknown();
  if (reader.error) return reader.error;
  for (const std::string& path : {limits.folder, limits.ca_file}) {
    if (path.empty() || path.starts_with('/')) continue;
    return make_error(ErrorKind::invalid, "bad_config",
                      file + ": clones.folder and clones.ca_file must be absolute paths");
  }
  return {};
}

/// [remotes."host"] or [remotes."host:port"]
std::optional<Error> read_remotes(std::vector<RemoteAccess>& remotes, const std::string& file,
                                  const toml::table& table) {
  for (const auto& [key, node] : table) {
    RemoteAccess access;
    access.host = remote_host_of(key.str());
    const std::string path = "remotes.\"" + access.host + "\".";
    if (!node.is_table()) {
      return make_error(ErrorKind::invalid, "bad_config", file + ": " + path + " must be a table");
    }
    Reader reader(file, path, *node.as_table());
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
std::optional<Error> read_git(Config& config, const std::string& file, Reader& root) {
  const toml::table* worktrees = root.table("worktrees");
  const toml::table* retention = root.table("retention");
  const toml::table* clones = root.table("clones");
  const toml::table* remotes = root.table("remotes");
  std::optional<Error> error;
  if (worktrees != nullptr) error = read_worktrees(config.git.hints, file, *worktrees);
  if (!error && retention != nullptr) error = read_retention(config, file, *retention);
  if (!error && clones != nullptr) error = read_clones(config.git.clones, file, *clones);
  if (!error && remotes != nullptr) error = read_remotes(config.git.clones.remotes, file, *remotes);
  return error;
}

}  // namespace

Result<void> apply_toml(Config& config, std::string_view text, const std::string& file_name) {
  toml::table root;
  try {
    root = toml::parse(text, file_name);
  } catch (const toml::parse_error& error) {
    return fail(ErrorKind::invalid, "bad_config",
                file_name + ":" + std::to_string(error.source().begin.line) + ": " +
                    std::string(error.description()));
  }
  Reader reader(file_name, "", root);
  reader.text("listen", config.listen);
  reader.text("state", config.state_directory);
  reader.boolean("allow_public", config.allow_public);
  std::string durability = config.durability == Config::Durability::power ? "power" : "process";
  reader.text("durability", durability);
  const toml::table* agents = reader.table("agents");
  const toml::table* limits = reader.table("limits");
  std::vector<std::pair<std::string, std::string>> secrets;
  reader.pairs("secrets", secrets);
  const toml::table* tls = reader.table("tls");
  if (auto error = read_git(config, file_name, reader)) return fail(std::move(*error));
  reader.refuse_unknown();
  if (reader.error) return fail(std::move(*reader.error));
  for (auto& [name, variable] : secrets) {
    config.secrets.insert_or_assign(std::move(name), std::move(variable));
  }
  if (durability != "process" && durability != "power") {
    return fail(ErrorKind::invalid, "bad_config",
                file_name + ": durability must be process or power");
  }
  config.durability =
      durability == "power" ? Config::Durability::power : Config::Durability::process;
  if (tls != nullptr) {
    if (auto error = read_tls(config.tls, file_name, *tls)) return fail(std::move(*error));
  }
  if (limits != nullptr) {
    if (auto error = read_limits(config, file_name, *limits)) return fail(std::move(*error));
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
    if (like) {
      const auto found = config.agents.find(*like);
      if (found == config.agents.end() || *like == name) {
        return fail(ErrorKind::invalid, "bad_config",
                    file_name + ": agents." + name + ".like must be the name of another profile");
      }
      profile = found->second;
      profile.proved = false;
    }
    profile.name = name;
    if (auto error = read_agent(profile, file_name, *node.as_table()))
      return fail(std::move(*error));
  }
  return {};
}

}  // namespace berth::server
