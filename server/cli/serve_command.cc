#include <berth/server/cli/serve_command.h>

#include <berth/core/clock.h>
#include <berth/core/json_writer.h>
#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/git/library.h>
#include <berth/io/awaitables.h>
#include <berth/io/platform_linux.h>
#include <berth/io/signals.h>
#include <berth/io/systemd.h>
#include <berth/server/app.h>
#include <berth/server/cli/environment.h>
#include <berth/server/cli/first_process.h>
#include <berth/server/cli/serve_config.h>
#include <berth/server/sessions/git_command_process.h>
#include <berth/server/sessions/workspaces_git.h>
#include <berth/server/store/sqlite_store.h>

#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace berth::server {

namespace {

class StderrLog final : public LogSink {
 public:
  void write(LogLevel level, std::string_view component, std::string_view message,
             std::string_view trace_id) override {
    const char* const names[] = {"debug", "info", "warning", "error"};
    std::string line = std::string("berth ") + names[static_cast<unsigned char>(level)] + " [" +
                       std::string(component) + "] " + std::string(message);
    if (!trace_id.empty()) line += " trace_id=" + std::string(trace_id);
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), stderr);
  }
};

/// A line of JSON for each message, for those who collect logs.
class JsonLog final : public LogSink {
 public:
  void write(LogLevel level, std::string_view component, std::string_view message,
             std::string_view trace_id) override {
    const char* const names[] = {"debug", "info", "warning", "error"};
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    std::string time;
    append_rfc3339(time, WallTime(now.tv_sec * 1000 + now.tv_nsec / 1'000'000));
    std::string line;
    JsonWriter writer(line);
    writer.begin_object()
        .member("time", time)
        .member("level", names[static_cast<unsigned char>(level)])
        .member("component", component)
        .member("message", message);
    if (!trace_id.empty()) writer.member("trace_id", trace_id);
    writer.end_object();
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), stderr);
  }
};

int complain(const Error& error) {
  std::fprintf(stderr, "berth: %s\n", error.message.c_str());
  return 1;
}

/// BERTH_ENGINE chooses how descriptors are waited for; BERTH_PROCESSES is for machines where the
/// helper program cannot run.
Result<io::LinuxOptions> machine_options() {
  io::LinuxOptions options;
  const Result<io::EngineChoice> engine = engine_from_environment();
  if (!engine.has_value()) return fail(engine.error());
  options.engine = *engine;
  options.process_keeping = io::ProcessKeeping::keeper;
  const std::string wish = ProgramEnvironment().get("BERTH_PROCESSES").value_or("keeper");
  if (wish == "direct") {
    options.process_keeping = io::ProcessKeeping::direct;
  } else if (wish != "keeper") {
    return fail(ErrorKind::invalid, "bad_environment",
                "BERTH_PROCESSES is '" + wish + "', not keeper or direct");
  }
  return options;
}

void say_ready(const App& app, io::Platform& platform) {
  if (::isatty(STDOUT_FILENO) != 0) {
    std::printf("berth is ready\n  url    %s\n  token  %s\n  (kept in %s)\n", app.url().c_str(),
                app.token().c_str(), app.token_path().c_str());
    // What follows # stays in the browser: it is in no request and in no log.
    if (app.url().starts_with("http")) {
      std::printf("  page   %s/#token=%s\n", app.url().c_str(), app.token().c_str());
    }
  } else {
    std::string line;
    JsonWriter(line)
        .begin_object()
        .member("url", app.url())
        .member("token_file", app.token_path())
        .member_int64("pid", platform.process_table().own_pid())
        .member("engine", platform.reactor().engine_name())
        .end_object();
    std::printf("%s\n", line.c_str());
  }
  std::fflush(stdout);
}

/// A listener that a supervisor opened for us; kNoHandle if there is none.
Result<io::Handle> inherited_listener(io::Platform& platform) {
  Result<std::vector<io::InheritedSocket>> sockets =
      io::inherited_sockets(platform.environment(), platform.process_table().own_pid());
  if (!sockets.has_value()) return fail(std::move(sockets.error()));
  if (sockets->empty()) return io::kNoHandle;
  if (sockets->size() > 1) {
    return fail(ErrorKind::invalid, "bad_environment",
                "LISTEN_FDS: one socket is served, not " + std::to_string(sockets->size()));
  }
  return io::adopt_listener(platform.reactor(), sockets->front());
}

/// Keeps a supervisor informed, if there is one. A failure to do so is worth a warning, no more.
class Supervised final : public StopListener {
 public:
  Supervised(io::Platform& platform, LogSink& log)
      : platform_(platform), log_(log), notifier_(platform.environment()) {}

  void ready(const std::string& url) { said(notifier_.ready("serving " + url)); }
  void on_stop() override { said(notifier_.stopping("ending the agents")); }
  Task<void> show_signs_of_life(StopToken stop) {
    const std::optional<Duration> interval =
        io::watchdog_interval(platform_.environment(), platform_.process_table().own_pid());
    if (!interval.has_value() || !notifier_.wanted()) co_return;
    io::Reactor& reactor = platform_.reactor();
    for (;;) {
      said(notifier_.alive());
      const bool slept = co_await io::Sleep(reactor, reactor.clock().now() + *interval / 2, stop);
      if (!slept) co_return;
    }
  }

 private:
  void said(const Result<void>& result) {
    if (!result.has_value()) log_.write(LogLevel::warning, "systemd", result.error().message);
  }
  io::Platform& platform_;
  LogSink& log_;
  io::ServiceNotifier notifier_;
};

