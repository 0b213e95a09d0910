// berth session new | list | show | close | delete | cancel | transcript
#include <berth/core/json_writer.h>
#include <berth/io/files_linux.h>
#include <berth/server/cli/commands.h>
#include <berth/server/sessions/repository_url.h>

#include <fmt/format.h>

#include <utility>

namespace berth::server {

namespace {

// What the session does now, in a word.
std::string activity(const JsonView& session) {
  const std::string state = text_of(session, "state");
  if (state != "open") return state;
  const std::optional<std::string_view> turn = session.get_string("turn.state");
  std::string text = turn ? printable(*turn) : "idle";
  const std::int64_t queued = session.get_int64("queued").value_or(0);
  if (queued > 0) text += fmt::format(" +{}", queued);
  if (session.get_bool("held").value_or(false)) text += " held";
  return text;
}

void show_session(Terminal& terminal, const JsonView& session) {
  const auto row = [&](std::string_view name, const std::string& value) {
    if (value.empty() || value == "-") return;
    terminal.write(Style::dim, fmt::format("{:<12}", name));
    terminal.line(value);
  };
  terminal.line(Style::bold, text_of(session, "id"));
  row("title", text_of(session, "title"));
  row("state", activity(session));
  row("agent", text_of(session, "agent"));
  row("permission", text_of(session, "permission"));
  row("workspace", text_of(session, "workspace.mode"));
  row("directory", text_of(session, "workspace.directory"));
  row("repository", text_of(session, "workspace.repository"));
  row("url", text_of(session, "workspace.url"));
  row("branch", text_of(session, "workspace.branch"));
  row("base", text_of(session, "workspace.base_commit"));
  row("kept", text_of(session, "workspace.kept"));
  row("events", std::to_string(session.get_int64("last_seq").value_or(0)));
  row("created", text_of(session, "created_at"));
  row("updated", text_of(session, "updated_at"));
}

int simple_call(const GlobalOptions& global, const std::string& method, const std::string& target,
                const std::string& said) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> answer = remote->call(method, target);
  if (!answer) return remote->exit_code();
  if (global.json) {
    if (!answer->response.body.empty()) terminal.line(answer->response.body);
    return 0;
  }
  terminal.line(said);
  const std::string kept = text_of(answer->json(), "workspace.kept");
  if (kept != "-") terminal.line(Style::yellow, "the worktree is kept: " + kept);
  return 0;
}

}  // namespace

bool make_absolute(Terminal& terminal, std::string& path) {
  if (path.empty()) return true;
  io::LinuxFiles files;
  Result<std::string> real = files.canonical(path);
  if (!real.has_value()) {
    terminal.complain(real.error().message);
    return false;
  }
  path = std::move(*real);
  return true;
}

int session_new_command(const GlobalOptions& global, const SessionNewOptions& given) {
  Terminal terminal(global.no_color);
  SessionNewOptions options = given;
  if (!is_repository_url(options.repository) && !make_absolute(terminal, options.repository)) {
    return 1;
  }
  if (!make_absolute(terminal, options.directory)) return 1;
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  std::string body;
  JsonWriter writer(body);
  writer.begin_object();
  const std::pair<const char*, const std::string*> members[] = {
      {"id", &options.id},
      {"agent", &options.agent},
      {"repository", &options.repository},
      {"base", &options.base},
      {"fetch", &options.fetch},
      {"directory", &options.directory},
      {"workspace", &options.workspace},
      {"title", &options.title},
      {"permission", &options.permission},
  };
  for (const auto& [name, value] : members) {
    if (!value->empty()) writer.member(name, *value);
  }
  writer.end_object();
  const std::optional<RemoteAnswer> answer = remote->call("POST", "/v1/sessions", std::move(body));
  if (!answer) return remote->exit_code();
  // Scripts want the id alone: `id=$(berth session new)`.
  if (!global.json && !terminal.is_tty()) {
    terminal.line(text_of(answer->json(), "id"));
    return 0;
  }
  return show_answer(terminal, global, *answer, show_session);
}

int session_list_command(const GlobalOptions& global, int limit) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> answer =
      remote->call("GET", fmt::format("/v1/sessions?limit={}", limit));
  if (!answer) return remote->exit_code();
  if (global.json) {
    terminal.line(answer->response.body);
    return 0;
  }
  const std::vector<JsonView> sessions = answer->json().elements("sessions");
  if (sessions.empty()) terminal.note("no sessions; make one with `berth session new`");
  for (const JsonView& session : sessions) {
    terminal.write(Style::bold, fmt::format("{:<32}", text_of(session, "id")));
    terminal.write(fmt::format(" {:<14} {:<12} {:<10} {}", activity(session),
                               text_of(session, "agent"), text_of(session, "workspace.mode"),
                               text_of(session, "updated_at")));
    terminal.line(Style::dim, "  " + text_of(session, "title", ""));
  }
  if (answer->json().get_string("next")) terminal.note("there are more: use --limit");
  return 0;
}

int session_show_command(const GlobalOptions& global, const std::string& id) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> answer = remote->call("GET", session_target(id));
  if (!answer) return remote->exit_code();
  return show_answer(terminal, global, *answer, show_session);
}

int session_close_command(const GlobalOptions& global, const std::string& id) {
  return simple_call(global, "POST", session_target(id, "/close"), "closed " + id);
}

int session_transcript_command(const GlobalOptions& global, const std::string& id) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> answer = remote->call(
      "GET",
      session_target(id, global.json ? "/transcript?format=json" : "/transcript?format=markdown"));
  if (!answer) return remote->exit_code();
  terminal.write(printable(answer->response.body));
  return 0;
}

int session_state_command(const GlobalOptions& global, const std::string& id,
                          const std::string& verb) {
  return simple_call(global, "POST", session_target(id, "/" + verb), verb + "d " + id);
}

int session_delete_command(const GlobalOptions& global, const std::string& id, bool force) {
  return simple_call(global, "DELETE", session_target(id, force ? "?force=1" : ""),
                     "deleted " + id);
}

int session_cancel_command(const GlobalOptions& global, const std::string& id) {
  return simple_call(global, "POST", session_target(id, "/cancel"), "cancelled " + id);
}

}  // namespace berth::server
