// server/cli/reference.h — the command line as data, and what is made of it: the page in docs, the
// man page, completions.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::server {

struct OptionInfo {
  std::vector<std::string> names;  ///< "-m", "--message"; of a positional: its name alone.
  std::string help;
  std::string value;                 ///< "TEXT", "INT", "FILE", ...; empty: takes none.
  std::vector<std::string> choices;  ///< Empty: anything.
  bool required = false;
  bool many = false;
};

struct CommandInfo {
  std::string name;  ///< From the program on: "berth session new".
  std::string help;
  std::string example;
  std::vector<std::pair<int, std::string>> exits;
  std::vector<OptionInfo> positionals;
  std::vector<OptionInfo> options;
  std::vector<CommandInfo> commands;
};

/// Pure functions of the command line.
std::string markdown_reference(const CommandInfo& program);
std::string man_page(const CommandInfo& program, std::string_view version);
std::string bash_completion(const CommandInfo& program);
std::string zsh_completion(const CommandInfo& program);
std::string fish_completion(const CommandInfo& program);

}  // namespace berth::server
