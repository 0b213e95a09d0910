// berth permit: lists what waits for a human, and answers it.
#include <berth/core/json_writer.h>
#include <berth/core/uri.h>
#include <berth/server/cli/commands.h>

#include <fmt/format.h>

#include <utility>

namespace berth::server {

namespace {

void show_interaction(Terminal& terminal, const std::string& session, const JsonView& interaction) {
  terminal.write(Style::bold, text_of(interaction, "id"));
  const bool asks_permission = interaction.get_string("kind").value_or("") == "permission";
  terminal.line(fmt::format(
      "  {}: {}", text_of(interaction, "kind"),
      text_of(interaction, asks_permission ? "request.toolCall.title" : "request.message")));
  if (!asks_permission) {
    terminal.line(fmt::format("    berth permit {} {} --accept '{{...}}'    # or --decline",
                              session, text_of(interaction, "id")));
  }
  for (const JsonView& option : interaction.elements("request.options")) {
    terminal.line(fmt::format("    berth permit {} {} {}    # {}", session,
                              text_of(interaction, "id"), text_of(option, "optionId"),
                              text_of(option, "name")));
  }
}

void write_answer(JsonWriter& writer, const PermitOptions& options) {
  if (!options.accept.empty()) {
    writer.member("action", "accept").member_raw("content", options.accept);
  } else if (options.decline) {
    writer.member("action", "decline");
  } else if (!options.option.empty()) {
    writer.member("option_id", options.option);
  } else if (options.cancel) {
    writer.member("outcome", "cancelled");
  } else {
    writer.member("kind", options.allow ? "allow_once" : "reject_once");
  }
}

std::string answer_body(const PermitOptions& options) {
  std::string body;
  JsonWriter writer(body);
  writer.begin_object();
  write_answer(writer, options);
  writer.end_object();
  return body;
}

std::string answers_body(const PermitOptions& options, const std::vector<JsonView>& open) {
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().key("answers").begin_array();
  for (const JsonView& interaction : open) {
    writer.begin_object().member("id", interaction.get_string("id").value_or(""));
    write_answer(writer, options);
    writer.end_object();
  }
  writer.end_array().end_object();
  return body;
}

}  // namespace

int permit_command(const GlobalOptions& global, const PermitOptions& options) {
  Terminal terminal(global.no_color);
  const bool answers = !options.option.empty() || options.allow || options.reject ||
                       options.cancel || options.decline || !options.accept.empty();
  if (!options.accept.empty() && !JsonDoc::parse(options.accept).has_value()) {
    terminal.complain("--accept: is no JSON");
    return 1;
  }
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
    if (options.all && !all.empty()) {
      const std::optional<RemoteAnswer> answer = remote->call(
          "POST", session_target(options.session, "/interactions"), answers_body(options, all));
      if (!answer) return remote->exit_code();
      terminal.line(global.json ? answer->response.body : fmt::format("answered {}", all.size()));
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
