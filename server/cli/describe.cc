#include <berth/server/cli/describe.h>

#include <berth/server/cli/exit_codes.h>

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include <map>

namespace berth::server {

namespace {

/// An example of every command, by its words behind `berth`.
const std::map<std::string_view, std::string_view>& examples() {
  static const std::map<std::string_view, std::string_view> all = {
      {"serve", "berth serve --config berth.toml --listen 127.0.0.1:8420"},
      {"session new", "berth session new fix-parser --repo . --agent opencode"},
      {"session list", "berth session list --limit 20"},
      {"session show", "berth session show fix-parser --json"},
      {"session close", "berth session close fix-parser"},
      {"session delete", "berth session delete fix-parser --force"},
      {"session cancel", "berth session cancel fix-parser"},
      {"session revive", "berth session revive fix-parser"},
      {"session archive", "berth session archive fix-parser"},
      {"session unarchive", "berth session unarchive fix-parser"},
      {"session transcript", "berth session transcript fix-parser"},
      {"prompt", "berth prompt fix-parser \"make the tests pass\" --timeout 600"},
      {"attach", "berth attach fix-parser"},
      {"diff", "berth diff fix-parser | git apply"},
      {"apply", "berth apply fix-parser --branch main -m \"Fix the parser\""},
      {"discard", "berth discard fix-parser src/scratch.c"},
      {"restore", "berth restore fix-parser 2 --dry-run"},
      {"permit", "berth permit fix-parser --allow"},
      {"batch", "berth batch tasks.jsonl -j 8 --agent opencode --timeout 1800"},
      {"acp", "berth acp --agent opencode --worktree"},
      {"store backup", "berth store backup /backup/berth.db"},
      {"store export", "berth store export > berth.jsonl"},
      {"store import", "berth store import --state /tmp/copy < berth.jsonl"},
      {"store check", "berth store check --from /backup/berth.db"},
      {"agent start", "berth agent start clerk --profile worker --repo . -- --verbose"},
      {"agent stop", "berth agent stop clerk --now"},
      {"agent restart", "berth agent restart clerk"},
      {"agent reset", "berth agent reset clerk"},
      {"agent rm", "berth agent rm clerk --force"},
      {"agent purge", "berth agent purge clerk"},
      {"agent status", "berth agent status clerk --json"},
      {"agent logs", "berth agent logs clerk -n 100 -f"},
      {"agent attach", "berth agent attach clerk"},
      {"agent prompt", "berth agent prompt clerk \"sort the mail\" --detach"},
      {"agent unit", "berth agent unit clerk > ~/.config/systemd/user/berth-agent-clerk.service"},
      {"agent ls", "berth agent ls"},
      {"agent probe", "berth agent probe opencode"},
      {"agent decide", "berth agent decide fix-parser opencode history"},
      {"token create", "berth token create page --scope sessions:view --days 30"},
      {"token list", "berth token list"},
      {"token revoke", "berth token revoke tok_01"},
      {"config print", "berth config print --config berth.toml"},
      {"completions", "berth completions bash > ~/.local/share/bash-completion/completions/berth"},
      {"bench", "berth bench --scenario full-100,paced-500 --against bare,node --runs 3"},
      {"openapi", "berth openapi > openapi.json"},
      {"doctor", "berth doctor --json"},
      {"version", "berth version"},
  };
  return all;
}

/// What they exit with beyond what all do.
const std::map<std::string_view, std::vector<std::pair<int, std::string>>>& own_exits() {
  static const std::map<std::string_view, std::vector<std::pair<int, std::string>>> all = {
      {"prompt", {{kExitTimedOut, "the time was over, the turn goes on"}}},
      {"agent prompt", {{kExitTimedOut, "the time was over, the turn goes on"}}},
      {"batch", {{kExitTimedOut, "tasks failed by their time limit, and none otherwise"}}},
  };
  return all;
}

std::vector<std::pair<int, std::string>> exits_of(std::string_view path) {
  std::vector<std::pair<int, std::string>> exits = {
      {0, "done"}, {1, "it failed, the reason is on stderr"}, {2, "wrong usage"}};
  const auto own = own_exits().find(path);
  if (own != own_exits().end()) {
    exits.insert(exits.end(), own->second.begin(), own->second.end());
  }
  exits.emplace_back(kExitInterrupted, "Ctrl-C");
  return exits;
}

std::string path_below(const std::string& path, const CLI::App& app) {
  return path.empty() ? app.get_name() : path + " " + app.get_name();
}

void add_examples_below(CLI::App& app, const std::string& path) {
  const std::vector<CLI::App*> below = app.get_subcommands([](CLI::App*) { return true; });
  for (CLI::App* each : below) add_examples_below(*each, path_below(path, *each));
  const auto example = examples().find(path);
  if (!below.empty() || example == examples().end()) return;
  std::string exits;
  for (const auto& [code, meaning] : exits_of(path))
    exits += fmt::format("\n  {:<3} {}", code, meaning);
  app.footer(fmt::format("Example:\n  {}\n\nExit codes:{}", example->second, exits));
}

/// `TEXT:{a,b}` -> its choices.
std::vector<std::string> choices_of(const std::string& type) {
  std::vector<std::string> choices;
  const std::size_t open = type.find('{');
  const std::size_t close = type.find('}');
  if (open == std::string::npos || close == std::string::npos) return choices;
  std::string rest = type.substr(open + 1, close - open - 1) + ",";
  for (std::size_t comma = rest.find(','); comma != std::string::npos; comma = rest.find(',')) {
    choices.push_back(rest.substr(0, comma));
    rest.erase(0, comma + 1);
  }
  return choices;
}

OptionInfo describe_option(const CLI::Option& option) {
  OptionInfo info;
  if (option.get_positional()) {
    info.names.push_back(option.get_name(true));
  } else {
    for (const std::string& name : option.get_snames()) info.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) info.names.push_back("--" + name);
  }
  info.help = option.get_description();
  if (option.get_type_size_max() > 0) {
    const std::string type = option.get_type_name();
    info.choices = choices_of(type);
    info.value = type.substr(0, type.find_first_of(":[ "));
  }
  info.required = option.get_required();
  info.many = option.get_items_expected_max() > 1;
  return info;
}

CommandInfo describe_below(const CLI::App& app, const std::string& path) {
  CommandInfo info;
  info.name = path.empty() ? "berth" : "berth " + path;
  info.help = app.get_description();
  const auto example = examples().find(path);
  if (example != examples().end()) info.example = example->second;
  info.exits = exits_of(path);
  for (const CLI::Option* option : app.get_options()) {
    const bool hidden = option->get_group().empty();
    const bool help = option == app.get_help_ptr() && !path.empty();
    if (hidden || help) continue;
    (option->get_positional() ? info.positionals : info.options)
        .push_back(describe_option(*option));
  }
  for (const CLI::App* below : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (below->get_group().empty()) continue;
    info.commands.push_back(describe_below(*below, path_below(path, *below)));
  }
  return info;
}

}  // namespace

void add_examples(CLI::App& program) {
  add_examples_below(program, "");
}

CommandInfo describe(const CLI::App& program) {
  return describe_below(program, "");
}

}  // namespace berth::server
