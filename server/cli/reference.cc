#include <berth/server/cli/reference.h>

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace berth::server {

namespace {

/// Those that do something, in their order.
void each_leaf(const CommandInfo& command, const std::function<void(const CommandInfo&)>& take) {
  if (command.commands.empty()) return take(command);
  for (const CommandInfo& below : command.commands) each_leaf(below, take);
}

void each_command(const CommandInfo& command, const std::function<void(const CommandInfo&)>& take) {
  take(command);
  for (const CommandInfo& below : command.commands) each_command(below, take);
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += between;
    text += word;
  }
  return text;
}

std::string value_of(const OptionInfo& option) {
  return option.choices.empty() ? option.value : joined(option.choices, "|");
}

/// `berth diff [OPTIONS] session [path]`
std::string usage(const CommandInfo& command) {
  std::string text = command.name;
  if (!command.options.empty()) text += " [OPTIONS]";
  for (const OptionInfo& positional : command.positionals) {
    std::string word = positional.names.front();
    if (positional.many) word += "...";
    text += positional.required ? " " + word : " [" + word + "]";
  }
  return text;
}

std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (text.substr(at).starts_with(what)) {
      out += by;
      at += what.size();
    } else {
      out += text[at++];
    }
  }
  return out;
}

// --- docs/cli.md ---

std::string in_table(std::string_view text) {
  return replaced(replaced(text, "|", "\\|"), "<", "&lt;");
}

void add_rows(std::string& out, const std::vector<OptionInfo>& options) {
  for (const OptionInfo& option : options) {
    std::string names = "`" + joined(option.names, "`, `") + "`";
    const std::string value = value_of(option);
    const bool positional = !option.names.front().starts_with('-');
    if (!value.empty() && (!positional || !option.choices.empty())) names += " " + in_table(value);
    out += fmt::format("| {} | {}{} |\n", names, in_table(option.help),
                       option.required ? " (needed)" : "");
  }
}

void add_options(std::string& out, const CommandInfo& command) {
  if (command.positionals.empty() && command.options.empty()) return;
  out += "\n| | |\n|---|---|\n";
  add_rows(out, command.positionals);
  add_rows(out, command.options);
}

std::string exits_of(const CommandInfo& command) {
  std::string text;
  for (const auto& [code, meaning] : command.exits) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", code, meaning);
  }
  return text;
}

// --- the man page ---

/// Backslashes and dashes as roff wants them; no line begins with a control character.
std::string roff(std::string_view text) {
  std::string out = replaced(replaced(text, "\\", "\\e"), "-", "\\-");
  out = replaced(out, "\n.", "\n\\&.");
  out = replaced(out, "\n'", "\n\\&'");
  if (out.starts_with('.') || out.starts_with('\'')) out.insert(0, "\\&");
  return out;
}

void add_roff_options(std::string& out, const std::vector<OptionInfo>& options) {
  for (const OptionInfo& option : options) {
    const std::string value = value_of(option);
    const bool shown = !value.empty() && option.names.front().starts_with('-');
    out += fmt::format(".TP\n\\fB{}\\fR{}\n{}{}\n", roff(joined(option.names, ", ")),
                       shown ? " \\fI" + roff(value) + "\\fR" : "", roff(option.help),
                       option.required ? " (needed)" : "");
  }
}

// --- completions ---

/// The words behind the program's name; empty for the program itself.
std::string path_of(const CommandInfo& command) {
  const std::size_t space = command.name.find(' ');
  return space == std::string::npos ? "" : command.name.substr(space + 1);
}

std::string last_word(const std::string& name) {
  return name.substr(name.rfind(' ') + 1);
}

std::vector<std::string> words_of(const CommandInfo& command, const CommandInfo& program) {
  std::vector<std::string> words;
  for (const CommandInfo& below : command.commands) words.push_back(last_word(below.name));
  for (const CommandInfo* of : {&command, &program}) {
    for (const OptionInfo& option : of->options) {
      words.insert(words.end(), option.names.begin(), option.names.end());
    }
    if (&command == &program) break;
  }
  return words;
}

