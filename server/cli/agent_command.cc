// berth agent ls | probe | decide
#include <berth/core/json_writer.h>
#include <berth/core/uri.h>
#include <berth/server/cli/commands.h>

#include <fmt/format.h>

namespace berth::server {

namespace {

void show_decision(Terminal& terminal, const std::string& session, const JsonView& agent) {
  terminal.line(Style::yellow, "    could not be restored: " + text_of(agent, "decision.message"));
  for (const JsonView& choice : agent.elements("decision.choices")) {
    terminal.line(fmt::format("    berth agent decide {} {} {}", session, text_of(agent, "agent"),
                              printable(choice.as_string().value_or("-"))));
  }
}

}  // namespace

int agent_list_command(const GlobalOptions& global, const std::string& session) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> answer =
      remote->call("GET", session.empty() ? "/v1/info" : session_target(session, "/agents"));
  if (!answer) return remote->exit_code();
  const JsonView agents = answer->json().find("agents");
  if (global.json) {
    terminal.line(session.empty() ? agents.raw() : answer->response.body);
    return 0;
  }
  for (const JsonView& agent : agents.elements()) {
    if (session.empty()) {
      terminal.line(printable(agent.as_string().value_or("-")));
      continue;
    }
    terminal.write(Style::bold, fmt::format("{:<16}", text_of(agent, "agent")));
    terminal.line(fmt::format(" {:<14} next: {:<8} pid {}", text_of(agent, "state"),
                              text_of(agent, "next"), agent.get_int64("pid").value_or(0)));
    if (agent.find("decision").is_object()) show_decision(terminal, session, agent);
  }
  return 0;
}

int agent_decide_command(const GlobalOptions& global, const std::string& session,
                         const std::string& agent, const std::string& choice) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  std::string rest = "/agents/";
  append_percent_encoded(rest, agent);
  std::string body;
  JsonWriter(body).begin_object().member("choice", choice).end_object();
  const std::optional<RemoteAnswer> answer =
      remote->call("POST", session_target(session, rest + "/decision"), body);
  if (!answer) return remote->exit_code();
  terminal.line(global.json ? answer->response.body
                            : fmt::format("{}: {}", printable(agent), choice));
  return 0;
}

int agent_probe_command(const GlobalOptions& global, const std::string& agent) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  std::string target = "/v1/agents/";
  append_percent_encoded(target, agent);
  const std::optional<RemoteAnswer> answer = remote->call("POST", target + "/probe");
  if (!answer) return remote->exit_code();
  if (global.json) {
    terminal.line(answer->response.body);
    return 0;
  }
  const JsonView root = answer->json();
  terminal.line(Style::green, fmt::format("{} answers in {} ms, protocol {}", printable(agent),
                                          root.get_int64("ms").value_or(0),
                                          root.get_int64("protocol_version").value_or(0)));
  for (const char* part : {"agent_info", "capabilities", "auth_methods"}) {
    if (!root.find(part).present()) continue;
    terminal.write(Style::dim, fmt::format("{:<13}", part));
    terminal.line(printable(root.raw(part)));
  }
  return 0;
}

}  // namespace berth::server
