// berth doctor: what this machine can do. berth version.
#include <berth/core/json_writer.h>
#include <berth/core/log.h>
#include <berth/core/scope.h>
#include <berth/core/version.h>
#include <berth/git/library.h>
#include <berth/io/platform_linux.h>
#include <berth/io/select.h>
#include <berth/io/uring_probe.h>
#include <berth/server/cli/cli.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/doctor.h>
#include <berth/server/cli/environment.h>
#include <berth/server/config.h>
#include <berth/server/sessions/git_command_process.h>

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace berth::server {

namespace {

constexpr auto kGitAnswerMax = std::chrono::seconds(5);

// The engine that `berth serve` would run on, in this environment.
Finding look_at_engine(const io::UringProbe& probe) {
  const Result<io::EngineChoice> choice = engine_from_environment();
  if (!choice.has_value()) return {Finding::Kind::bad, "engine", choice.error().message};
  const Result<io::EngineDecision> decision = io::decide_engine(*choice, probe);
  if (!decision.has_value()) return {Finding::Kind::bad, "engine", decision.error().message};
  std::string text = decision->engine == io::EngineChoice::uring ? "uring" : "asio (epoll)";
  if (*choice != io::EngineChoice::automatic) {
    text += ", as BERTH_ENGINE says";
  } else if (decision->engine == io::EngineChoice::asio) {
    text += ", since io_uring cannot be used here";
  }
  return {Finding::Kind::good, "engine", std::move(text)};
}

Task<void> ask_git(io::Platform* platform, GitCommandProcess* command, std::string* version) {
  Result<git::GitOutput> said =
      co_await platform->offload().run(io::Lane::git, platform->reactor(), [command] {
        git::GitRun run;
        run.arguments = {"version"};
        run.directory = "/";
        run.patience.deadline = std::chrono::steady_clock::now() + kGitAnswerMax;
        return command->run(run);
      });
  if (said.has_value() && said->exit_code == 0) *version = said->output;
  co_await command->close();
  platform->reactor().stop();
}

/// The program for repositories that libgit2 cannot read, as `berth serve` would find it.
Finding look_at_git() {
  NullLog log;
  Result<std::unique_ptr<io::Platform>> platform = io::make_linux_platform(log, {});
  if (!platform.has_value()) return {Finding::Kind::note, "git", platform.error().message};
  std::string version;
  {
    GitCommandProcess command(**platform, "/");
    Scope scope((*platform)->reactor());
    scope.spawn(ask_git(platform->get(), &command, &version));
    (*platform)->reactor().run();
  }
  const std::string library = "libgit2 " + git::library_version();
  while (version.ends_with('\n')) version.pop_back();
  if (version.empty()) {
    return {Finding::Kind::note, "git",
            library +
                "; no git command in PATH, which sha256, partial clones and sparse "
                "checkouts need"};
  }
  return {Finding::Kind::good, "git", library + ", " + printable(version)};
}

std::vector<Finding> look_at_machine(const GlobalOptions& global) {
  std::vector<Finding> findings;
  findings.push_back({Finding::Kind::good, "berth", kVersion});
  const io::UringProbe probe = io::probe_uring();
  findings.push_back(
      {probe.usable ? Finding::Kind::good : Finding::Kind::note, "io_uring", probe.reason});
  findings.push_back(look_at_engine(probe));
  findings.push_back(look_at_git());
  const std::string state = state_directory_of(ProgramEnvironment(), global.state);
  for (std::vector<Finding> more : {look_at_system(state), look_at_state(state)}) {
    findings.insert(findings.end(), more.begin(), more.end());
  }
  std::vector<std::pair<std::string, std::string>> programs;
  for (const auto& [name, profile] : built_in_agents("")) {
    if (name != "scripted") programs.emplace_back(name, profile.command);
  }
  findings.push_back(look_at_agents(programs));
  return findings;
}

void look_at_server(const GlobalOptions& global, Terminal& terminal,
                    std::vector<Finding>& findings) {
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) {
    findings.push_back({Finding::Kind::note, "server", "not running"});
    return;
  }
  const std::optional<RemoteAnswer> answer = remote->call("GET", "/v1/info");
  if (!answer) {
    findings.push_back({Finding::Kind::note, "server", "no answer from " + remote->url()});
    return;
  }
  const JsonView info = answer->json();
  const auto text = [&](std::string_view path) {
    return printable(info.get_string(path).value_or("?"));
  };
  findings.push_back(
      {Finding::Kind::good, "server",
       fmt::format("{} berth {} (pid {}, engine {}, {} MiB)", remote->url(), text("version"),
                   info.get_int64("pid").value_or(0), text("engine"),
                   info.get_int64("rss_bytes").value_or(0) / (1 << 20))});
  findings.push_back({Finding::Kind::good, "processes", text("process_kill")});
  const std::string check = text("store.check");
  const bool sound = check == "sound" || check == "not_needed" || check == "running";
  std::string store = "check after the last end: " + check;
  for (const JsonView& problem : info.elements("store.problems")) {
    store += "\n" + printable(problem.as_string().value_or("?"));
  }
  findings.push_back({sound ? Finding::Kind::good : Finding::Kind::bad, "store", store});
  const bool confined = info.get_string("launch.default").value_or("") != "none";
  findings.push_back({confined ? Finding::Kind::good : Finding::Kind::note, "launch",
                      text("launch.default") + ": " + text("launch.reason")});
  const bool sandbox = info.get_bool("launch.sandbox").value_or(false);
  findings.push_back({sandbox ? Finding::Kind::good : Finding::Kind::note, "sandbox",
                      text("launch.sandbox_reason")});
  std::string agents;
  for (const JsonView& agent : info.elements("agents")) {
    if (!agents.empty()) agents += ", ";
    agents += printable(agent.as_string().value_or("?"));
  }
  findings.push_back({Finding::Kind::good, "agents", agents});
}

}  // namespace