/// `case` arms that lead from the command so far and a word to the command with that word.
std::string path_arms(const CommandInfo& program) {
  std::string arms;
  each_command(program, [&](const CommandInfo& command) {
    const std::string path = path_of(command);
    if (path.empty()) return;
    const std::size_t space = path.rfind(' ');
    const std::string before = space == std::string::npos ? "" : path.substr(0, space);
    arms += fmt::format("      \"{}:{}\") at=\"{}\" ;;\n", before, last_word(path), path);
  });
  return arms;
}

std::string quoted_for_fish(std::string_view text) {
  return "'" + replaced(replaced(text, "\\", "\\\\"), "'", "\\'") + "'";
}

std::string described_for_zsh(std::string_view word, std::string_view help) {
  std::string text = replaced(word, ":", "\\:");
  text += ':';
  text += help;
  return "'" + replaced(text, "'", "'\\''") + "'";
}

void add_fish_options(std::string& out, const CommandInfo& command, const std::string& condition) {
  for (const OptionInfo& option : command.options) {
    out += "complete -c berth" + condition;
    for (const std::string& name : option.names) {
      out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
    }
    if (!option.choices.empty()) {
      out += " -x -a " + quoted_for_fish(joined(option.choices, " "));
    } else if (!option.value.empty()) {
      out += " -r";
    }
    out += " -d " + quoted_for_fish(option.help) + "\n";
  }
}

}  // namespace

std::string markdown_reference(const CommandInfo& program) {
  std::string out =
      "# Command line\n\n"
      "Written by `berth reference markdown` from the parser itself; a test compares the two.\n\n" +
      program.help +
      "\n\nEvery command takes the options of `berth`, `--help` among them. `--json` prints JSON, "
      "a line a "
      "document. Colours are for terminals without `NO_COLOR`; what is complained of stands on "
      "stderr in one line that begins with `berth: `.\n";
  add_options(out, program);
  each_leaf(program, [&](const CommandInfo& command) {
    out += fmt::format("\n## `{}`\n\n{}.\n\n    {}\n", command.name, command.help, usage(command));
    add_options(out, command);
    out += fmt::format("\nExample: `{}`\n\nExit codes: {}.\n", command.example, exits_of(command));
  });
  return out;
}

std::string man_page(const CommandInfo& program, std::string_view version) {
  std::string out = fmt::format(
      ".TH BERTH 1 \"\" \"berth {}\" \"User Commands\"\n"
      ".SH NAME\nberth \\- keeps coding agents ready\n"
      ".SH SYNOPSIS\n\\fBberth\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR ...\n"
      ".SH DESCRIPTION\n{}\n.SH OPTIONS\nOf every command.\n",
      version, roff(program.help));
  add_roff_options(out, program.options);
  out += ".SH COMMANDS\n";
  each_leaf(program, [&](const CommandInfo& command) {
    out += fmt::format(".SS \"{}\"\n{}.\n.PP\n\\fB{}\\fR\n", command.name, roff(command.help),
                       roff(usage(command)));
    add_roff_options(out, command.positionals);
    add_roff_options(out, command.options);
    out += fmt::format(".PP\nExample: {}\n.PP\nExit codes: {}.\n", roff(command.example),
                       roff(exits_of(command)));
  });
  return out;
}

