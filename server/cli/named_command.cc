// berth agent start | stop | restart | reset | rm | purge | status | logs | attach | prompt | unit
#include <berth/core/json_writer.h>
#include <berth/core/uri.h>
#include <berth/io/files_linux.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/environment.h>
#include <berth/server/config.h>

#include <fmt/format.h>

#include <utility>

namespace berth::server {

namespace {

std::string agent_target(std::string_view name, std::string_view rest = {}) {
  std::string target = "/v1/agents/";
  append_percent_encoded(target, name);
  target += rest;
  return target;
}

/// `name  state  session  pid  +queued`
void show_line(Terminal& terminal, const JsonView& agent) {
  terminal.write(Style::bold, fmt::format("{:<20}", text_of(agent, "name")));
  std::string state = text_of(agent, "state");
  const std::int64_t queued = agent.get_int64("queued").value_or(0);
  if (queued > 0) state += fmt::format(" +{}", queued);
  if (agent.get_bool("held").value_or(false)) state += " held";
  const std::int64_t pid = agent.get_int64("pid").value_or(0);
  terminal.line(fmt::format(" {:<16} {:<12} session {}{}", state, text_of(agent, "profile"),
                            text_of(agent, "session"),
                            pid == 0 ? std::string() : fmt::format("  pid {}", pid)));
}

/// The id of the agent's session; nothing when that cannot be had, which was said then.
std::optional<std::string> session_of(Remote& remote, const std::string& name) {
  const std::optional<RemoteAnswer> agent = remote.call("GET", agent_target(name));
  if (!agent) return {};
  return std::string(agent->json().get_string("session").value_or(""));
}

}  // namespace

int named_start_command(const GlobalOptions& global, const NamedStartOptions& given) {
  Terminal terminal(global.no_color);
  NamedStartOptions options = given;
  if (!make_absolute(terminal, options.repository)) return 1;
  if (!make_absolute(terminal, options.directory)) return 1;
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  std::string body;
  JsonWriter writer(body);
  writer.begin_object();
  const std::pair<const char*, const std::string*> members[] = {
      {"profile", &options.profile},       {"provider", &options.provider},
      {"model", &options.model},           {"directory", &options.directory},
      {"repository", &options.repository}, {"base", &options.base},
      {"permission", &options.permission},
  };
  for (const auto& [key, value] : members) {
    if (!value->empty()) writer.member(key, *value);
  }
  if (!options.arguments.empty()) {
    writer.key("args").begin_array();
    for (const std::string& argument : options.arguments) writer.string(argument);
    writer.end_array();
  }
  writer.end_object();
  const std::optional<RemoteAnswer> answer =
      remote->call("POST", agent_target(options.name, "/start"), std::move(body));
  return answer ? show_answer(terminal, global, *answer, show_line) : remote->exit_code();
}

int named_verb_command(const GlobalOptions& global, const std::string& name,
                       const std::string& verb, bool now) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> answer = remote->call(
      "POST", agent_target(name, "/" + verb), now ? R"({"now":true})" : R"({"now":false})");
  return answer ? show_answer(terminal, global, *answer, show_line) : remote->exit_code();
}

int named_remove_command(const GlobalOptions& global, const std::string& name, bool force,
                         bool purge) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::string query = fmt::format("?force={}&purge={}", force ? 1 : 0, purge ? 1 : 0);
  if (!remote->call("DELETE", agent_target(name, query))) return remote->exit_code();
  if (!global.json) terminal.line((purge ? "purged " : "removed ") + printable(name));
  return 0;
}

int named_status_command(const GlobalOptions& global, const std::string& name) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> answer =
      remote->call("GET", name.empty() ? "/v1/agents" : agent_target(name));
  if (!answer) return remote->exit_code();
  if (global.json || !name.empty()) return show_answer(terminal, global, *answer, show_line);
  const std::vector<JsonView> agents = answer->json().elements("agents");
  if (agents.empty()) terminal.note("no named agents; make one with `berth agent start`");
  for (const JsonView& agent : agents) show_line(terminal, agent);
  return 0;
}

int named_prompt_command(const GlobalOptions& global, const PromptOptions& given) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  std::optional<std::string> session = session_of(*remote, given.session);
  if (!session) return remote->exit_code();
  PromptOptions options = given;
  options.session = std::move(*session);
  return prompt_command(global, options);
}

int named_attach_command(const GlobalOptions& global, const AttachOptions& given) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  std::optional<std::string> session = session_of(*remote, given.session);
  if (!session) return remote->exit_code();
  AttachOptions options = given;
  options.session = std::move(*session);
  return attach_command(global, options);
}

namespace {

/// Where this program is, as an absolute path.
std::string own_path() {
  io::LinuxFiles files;
  return files.canonical("/proc/self/exe").value_or("berth");
}

/// A value of a unit file: quoted, with `%` and what quotes themselves need doubled or escaped.
std::string unit_word(std::string_view text) {
  std::string word = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') word += '\\';
    if (c == '%' || c == '$') word += c;
    word += c;
  }
  return word + "\"";
}

}  // namespace

int named_unit_command(const GlobalOptions& global, const UnitOptions& options) {
  Terminal terminal(global.no_color);
  const std::string state = state_directory_of(ProgramEnvironment(), global.state);
  const std::string berth = fmt::format("{} --state {}", unit_word(own_path()), unit_word(state));
  if (options.name.empty()) {
    std::string config;
    if (!options.config.empty()) config = " --config " + unit_word(options.config);
    terminal.write(
        fmt::format("# berth.service, written by `berth agent unit`\n"
                    "[Unit]\nDescription=berth\n\n"
                    "[Service]\nType=notify\nExecStart={} serve --quiet{}\n"
                    "Restart=on-failure\nRestartSec=2\nTimeoutStopSec=60\n"
                    "KillMode=mixed\nDelegate=yes\nWatchdogSec=60\n\n"
                    "[Install]\nWantedBy=default.target\n",
                    berth, config));
    return 0;
  }
  if (!is_profile_name(options.name)) {
    terminal.complain("an agent's name matches [a-z0-9][a-z0-9-]{0,63}");
    return 1;
  }
  // berth keeps the agent running; the unit says only that it shall, and until when.
  terminal.write(
      fmt::format("# berth-agent-{0}.service, written by `berth agent unit {0}`\n"
                  "[Unit]\nDescription=The agent {0} of berth\n"
                  "Requires=berth.service\nAfter=berth.service\n\n"
                  "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
                  "ExecStart={1} agent start {0}\n"
                  "ExecStop={1} agent stop {0}\nTimeoutStopSec=infinity\n\n"
                  "[Install]\nWantedBy=default.target\n",
                  options.name, berth));
  return 0;
}

}  // namespace berth::server
