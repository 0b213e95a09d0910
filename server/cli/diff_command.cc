// berth diff: what a session changed in its workspace.
#include <berth/core/json_writer.h>
#include <berth/core/uri.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/transcript.h>

#include <fmt/format.h>

#include <algorithm>

namespace berth::server {

namespace {

std::string with_span(const DiffOptions& options, std::string_view rest) {
  std::string target = session_target(options.session, rest);
  char separator = '?';
  const auto add = [&](std::string_view name, std::string_view value) {
    target += separator;
    target += name;
    target += '=';
    append_percent_encoded(target, value);
    separator = '&';
  };
  if (!options.path.empty()) add("path", options.path);
  if (!options.from.empty()) add("from", options.from);
  if (!options.to.empty()) add("to", options.to);
  return target;
}

Style style_of(std::string_view line) {
  if (line.starts_with("diff ") || line.starts_with("+++") || line.starts_with("---") ||
      line.starts_with("index ")) {
    return Style::bold;
  }
  if (line.starts_with("@@")) return Style::cyan;
  if (line.starts_with('+')) return Style::green;
  if (line.starts_with('-')) return Style::red;
  return Style::plain;
}

void show_patch(Terminal& terminal, std::string_view patch) {
  while (!patch.empty()) {
    const std::size_t end = std::min(patch.find('\n'), patch.size());
    const std::string_view line = patch.substr(0, end);
    terminal.line(style_of(line), printable(line));
    patch.remove_prefix(std::min(end + 1, patch.size()));
  }
}

}  // namespace

int diff_command(const GlobalOptions& global, const DiffOptions& options) {
  Terminal terminal(global.no_color);
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const bool whole = options.path.empty();
  DiffOptions span = options;
  span.path.clear();
  std::optional<RemoteAnswer> change = remote->call("GET", with_span(span, "/changes"));
  if (!change) return remote->exit_code();
  std::optional<RemoteAnswer> patch;
  if (!options.stat) {
    const char* form = options.mail ? "/changes/mail" : "/changes/patch";
    patch = remote->call("GET", with_span(options, form));
    if (!patch) return remote->exit_code();
  }
  if (global.json) {
    std::string out;
    JsonWriter writer(out);
    writer.begin_object().member_raw("change", change->json().raw());
    if (patch) writer.member("patch", patch->response.body);
    writer.end_object();
    terminal.line(out);
    return 0;
  }
  // Into a file or a pipe goes what `git apply` takes, and nothing else.
  if ((!terminal.is_tty() || options.mail) && patch) {
    terminal.write(patch->response.body);
    return 0;
  }
  if (whole) {
    show_files(terminal, change->json());
    terminal.line(Style::dim, "  " + change_summary(change->json()));
  }
  if (patch) show_patch(terminal, patch->response.body);
  if (patch && patch->response.header("x-berth-truncated") == "1") {
    terminal.note("the patch is cut at the server's limit; ask for single paths");
  }
  return 0;
}

}  // namespace berth::server
