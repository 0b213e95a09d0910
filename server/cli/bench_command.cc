// berth bench: hands over to the bench, a program of its own.
#include <berth/io/installed.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/terminal.h>

#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <vector>

namespace berth::server {

int bench_command(const GlobalOptions& global, const BenchOptions& options) {
  Terminal terminal(global.no_color);
  const Result<std::string> program = io::find_installed("berth-bench", "../bench/load/");
  const Result<std::string> berth = io::find_installed("berth", "");
  for (const Result<std::string>* found : {&program, &berth}) {
    if (found->has_value()) continue;
    terminal.complain(found->error().message);
    return 1;
  }
  std::vector<std::string> texts = {*program, "--berth", *berth};
  const std::pair<const char*, const std::string*> named[] = {
      {"--scenario", &options.scenarios}, {"--against", &options.against},
      {"--json", &options.json},          {"--engine", &options.engine},
      {"--peers", &options.peers},
  };
  for (const auto& [name, value] : named) {
    if (!value->empty()) texts.insert(texts.end(), {name, *value});
  }
  texts.insert(texts.end(), {"--runs", std::to_string(options.runs)});
  if (options.list) texts.emplace_back("--list");
  std::vector<char*> arguments;
  for (std::string& text : texts) arguments.push_back(text.data());
  arguments.push_back(nullptr);
  ::execv(program->c_str(), arguments.data());
  terminal.complain(*program + ": " + std::strerror(errno));
  return 1;
}

}  // namespace berth::server
