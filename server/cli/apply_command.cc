// berth apply | discard | restore: what a person does with a session's change.
#include <berth/core/json_writer.h>
#include <berth/server/cli/commands.h>

#include <fmt/format.h>

namespace berth::server {

namespace {

void put_paths(JsonWriter& writer, const std::vector<std::string>& paths) {
  if (paths.empty()) return;
  writer.key("paths").begin_array();
  for (const std::string& path : paths) writer.string(path);
  writer.end_array();
}

std::string apply_body(const ApplyOptions& options) {
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().member_bool("dry_run", options.dry_run);
  const std::pair<const char*, const std::string*> texts[] = {
      {"branch", &options.branch}, {"checkout", &options.checkout}, {"message", &options.message}};
  for (const auto& [name, text] : texts) {
    if (!text->empty()) writer.member(name, *text);
  }
  if (!options.author.empty()) {
    const std::size_t mail = options.author.find(" <");
    std::string address = mail == std::string::npos ? "" : options.author.substr(mail + 2);
    if (!address.empty() && address.back() == '>') address.pop_back();
    writer.key("author").begin_object();
    writer.member("name", options.author.substr(0, mail)).member("email", address).end_object();
  }
  put_paths(writer, options.paths);
  writer.end_object();
  return body;
}

/// One request whose answer is shown by `show`, or as it is with --json.
int ask(const GlobalOptions& global, std::string target, std::string body,
        void (*show)(Terminal& terminal, const JsonView& answer)) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const std::optional<RemoteAnswer> answer =
      remote->call("POST", std::move(target), std::move(body));
  if (!answer) return remote->exit_code();
  return show_answer(terminal, global, *answer, show);
}

void show_restored(Terminal& terminal, const JsonView& answer) {
  const bool dry_run = answer.get_bool("dry_run").value_or(false);
  const std::vector<JsonView> files = answer.elements("files");
  for (const JsonView& file : files) {
    const bool removed = file.get_bool("removed").value_or(false);
    terminal.write(removed ? Style::red : Style::yellow, removed ? "  remove  " : "  restore ");
    terminal.line(printable(file.get_string("path").value_or("")));
  }
  terminal.line(fmt::format("{} file{} {}", files.size(), files.size() == 1 ? "" : "s",
                            dry_run ? "would change" : "changed"));
  if (const auto ref = answer.get_string("salvage_ref")) {
    terminal.line(Style::dim, "what was there before is kept as " + printable(*ref));
  }
}

}  // namespace

int apply_command(const GlobalOptions& global, const ApplyOptions& options) {
  return ask(global, session_target(options.session, "/changes/apply"), apply_body(options),
             [](Terminal& terminal, const JsonView& answer) {
               for (const JsonView& file : answer.elements("files")) {
                 terminal.line("  " + printable(file.as_string().value_or("")));
               }
               if (answer.get_bool("unchanged").value_or(false)) {
                 terminal.line("nothing to apply: it is all there");
               } else if (const auto commit = answer.get_string("commit")) {
                 terminal.line(fmt::format("applied to {} as {}",
                                           printable(answer.get_string("branch").value_or("")),
                                           printable(*commit)));
               } else {
                 terminal.line(answer.get_bool("applied").value_or(false) ? "applied"
                                                                          : "would be applied");
               }
             });
}

int discard_command(const GlobalOptions& global, const RestoreOptions& options) {
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().member_bool("dry_run", options.dry_run);
  put_paths(writer, options.paths);
  writer.end_object();
  return ask(global, session_target(options.session, "/changes/discard"), body, show_restored);
}

int restore_command(const GlobalOptions& global, const RestoreOptions& options) {
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().member_bool("dry_run", options.dry_run).member_int64("turn", options.turn);
  put_paths(writer, options.paths);
  writer.end_object();
  return ask(global, session_target(options.session, "/changes/restore"), body, show_restored);
}

int reap_command(const GlobalOptions& global, const ReapOptions& options) {
  std::string body;
  JsonWriter(body)
      .begin_object()
      .member_bool("dry_run", !options.really)
      .member_int64("age_min_s", options.age_min_s)
      .end_object();
  return ask(global, "/v1/reap", body, [](Terminal& terminal, const JsonView& answer) {
    const std::vector<JsonView> items = answer.elements("items");
    std::int64_t bytes = 0;
    for (const JsonView& item : items) {
      const std::string verdict = printable(item.get_string("verdict").value_or(""));
      const bool goes = verdict == "removed" || verdict == "would remove";
      const std::int64_t size = item.get_int64("bytes").value_or(0);
      if (goes) bytes += size;
      terminal.write(goes ? Style::yellow : Style::dim, fmt::format("  {:<12}", verdict));
      terminal.write(fmt::format(" {:<12} {:>8} KiB  {}",
                                 printable(item.get_string("kind").value_or("")), size / 1024,
                                 printable(item.get_string("name").value_or(""))));
      terminal.line(Style::dim, "  " + printable(item.get_string("reason").value_or("")));
    }
    const bool dry_run = answer.get_bool("dry_run").value_or(true);
    terminal.line(fmt::format("{} KiB {}", bytes / 1024,
                              dry_run ? "would be freed; --yes does it" : "freed"));
  });
}

}  // namespace berth::server
