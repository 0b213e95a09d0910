// berth config print: what the server would be started with, and where each value comes from.
#include <berth/core/json_writer.h>
#include <berth/io/files_linux.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/environment.h>
#include <berth/server/cli/serve_config.h>

#include <fmt/format.h>

namespace berth::server {

namespace {

constexpr std::size_t kColumn = 48;

void print_toml(Terminal& terminal, const ConfigValue& value) {
  std::string text = fmt::format("{} = {}", value.key, value.value);
  if (!value.is_toml) text = fmt::format("# {}: {}", value.key, value.value);
  if (text.size() < kColumn) text.resize(kColumn, ' ');
  terminal.write(value.origin == "default" ? Style::dim : Style::plain, printable(text));
  terminal.line(Style::dim, "  # " + printable(value.origin));
}

}  // namespace

int config_print_command(const GlobalOptions& global, const ServeOptions& options) {
  Terminal terminal(global.no_color);
  io::LinuxFiles files;
  std::vector<ConfigValue> values;
  const Result<Config> config = read_serve_config(files, ProgramEnvironment(), options, &values);
  if (!config.has_value()) {
    terminal.complain(printable(config.error().message));
    return 1;
  }
  if (!global.json) {
    for (const ConfigValue& value : values) print_toml(terminal, value);
    return 0;
  }
  std::string json;
  JsonWriter writer(json);
  writer.begin_object().key("values").begin_array();
  for (const ConfigValue& value : values) {
    writer.begin_object()
        .member("key", value.key)
        .member("value", value.value)
        .member("origin", value.origin)
        .end_object();
  }
  writer.end_array().end_object();
  terminal.line(json);
  return 0;
}

}  // namespace berth::server