/// Reads the certificate again each time that somebody wants it.
Task<void> keep_certificate(App* app, Event* wanted, StopToken stop) {
  struct Stopped final : StopListener {
    explicit Stopped(Event& to_wake) : event(to_wake) {}
    void on_stop() override { event.set(); }
    Event& event;
  } stopped(*wanted);
  stop.listen(stopped);
  for (;;) {
    co_await wanted->wait();
    if (stop.stop_requested()) co_return;
    wanted->reset();
    co_await app->reload_tls();
  }
}

/// What is fetched from a remote is not waited for when the server ends.
class LeaveRemotes final : public StopListener {
 public:
  explicit LeaveRemotes(GitWorkspaces& workspaces) : workspaces_(workspaces) {}

 private:
  void on_stop() override { workspaces_.stop(); }
  GitWorkspaces& workspaces_;
};

/// Null, with a word in the log, where there are no notifications.
std::unique_ptr<io::FolderWatcher> make_watcher(const HintLimits& limits, LogSink& log) {
  if (!limits.watch) return nullptr;
  Result<std::unique_ptr<io::FolderWatcher>> made = io::make_folder_watcher(limits.watches);
  if (made.has_value()) return std::move(*made);
  log.write(LogLevel::warning, "worktrees",
            "every snapshot looks at all files: " + made.error().message);
  return nullptr;
}

/// What run() works with; all outlive it.
struct Served {
  App& app;
  io::Platform& platform;
  GitCommandProcess& git;
  Supervised& supervised;
  Event& new_certificate;
  bool quiet = false;
};

Task<void> run(const Served* served_by, StopToken stop, StopToken force, int* exit_code) {
  App* const app = &served_by->app;
  io::Platform* const platform = &served_by->platform;
  Supervised* const supervised = &served_by->supervised;
  Result<void> started = co_await app->start(stop);
  if (started.has_value()) {
    if (!served_by->quiet) say_ready(*app, *platform);
    supervised->ready(app->url());
    stop.listen(*supervised);
    Scope scope(platform->reactor());
    StopSource served;  // ending may take long, and is a life too
    scope.spawn(supervised->show_signs_of_life(served.token()));
    scope.spawn(keep_certificate(app, &served_by->new_certificate, served.token()));
    co_await app->serve(stop, force);
    served.request_stop();
    co_await scope.join();
  } else {
    *exit_code = complain(started.error());
  }
  co_await served_by->git.close();
  platform->reactor().stop();
}

}  // namespace

int serve_command(const ServeOptions& options) {
  StderrLog text_log;
  JsonLog json_log;
  LogSink& log = options.log == "json" ? static_cast<LogSink&>(json_log) : text_log;
  if (const std::optional<int> ended = run_as_first_process()) return *ended;
  // A limit on the size of files is a full disk, which is no reason to die.
  std::signal(SIGXFSZ, SIG_IGN);
  // Before any thread starts.
  io::SignalFd signals = io::SignalFd::block({SIGINT, SIGTERM});
  io::SignalFd hangups = io::SignalFd::block({SIGHUP});
  Result<io::LinuxOptions> machine = machine_options();
  if (!machine.has_value()) return complain(machine.error());
  // Outlives the lanes, whose threads are there before the configuration is read.
  git::LibraryOnDemand libgit2;
  Result<std::unique_ptr<io::Platform>> platform = io::make_linux_platform(log, *machine);
  if (!platform.has_value()) return complain(platform.error());
  Result<Config> config =
      read_serve_config((*platform)->files(), (*platform)->environment(), options, nullptr);
  if (config.has_value()) {
    Result<void> settled = settle_state((*platform)->files(), *config);
    if (!settled.has_value()) return complain(settled.error());
  }
  if (!config.has_value()) return complain(config.error());
  libgit2.set({.user_config = true, .certificates = config->git.clones.ca_file});
  SqliteOptions store_options;
  store_options.path = config->state_directory + "/berth.db";
  store_options.durability =
      config->durability == Config::Durability::power ? Durability::power : Durability::process;
  SqliteStore store(store_options);
  const bool tls = !config->tls.certificate_chain.empty();
  GitCommandProcess git_command(**platform, config->state_directory + kScratchFolder);
  const std::unique_ptr<io::FolderWatcher> watcher = make_watcher(config->git.hints, log);
  GitWorkspaces workspaces(**platform, config->state_directory, config->git,
                           {.libgit2 = libgit2, .command = &git_command, .watcher = watcher.get()});
  App app(**platform, store, workspaces, std::move(*config), log);
  Result<io::Handle> inherited = inherited_listener(**platform);
  if (!inherited.has_value()) return complain(inherited.error());
  if (*inherited != io::kNoHandle) app.use_listener(*inherited);
  Supervised supervised(**platform, log);
  if (options.take_over) app.take_over();
  LeaveRemotes leave_remotes(workspaces);
  StopSource stop;
  StopSource force;
  stop.token().listen(leave_remotes);
  io::Reactor& reactor = (*platform)->reactor();
  const auto on_signal = [&stop, &force] {
    if (stop.stop_requested()) force.request_stop();
    stop.request_stop();
  };
  Result<void> watching = signals.watch(reactor, on_signal);
  Event new_certificate(reactor);
  const auto on_hangup = [&] {
    if (tls) {
      new_certificate.set();
    } else {
      on_signal();
    }
  };
  if (watching.has_value()) {
    using Again = io::SignalFd::Again;
    watching = hangups.watch(reactor, on_hangup, tls ? Again::repeats : Again::insists);
  }
  if (!watching.has_value()) return complain(watching.error());
  int exit_code = 0;
  const Served served{app, **platform, git_command, supervised, new_certificate, options.quiet};
  {
    Scope scope(reactor);
    scope.spawn(run(&served, stop.token(), force.token(), &exit_code));
    reactor.run();
    signals.unwatch();
    hangups.unwatch();
    while (reactor.poll()) {
    }
  }
  return exit_code;
}

}  // namespace berth::server