int doctor_command(const GlobalOptions& global) {
  Terminal terminal(global.no_color);
  std::vector<Finding> findings = look_at_machine(global);
  bool healthy = true;
  for (const Finding& finding : findings) healthy = healthy && finding.kind != Finding::Kind::bad;
  if (healthy) look_at_server(global, terminal, findings);
  std::string json;
  JsonWriter writer(json);
  writer.begin_object().member_bool("ok", healthy).key("findings").begin_array();
  const char* const words[] = {"good", "note", "bad"};
  const char* const marks[] = {"✓", "·", "✗"};
  const Style styles[] = {Style::green, Style::dim, Style::red};
  for (const Finding& finding : findings) {
    const auto kind = static_cast<std::size_t>(finding.kind);
    writer.begin_object()
        .member("name", finding.name)
        .member("kind", words[kind])
        .member("text", finding.text)
        .end_object();
    if (global.json) continue;
    terminal.write(styles[kind], marks[kind]);
    terminal.line(fmt::format(" {:<10} {}", finding.name, finding.text));
  }
  writer.end_array().end_object();
  if (global.json) terminal.line(json);
  return healthy ? 0 : 1;
}

int doctor_fix_command(const GlobalOptions& global, bool really) {
  Terminal terminal(global.no_color);
  const std::string state = state_directory_of(ProgramEnvironment(), global.state);
  std::string json;
  JsonWriter writer(json);
  writer.begin_object().member_bool("dry_run", !really).key("repairs").begin_array();
  bool mended = true;
  for (const Repair& repair : find_repairs(state)) {
    const Result<void> done = really ? repair.mend() : Result<void>();
    mended = mended && done.has_value();
    const std::string outcome = !really            ? "would be mended"
                                : done.has_value() ? "mended"
                                                   : printable(done.error().message);
    writer.begin_object().member("what", repair.what).member("outcome", outcome).end_object();
    if (!global.json) terminal.line(repair.what + ": " + outcome);
  }
  writer.end_array().end_object();
  if (global.json) terminal.line(json);
  return mended ? 0 : 1;
}

int version_command(const GlobalOptions& global) {
  Terminal terminal(global.no_color);
  terminal.line(global.json ? fmt::format(R"({{"name":"berth","version":"{}"}})", kVersion)
                            : fmt::format("berth {}", kVersion));
  return 0;
}

}  // namespace berth::server
