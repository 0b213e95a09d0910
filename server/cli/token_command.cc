// berth token create | list | revoke
#include <berth/core/json_writer.h>
#include <berth/core/uri.h>
#include <berth/server/cli/commands.h>

#include <fmt/format.h>

namespace berth::server {

namespace {

std::string words_of(const JsonView& scopes) {
  std::string text;
  for (const JsonView& scope : scopes.elements()) {
    if (!text.empty()) text += ' ';
    text += printable(scope.as_string().value_or(""));
  }
  return text;
}

}  // namespace

int token_create_command(const GlobalOptions& global, const TokenCreateOptions& options) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().member("name", options.name).key("scopes").begin_array();
  for (const std::string& scope : options.scopes) writer.string(scope);
  writer.end_array();
  if (!options.project.empty()) writer.member("project", options.project);
  if (options.days > 0) writer.key("expires_in").number(options.days * 24 * 3600);
  writer.end_object();
  const std::optional<RemoteAnswer> answer = remote->call("POST", "/v1/tokens", body);
  if (!answer) return remote->exit_code();
  if (global.json) {
    terminal.line(answer->response.body);
    return 0;
  }
  terminal.line(text_of(answer->json(), "token", ""));
  terminal.note("berth: this is shown once; end it with: berth token revoke " +
                text_of(answer->json(), "id", ""));
  return 0;
}

int token_list_command(const GlobalOptions& global) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> answer = remote->call("GET", "/v1/tokens");
  if (!answer) return remote->exit_code();
  if (global.json) {
    terminal.line(answer->response.body);
    return 0;
  }
  for (const JsonView& token : answer->json().elements("tokens")) {
    const std::string state = text_of(token, "state", "");
    terminal.write(Style::bold, text_of(token, "id", ""));
    terminal.write(state == "good" ? Style::green : Style::dim, fmt::format("  {:<8}", state));
    terminal.line(fmt::format("{:<12}  {:<40}  {}", text_of(token, "project", "(every)"),
                              words_of(token.find("scopes")), text_of(token, "name", "")));
  }
  return 0;
}

int token_revoke_command(const GlobalOptions& global, const std::string& id) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  std::string target = "/v1/tokens/";
  append_percent_encoded(target, id);
  const std::optional<RemoteAnswer> answer = remote->call("DELETE", target);
  return answer ? 0 : remote->exit_code();
}

}  // namespace berth::server
