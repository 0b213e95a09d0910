#include <berth/server/app.h>

#include <berth/core/assert.h>
#include <berth/core/hash.h>
#include <berth/core/hex.h>
#include <berth/core/json_writer.h>
#include <berth/io/awaitables.h>
#include <berth/server/agents/launch_probe.h>
#include <berth/server/auth/secret.h>
#include <berth/server/ops/meters.h>
#include <berth/server/ops/otlp_exporter.h>
#include <berth/server/sessions/drain.h>
#include <berth/server/sessions/health_watch.h>
#include <berth/server/sessions/log_keeper.h>

#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kTokenBytesMax = 4096;
constexpr std::size_t kMeminfoBytesMax = std::size_t{1} << 16;
constexpr Duration kLockLook = std::chrono::milliseconds(50);
constexpr Duration kCompactEvery = std::chrono::seconds(5);
constexpr std::size_t kCompactBytes = std::size_t{1} << 20;
// A quiet second has fewer bytes of events than the former; the latter are a burst.
constexpr Duration kQuietTime = std::chrono::seconds(1);
constexpr std::uint64_t kQuietBytes = std::uint64_t{64} << 10;
constexpr std::uint64_t kBurstBytes = std::uint64_t{4} << 20;

/// [a-z0-9]: names all processes of one state directory, so that a restart finds what a crash left
/// of them.
std::string tag_of(const std::string& state_directory) {
  std::string tag = "berth-";
  append_hex(tag, fnv1a(state_directory));
  return tag;
}

LaunchSettings launch_settings(const Config& config) {
  LaunchSettings settings = config.launch;
  settings.count_memory = config.pool.agents_memory_max > 0;
  return settings;
}

/// A server that was asked to stop does not wait for a store that refuses: what is waiting for a
/// commit hears of it after one more attempt.
class CloseOnStop final : private StopListener {
 public:
  CloseOnStop(Journal& journal, StopToken stop) : journal_(journal) { stop.listen(*this); }

 private:
  void on_stop() override { journal_.close(); }
  Journal& journal_;
};

}  // namespace

struct App::Running {
  Running(App& app, OwnerEpoch epoch)
      : journal(app.platform_.reactor(), app.platform_.offload(), app.store_, epoch,
                app.config_.journal, app.log_),
        pool(app.platform_.reactor(), app.pool_limits()),
        context{app.platform_,
                app.store_,
                journal,
                app.workspaces_,
                app.agents_,
                pool,
                app.log_,
                app.config_.sessions,
                app.config_.state_directory,
                app.config_.secrets,
                false,
                {},
                &app.launches_},
        directory(context, app.config_.state_directory),
        logs(context, directory),
        named(context, directory, app.config_.agents),
        gate(context, app.config_.gate, app.token_),
        tracer(app.platform_.reactor(), app.platform_.reactor().clock(), app.platform_.random(),
               app.config_.tracing.limits),
        commits(context),
        api(context, directory, named, gate, node_info(app)),
        http(io::make_http_server(app.platform_.reactor(), api, app.log_, app.config_.http)) {
    if (!app.config_.tracing.otlp_endpoint.empty()) context.tracer = &tracer;
    journal.set_watcher(commits);
  }

  static NodeInfo node_info(App& app) {
    NodeInfo info;
    info.state_directory = app.config_.state_directory;
    info.base_path = app.config_.base_path;
    info.limits = limit_values(app.config_);
    info.metric_projects_max = app.config_.metric_projects_max;
    info.pid = app.platform_.process_table().own_pid();
    for (const auto& [name, profile] : app.config_.agents) info.agents.push_back(name);
    return info;
  }

  Journal journal;
  Pool pool;
  SessionContext context;
  Directory directory;
  LogKeeper logs;
  NamedAgents named;
  AuthGate gate;
  Tracer tracer;
  CommitMeter commits;
  Api api;
  std::unique_ptr<io::HttpServer> http;
};