std::string bash_completion(const CommandInfo& program) {
  std::string values;
  std::string words;
  each_command(program, [&](const CommandInfo& command) {
    words += fmt::format("    \"{}\") words=\"{}\" ;;\n", path_of(command),
                         joined(words_of(command, program), " "));
    for (const OptionInfo& option : command.options) {
      if (option.value.empty()) continue;
      for (const std::string& name : option.names) {
        // Of options that all commands have, wherever they stand.
        const std::string where = &command == &program ? "*" : "\"" + path_of(command) + "\"";
        values += fmt::format("    {}:{}) words=\"{}\"; [ -z \"$words\" ] && return ;;\n", where,
                              name, joined(option.choices, " "));
      }
    }
  });
  return fmt::format(
      "# Completion of berth for bash: source it, or put it into\n"
      "# ~/.local/share/bash-completion/completions/berth\n"
      "_berth() {{\n"
      "  local current=\"${{COMP_WORDS[COMP_CWORD]}}\" previous=\"${{COMP_WORDS[COMP_CWORD-1]}}\"\n"
      "  local at=\"\" word words=\"\"\n"
      "  COMPREPLY=()\n"
      "  for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do\n"
      "    case \"$at:$word\" in\n{}    esac\n"
      "  done\n"
      "  case \"$at:$previous\" in\n{}  *)\n"
      "  case \"$at\" in\n{}  esac ;;\n"
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "}}\n"
      "complete -o default -F _berth berth\n",
      path_arms(program), values, words);
}

std::string zsh_completion(const CommandInfo& program) {
  std::string values;
  std::string words;
  each_command(program, [&](const CommandInfo& command) {
    words += fmt::format("    \"{}\") found=(", path_of(command));
    for (const CommandInfo& below : command.commands) {
      words += "\n      " + described_for_zsh(last_word(below.name), below.help);
    }
    for (const CommandInfo* of : {&command, &program}) {
      for (const OptionInfo& option : of->options) {
        for (const std::string& name : option.names) {
          words += "\n      " + described_for_zsh(name, option.help);
        }
      }
      if (&command == &program) break;
    }
    words += ") ;;\n";
    for (const OptionInfo& option : command.options) {
      if (option.value.empty()) continue;
      for (const std::string& name : option.names) {
        const std::string where = &command == &program ? "*" : "\"" + path_of(command) + "\"";
        values += option.choices.empty()
                      ? fmt::format("    {}:{}) _files; return ;;\n", where, name)
                      : fmt::format("    {}:{}) compadd {}; return ;;\n", where, name,
                                    joined(option.choices, " "));
      }
    }
  });
  return fmt::format(
      "#compdef berth\n"
      "# Completion of berth for zsh: put it as _berth into a folder of $fpath.\n"
      "_berth() {{\n"
      "  local at=\"\" word\n"
      "  local -a found\n"
      "  for word in \"${{(@)words[2,CURRENT-1]}}\"; do\n"
      "    case \"$at:$word\" in\n{}    esac\n"
      "  done\n"
      "  case \"$at:${{words[CURRENT-1]}}\" in\n{}  esac\n"
      "  case \"$at\" in\n{}  esac\n"
      "  _describe berth found || _files\n"
      "}}\n"
      "if [[ $funcstack[1] == _berth ]]; then _berth \"$@\"; else compdef _berth berth; fi\n",
      path_arms(program), values, words);
}

std::string fish_completion(const CommandInfo& program) {
  std::string out =
      "# Completion of berth for fish: put it into ~/.config/fish/completions/berth.fish\n";
  add_fish_options(out, program, "");
  each_command(program, [&](const CommandInfo& command) {
    // Seen so far: every word of the command, and none of those that may follow.
    std::string condition = " -n '";
    std::string path = path_of(command);
    for (std::size_t at = 0; at < path.size();) {
      const std::string word = path.substr(at, path.find(' ', at) - at);
      condition += "__fish_seen_subcommand_from " + word + "; and ";
      at += word.size() + 1;
    }
    std::vector<std::string> below;
    for (const CommandInfo& each : command.commands) below.push_back(last_word(each.name));
    condition +=
        below.empty() ? "true'" : "not __fish_seen_subcommand_from " + joined(below, " ") + "'";
    for (const CommandInfo& each : command.commands) {
      out += "complete -c berth" + condition + " -f -a " + last_word(each.name) + " -d " +
             quoted_for_fish(each.help) + "\n";
    }
    if (&command != &program) add_fish_options(out, command, condition);
  });
  return out;
}

}  // namespace berth::server
