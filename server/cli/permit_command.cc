// berth permit: lists what waits for a human, and answers it.
#include <berth/core/json_writer.h>
#include <berth/core/uri.h>
#include <berth/server/cli/commands.h>

#include <fmt/format.h>

#include <utility>

namespace berth::server {

namespace {

std::string text_of(const JsonView& view, std::string_view path) {
  return printable(view.get_string(path).value_or("-"));
}

void show_interaction(Terminal& terminal, const std::string& session, const JsonView& interaction) {
  terminal.write(Style::bold, text_of(interaction, "id"));
  terminal.line(fmt::format("  {}: {}", text_of(interaction, "kind"),
                            text_of(interaction, "request.toolCall.title")));
  for (const JsonView& option : interaction.elements("request.options")) {
    terminal.line(fmt::format("    berth permit {} {} {}    # {}", session,
                              text_of(interaction, "id"), text_of(option, "optionId"),
                              text_of(option, "name")));
  }
}

std::string answer_body(const PermitOptions& options) {
  std::string body;
  JsonWriter writer(body);
  writer.begin_object();
  if (!options.option.empty()) {
    writer.member("option_id", options.option);
  } else if (options.cancel) {
    writer.member("outcome", "cancelled");
  } else {
    writer.member("kind", options.allow ? "allow_once" : "reject_once");
  }
  writer.end_object();
  return body;
}

}  // namespace

int permit_command(const GlobalOptions& global, const PermitOptions& options) {
  Terminal terminal(global.no_color);
  const bool answers = !options.option.empty() || options.allow || options.reject || options.cancel;
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  std::string id = options.interaction;
  if (id.empty() || !answers) {
    const std::optional<RemoteAnswer> open =
        remote->call("GET", session_target(options.session, "/interactions?state=open"));
    if (!open) return remote->exit_code();
    const std::vector<JsonView> all = open->json().elements("interactions");
    if (!answers) {
      if (global.json) {
        terminal.line(open->response.body);
        return 0;
      }
      if (all.empty()) terminal.note("nothing waits for an answer");
      for (const JsonView& interaction : all) {
        show_interaction(terminal, options.session, interaction);
      }
      return 0;
    }
    if (all.size() != 1) {
      terminal.complain(all.empty() ? "nothing waits for an answer"
                                    : "several wait for an answer: name one");
      return 1;
    }
    id = std::string(all[0].get_string("id").value_or(""));
  }
  std::string rest = "/interactions/";
  append_percent_encoded(rest, id);
  const std::optional<RemoteAnswer> answer =
      remote->call("POST", session_target(options.session, rest), answer_body(options));
  if (!answer) return remote->exit_code();
  terminal.line(global.json ? answer->response.body : "answered " + printable(id));
  return 0;
}

}  // namespace berth::server