App::App(io::Platform& platform, Store& store, Workspaces& workspaces, Config config, LogSink& log)
    : platform_(platform),
      store_(store),
      workspaces_(workspaces),
      config_(std::move(config)),
      log_(log),
      tag_(tag_of(config_.state_directory)),
      launches_(launch_settings(config_), platform_.environment(), config_.state_directory),
      agents_(platform_, scanner_, launches_, config_.agents, config_.state_directory, tag_) {}

App::~App() = default;

PoolLimits App::pool_limits() {
  PoolLimits limits = config_.pool;
  if (limits.agents_live_max == 0) {
    const Result<std::string> meminfo = platform_.files().read("/proc/meminfo", kMeminfoBytesMax);
    limits.agents_live_max = live_max_for(meminfo.has_value() ? *meminfo : std::string());
  }
  return limits;
}

Result<void> App::prepare_folders() {
  io::Files& files = platform_.files();
  for (const char* folder : {"", "/worktrees", "/workspaces", "/index", "/apply", "/trash"}) {
    Result<void> made = files.make_directories(config_.state_directory + folder, 0700);
    if (!made.has_value()) return made;
  }
  Result<void> locked = files.lock_exclusively(config_.state_directory + "/lock");
  if (!locked.has_value()) return locked;
  // What a crash left of files that live as long as one call.
  Result<void> cleared;
  for (const std::string& scratch :
       {config_.state_directory + kScratchFolder, launches_.scratch(), egress_folder()}) {
    if (cleared.has_value()) cleared = files.remove_all(scratch);
    if (cleared.has_value()) cleared = files.make_directories(scratch, 0700);
  }
  return cleared;
}

/// What agents may be kept from here, and what that means for those that do not ask.
Task<void> App::learn_launches() {
  launches_.learn(co_await probe_launches(&platform_, &launches_));
  const LaunchSupport& support = launches_.support();
  const Result<LaunchChoice> usual = launches_.choose(AgentProfile(), LaunchMode::none);
  if (!usual.has_value()) {
    log_.write(LogLevel::error, "launch", usual.error().message);
  } else {
    log_.write(usual->mode == LaunchMode::none ? LogLevel::warning : LogLevel::info, "launch",
               "agents are started " + std::string(to_string(usual->mode)) + ": " + usual->reason);
  }
  if (!support.sandbox) co_return;
  egress_ = std::make_unique<egress::Proxy>(platform_, log_, egress_folder(), config_.egress);
  launches_.use(egress_.get());
}

/// In the log of the session that was denied something, if there is one of that key, and in the
/// audit log.
void App::record_denial(const egress::Denial& denial) {
  if (running_ == nullptr) return;
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member("target", denial.target)
      .member("reason", denial.reason)
      .end_object();
  std::string who(denial.key);
  running_->directory.for_each_loaded([&](Session& session) {
    if (session.row().key != denial.key) return;
    who = session.row().id;
    session.append("egress.denied", denial.agent, data);
  });
  const std::vector<std::string> arguments = {who, denial.target};
  const std::string peer = "agent " + std::string(denial.agent);
  AuditEntry entry;
  entry.peer = peer;
  entry.method = "CONNECT";
  entry.route = "egress";
  entry.arguments = &arguments;
  entry.status = 403;
  entry.code = "egress_denied";
  running_->gate.audit().add(entry);
}

Result<void> App::read_token() {
  Result<std::string> stored = platform_.files().read(token_path(), kTokenBytesMax);
  if (stored.has_value()) {
    token_ = std::move(*stored);
    while (!token_.empty() && (token_.back() == '\n' || token_.back() == ' ')) token_.pop_back();
    if (token_.size() >= 16) return {};
    return fail(ErrorKind::invalid, "bad_token", token_path() + ": shorter than 16 characters");
  }
  if (stored.error().kind != ErrorKind::not_found) return fail(std::move(stored.error()));
  token_ = "bt_" + make_secret(platform_.random());
  return platform_.files().write_atomic(token_path(), token_ + "\n", 0600);
}

Result<void> App::open_listener() {
  if (!is_local_address(config_.listen) && !config_.allow_public) {
    return fail(
        ErrorKind::denied, "public_listener",
        "listen: " + config_.listen + " is not a loopback address; set allow_public to serve it");
  }
  if (!is_local_address(config_.listen) && tls_ == nullptr) {
    log_.write(LogLevel::warning, "app",
               config_.listen + " is served without TLS: tokens can be read on their way");
  }
  Result<io::Handle> listener = platform_.reactor().listen({config_.listen});
  if (!listener.has_value())
    return fail(std::move(listener.error()).with_context("listen " + config_.listen));
  listener_ = *listener;
  return {};
}

Result<void> App::read_tls() {
  if (config_.tls.certificate_chain.empty()) return {};
  Result<std::unique_ptr<io::TlsContext>> tls = io::TlsContext::make_server(config_.tls);
  if (!tls.has_value()) return fail(std::move(tls.error()).with_context("tls"));
  tls_ = std::move(*tls);
  return {};
}

Task<void> App::reload_tls() {
  if (tls_ == nullptr) co_return;
  io::TlsContext* const tls = tls_.get();
  const Result<void> read = co_await platform_.offload().run(io::Lane::files, platform_.reactor(),
                                                             [tls] { return tls->reload(); });
  if (read.has_value()) {
    log_.write(LogLevel::info, "tls", "read " + config_.tls.certificate_chain + " again");
  } else {
    log_.write(LogLevel::error, "tls", "kept the certificate as it was: " + read.error().message);
  }
}

Result<void> App::listen() {
  if (listener_ == io::kNoHandle) {
    if (config_.listen.empty()) return {};
    Result<void> opened = open_listener();
    if (!opened.has_value()) return opened;
  }
  Result<io::Address> address = platform_.reactor().local_address(listener_);
  if (!address.has_value()) return fail(std::move(address.error()));
  const bool unix_socket = address->text.starts_with("unix:");
  if (unix_socket && tls_ != nullptr) {
    return fail(ErrorKind::invalid, "bad_config",
                "tls: " + address->text + " is no TCP socket, which needs no TLS");
  }
  url_ = unix_socket ? address->text : (tls_ ? "https://" : "http://") + address->text;
  std::string endpoint;
  JsonWriter(endpoint)
      .begin_object()
      .member("url", url_)
      .member("token_file", token_path())
      .member_int64("pid", platform_.process_table().own_pid())
      .end_object();
  return platform_.files().write_atomic(endpoint_path(), endpoint + "\n", 0600);
}

/// Whoever holds the lock serves; it is the kernel that lets go of it, after the last commit.
Task<Result<void>> App::take_state(StopToken stop) {
  Result<void> ready = prepare_folders();
  if (take_over_ && !ready.has_value()) {
    log_.write(LogLevel::info, "app", "waiting for its end: " + ready.error().message);
  }
  while (take_over_ && !ready.has_value() && std::string_view(ready.error().code) == "locked") {
    const TimePoint next = platform_.reactor().clock().now() + kLockLook;
    const bool slept = co_await io::Sleep(platform_.reactor(), next, stop);
    if (!slept) co_return ready;
    ready = prepare_folders();
  }
  co_return ready;
}

Task<Result<void>> App::start(StopToken stop) {
  Result<void> ready = co_await take_state(stop);
  if (ready.has_value()) ready = read_token();
  if (ready.has_value()) ready = read_tls();
  if (!ready.has_value()) co_return ready;
  // Trying a sandbox takes as long as opening the store. No agent starts before both are done.
  Scope trials(platform_.reactor());
  trials.spawn(learn_launches());
  Result<int> orphans = platform_.processes().reap_orphans(tag_);
  if (orphans.has_value() && *orphans > 0) {
    log_.write(LogLevel::warning, "app",
               "ended " + std::to_string(*orphans) + " processes that an earlier server left");
  }
  Store* store = &store_;
  Result<OwnerEpoch> epoch = co_await platform_.offload().run(io::Lane::store, platform_.reactor(),
                                                              [store] { return store->open(); });
  co_await trials.join();
  if (!epoch.has_value()) co_return fail(std::move(epoch.error()));
  Result<void> noted = co_await note_unclean_end();
  if (!noted.has_value()) {
    log_.write(LogLevel::warning, "app", check_owed_path() + ": " + noted.error().message);
  }
  running_ = std::make_unique<Running>(*this, *epoch);
  if (egress_ != nullptr)
    egress_->on_denial([this](const egress::Denial& denial) { record_denial(denial); });
  Result<void> recovered;
  {
    const CloseOnStop close_on_stop(running_->journal, stop);
    recovered = co_await running_->gate.tokens().load();
    if (recovered.has_value()) recovered = co_await running_->named.read();
    if (recovered.has_value()) recovered = co_await running_->directory.recover();
  }
  if (recovered.has_value()) co_await running_->named.begin();
  if (recovered.has_value()) recovered = listen();
  if (!recovered.has_value()) co_await abandon();
  co_return recovered;
}

/// The check may need more than this life: a file says that it is due.
Task<Result<void>> App::note_unclean_end() {
  io::Files* const files = &platform_.files();
  const std::string path = check_owed_path();
  check_owed_ = store_.was_left_open();
  const bool fresh = check_owed_;
  Result<bool> owed = co_await platform_.offload().run(
      io::Lane::files, platform_.reactor(), [files, path, fresh]() -> Result<bool> {
        if (files->exists(path)) return true;
        if (!fresh) return false;
        Result<void> written = files->write_atomic(path, "", 0600);
        if (!written.has_value()) return fail(std::move(written.error()));
        return true;
      });
  if (!owed.has_value()) co_return fail(std::move(owed.error()));
  check_owed_ = *owed;
  co_return Result<void>();
}

const StoreHealth& App::store_health() const {
  BERTH_ASSERT(running_ != nullptr);
  return running_->context.store_health;
}

io::HttpHandler& App::handler() {
  BERTH_ASSERT(running_ != nullptr);
  return running_->api;
}

/// Packs what is small while nothing else wants the store.
Task<void> App::keep_compact(StopToken stop) {
  std::uint64_t commits_before = 0;
  while (co_await io::Sleep(platform_.reactor(), platform_.reactor().clock().now() + kCompactEvery,
                            stop)) {
    const std::uint64_t commits = running_->journal.stats().commits;
    if (std::exchange(commits_before, commits) != commits || store_health().refuses()) continue;
    for (bool more = true; more && !stop.stop_requested();) {
      Result<bool> left = co_await running_->context.read(
          [](Store& store) { return store.compact(kCompactBytes); });
      more = left.has_value() && *left && running_->journal.stats().commits == commits;
    }
  }
}

/// Lets expired refs, the trash and what is too much of logs go. Worktrees go when somebody asks
/// for it.
Task<void> App::keep_tidy(StopToken stop) {
  while (co_await io::Sleep(platform_.reactor(),
                            platform_.reactor().clock().now() + config_.tidy_every, stop)) {
    if (store_health().refuses()) continue;  // nothing goes by what a damaged store says
    Result<void> kept = co_await running_->logs.pass(stop);
    if (!kept.has_value()) log_.write(LogLevel::warning, "tidy", kept.error().message);
    ReapOrder order;
    order.worktrees = false;
    order.dry_run = false;
    Result<std::vector<ReapedItem>> gone = co_await running_->directory.reap(std::move(order));
    if (!gone.has_value()) {
      log_.write(LogLevel::warning, "tidy", gone.error().message);
      continue;
    }
    const auto stayed = std::count_if(
        gone->begin(), gone->end(), [](const ReapedItem& item) { return item.verdict == "kept"; });
    if (const auto went = static_cast<std::ptrdiff_t>(gone->size()) - stayed; went > 0) {
      log_.write(LogLevel::info, "tidy", std::to_string(went) + " refs or clones gone or failed");
    }
  }
}

/// Lets sessions that rest out of the memory.
Task<void> App::keep_lean(StopToken stop) {
  const Duration every = config_.sessions.rest_after / 4 + std::chrono::milliseconds(1);
  while (co_await io::Sleep(platform_.reactor(), platform_.reactor().clock().now() + every, stop)) {
    co_await running_->directory.unload();
  }
}

/// Lets what a burst has left in the allocator go, in the first quiet second: while there is work,
/// it is needed again.
Task<void> App::keep_small(StopToken stop) {
  std::uint64_t seen = 0;
  std::uint64_t given_back_at = 0;
  while (co_await io::Sleep(platform_.reactor(), platform_.reactor().clock().now() + kQuietTime,
                            stop)) {
    const std::uint64_t bytes = running_->journal.stats().event_bytes;
    const bool quiet = bytes - std::exchange(seen, bytes) < kQuietBytes;
    if (!quiet || bytes - given_back_at < kBurstBytes) continue;
    given_back_at = bytes;
    Result<void> done = co_await platform_.offload().run(io::Lane::files, platform_.reactor(),
                                                         [platform = &platform_]() -> Result<void> {
                                                           platform->give_memory_back();
                                                           return {};
                                                         });
    if (!done.has_value()) given_back_at = 0;  // the lane is full: later
  }
}

/// What runs may end, in the sight of its clients.
Task<void> App::drain(StopToken force) {
  running_->api.drain();
  const DrainReport report = co_await server::drain(&running_->context, &running_->directory,
                                                    config_.drain_deadline, force);
  if (report.finished + report.parked == 0) co_return;
  log_.write(LogLevel::info, "app",
             std::to_string(report.finished) + " turns came to their end, " +
                 std::to_string(report.parked) + " were interrupted");
}

Task<void> App::serve(StopToken stop, StopToken force) {
  struct Stopped final : StopListener {
    explicit Stopped(Executor& executor) : event(executor) {}
    void on_stop() override { event.set(); }
    Event event;
  } stopped(platform_.reactor());
  stop.listen(stopped);
  StopSource drained;
  Scope scope(platform_.reactor(), stop);
  scope.spawn(keep_compact(scope.stop_token()));
  scope.spawn(keep_tidy(scope.stop_token()));
  scope.spawn(keep_lean(scope.stop_token()));
  scope.spawn(keep_small(scope.stop_token()));
  if (check_owed_) {
    scope.spawn(check_store(&running_->context, &running_->context.store_health, check_owed_path(),
                            scope.stop_token()));
  }
  scope.spawn(watch_health(&running_->context, drained.token()));
  scope.spawn(running_->gate.run(drained.token()));
  scope.spawn(watch_loop_lag(&running_->context, scope.stop_token()));
  if (running_->context.tracer != nullptr) {
    scope.spawn(
        export_spans(&platform_, &running_->tracer, config_.tracing, &log_, drained.token()));
  }
  if (listener_ != io::kNoHandle) {
    scope.spawn(running_->http->serve(std::exchange(listener_, io::kNoHandle), drained.token(),
                                      tls_.get()));
  }
  co_await stopped.event.wait();
  co_await drain(force);
  drained.request_stop();
  // Requests that wait for a turn or a workspace end because their session does.
  co_await running_->named.shutdown();
  co_await running_->directory.shutdown();
  // And those that wait for a commit because a store that refuses is not asked again and again.
  running_->journal.close();
  co_await scope.join();
  co_await abandon();
}

Task<void> App::abandon() {
  if (listener_ != io::kNoHandle)
    platform_.reactor().close(std::exchange(listener_, io::kNoHandle));
  if (running_ == nullptr) co_return;
  running_->api.drain();
  co_await running_->named.shutdown();
  co_await running_->directory.shutdown();
  co_await agents_.shutdown();
  if (egress_ != nullptr) co_await egress_->shutdown();
  // What the agents said last is committed; then the gate closes.
  running_->journal.close();
  co_await running_->gate.audit().flush();
  Result<void> last = co_await running_->journal.committed();
  static_cast<void>(last);
  running_->journal.stop();
  co_await running_->journal.idle();
  Result<void> gone = platform_.files().remove_if_exists(endpoint_path());
  static_cast<void>(gone);
  running_.reset();
}

}  // namespace berth::server
