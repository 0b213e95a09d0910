// Sessions over the real journal, the real store on a simulated disk and a simulated clock, with
// puppets for agents; through restarts.
#pragma once

#include "model_workspaces.h"
#include "puppet_agent.h"

#include <berth/core/scope.h>
#include <berth/io/sim_platform.h>
#include <berth/server/api/api.h>
#include <berth/server/sessions/directory.h>
#include <berth/server/store/sim_vfs.h>
#include <berth/server/store/sqlite_store.h>

#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::server {

/// What was put before a prompt; empty when nothing was.
inline std::string text_of_story(const std::string& blocks) {
  const Result<JsonDoc> doc = JsonDoc::parse(blocks);
  const std::vector<JsonView> all = doc->root().elements();
  return all.size() < 2 ? std::string() : std::string(all[0].get_string("text").value_or(""));
}
/// The member at `path` as JSON.
inline std::string member(const std::string& json, std::string_view path) {
  const Result<JsonDoc> doc = JsonDoc::parse(json);
  return doc.has_value() ? doc->root().raw(path) : "no JSON";
}
inline bool holds(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

class SessionWorld {
 public:
  explicit SessionWorld(SessionLimits limits = {}, std::string policy = "ask",
                        PoolLimits pool_limits = {})
      : limits_(limits), pool_limits_(pool_limits), policy_(std::move(policy)) {
    start();
  }
  ~SessionWorld() { stop(); }

  /// Ends the server (what it knows is in the store) and starts another on the same disk.
  void restart() {
    stop();
    start();
  }
  /// The same, but as `kill -9`.
  void crash() {
    life_->platform.crash();
    restart();
  }

  Session& session() {
    if (session_ == nullptr) open(request_);
    return *session_;
  }
  void open(OpenRequest request) {
    if (request.id.empty()) request.id = "s";
    if (request.agent.empty()) request.agent = "one";
    if (request.permission.empty()) request.permission = policy_;
    request_ = request;
    Result<OpenedSession> opened = await(life_->directory->open(std::move(request)));
    EXPECT_TRUE(opened.has_value()) << opened.error().message;
    session_ = opened->session;
  }

  static TurnRequest request_of(const std::string& text, OnBusy on_busy = OnBusy::queue) {
    TurnRequest request;
    request.blocks = R"([{"type":"text","text":")" + text + R"("}])";
    request.on_busy = on_busy;
    return request;
  }
  /// Takes a prompt and lets it run as far as it goes; the turn's id.
  std::string prompt(const std::string& text, const std::string& agent = {},
                     OnBusy on_busy = OnBusy::queue, std::int64_t timeout_ms = 0) {
    TurnRequest request = request_of(text, on_busy);
    request.timeout_ms = timeout_ms;
    request.agent = agent;
    Result<TurnRow> turn = session().accept(std::move(request));
    EXPECT_TRUE(turn.has_value()) << turn.error().message;
    settle();
    return turn->id;
  }
  /// The same up to where its agent works at it, which is not up yet, or is.
  std::string begin(const std::string& text, const std::string& agent = "one",
                    Rung rung = Rung::new_session, std::string native_id = {}) {
    const std::string id = prompt(text, agent);
    Puppet& puppet = agent_named(agent);
    if (puppet.attaching) {
      puppet.attaches(rung, native_id.empty() ? agent + "-native" : native_id);
      settle();
    }
    return id;
  }
  /// A whole turn.
  std::string turn(const std::string& text, const std::string& agent = "one",
                   Rung rung = Rung::new_session, std::string native_id = {}) {
    const std::string id = begin(text, agent, rung, std::move(native_id));
    Puppet& puppet = agent_named(agent);
    puppet.says_text("answer to " + text);
    puppet.ends("end_turn");
    settle();
    return id;
  }

  /// False while nobody wanted anything of it in this life of the server.
  bool has_agent(std::string_view name) const { return life_->agents.last.contains(name); }
  AgentProfile& profile(const std::string& name) { return life_->agents.profile(name); }
  Puppet& agent_named(std::string_view name) { return *life_->agents.last.at(std::string(name)); }
  const BindingRow& binding(const std::string& agent) {
    return session().bindings().at(agent)->row();
  }
  TurnState state_of(const std::string& turn) {
    const TurnRow* row = session().find_turn(turn);
    EXPECT_NE(row, nullptr) << turn;
    return row == nullptr ? TurnState::expired : row->state;
  }

  /// Everything that is on its way has arrived.
  void settle(Duration time = std::chrono::milliseconds(50)) {
    nudge();
    machine_.run_for(time);
  }

  struct Entry {
    std::string type;
    std::string turn;
    std::string data;
  };
  /// The log as it is stored, the named types only (all without a name).
  std::vector<Entry> log(std::string_view type = {}) {
    settle();
    std::vector<Entry> entries;
    Result<EventPage> page = life_->store.read_events(session().session_no(), 0, 64u << 20);
    EXPECT_TRUE(page.has_value());
    std::string_view frames = page->frames;
    for (Frame frame; next_frame(frames, frame);) {
      if (!type.empty() && frame.type != type) continue;
      const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
      entries.push_back({std::string(frame.type),
                         std::string(doc->root().get_string("turn").value_or("")),
                         doc->root().raw("data")});
    }
    return entries;
  }
  std::string last(std::string_view type) {
    const std::vector<Entry> entries = log(type);
    EXPECT_FALSE(entries.empty()) << type;
    return entries.empty() ? std::string() : entries.back().data;
  }

  /// A request to the API, and its answer once there is one.
  struct Answer {
    int status = 0;
    std::string body;
    HttpHeaders headers = {};
  };
  Answer call(const std::string& method, const std::string& path, const std::string& body = "{}") {
    return request(method, "/v1/sessions/" + path, body);
  }
  /// The same with any path, by any token (empty: none) and with more headers.
  Answer request(const std::string& method, const std::string& target,
                 const std::string& body = "{}", const std::string& token = "token",
                 HttpHeaders headers = {}) {
    Exchange exchange(method, target, body, token, std::move(headers));
    await(life_->api->handle(exchange));
    return exchange.answer;
  }

  /// The same in two parts: what happens while the server has not answered yet?
  void begin_call(const std::string& method, const std::string& path, const std::string& body) {
    begun_ = std::make_unique<Exchange>(method, "/v1/sessions/" + path, body);
    begun_scope_ = std::make_unique<Scope>(life_->platform.reactor());
    begun_scope_->spawn(life_->api->handle(*begun_));
    nudge();
  }
  bool call_ended() const { return begun_scope_->size() == 0; }
  Answer end_call() {
    machine_.run_until([&] { return call_ended(); }, std::chrono::minutes(5), 1'000'000);
    EXPECT_TRUE(call_ended());
    begun_scope_.reset();
    return begun_->answer;
  }

  template <typename T>
  T await(Task<T> task) {
    std::optional<T> result;
    Scope scope(life_->platform.reactor());
    scope.spawn(keep(std::move(task), &result));
    nudge();
    machine_.run_until([&] { return scope.size() == 0; }, std::chrono::minutes(5), 1'000'000);
    EXPECT_TRUE(result.has_value());
    return std::move(*result);
  }
  void await(Task<void> task) {
    Scope scope(life_->platform.reactor());
    scope.spawn(std::move(task));
    nudge();
    machine_.run_until([&] { return scope.size() == 0; }, std::chrono::minutes(5), 1'000'000);
    EXPECT_EQ(scope.size(), 0U);
  }

  /// Sessions that left the memory after so long.
  std::size_t unload_after(Duration time) {
    settle(time);
    session_ = nullptr;  // what may be gone is opened again
    return await(life_->directory->unload());
  }

  SimVfs& disk() { return life_->vfs; }
  /// All that the store has on its disk.
  std::string stored_bytes() const {
    std::string bytes;
    for (const auto& [path, file] : disk_->files()) bytes += file.bytes;
    return bytes;
  }
  /// Of the server's process, for this life of it.
  void set_environment(const std::string& name, const std::string& value) {
    life_->platform.set_environment(name, value);
  }
  Store& store() { return life_->store; }
  io::SimDisk& files() { return machine_.disk(); }
  SessionContext& context() { return *life_->context; }
  Directory& directory() { return *life_->directory; }
  AuthGate& gate() { return *life_->gate; }

 private:
  static constexpr const char* kState = "/state";

  struct Nudge final : Runnable {
    void run() override {}
  };
  /// What a test does itself happens outside of the loop: a turn of it must follow.
  void nudge() {
    if (!life_->nudge.linked()) life_->platform.reactor().post(life_->nudge);
  }

  struct Life {
    Life(SessionWorld& world, int number)
        : platform(world.machine_, "server"),
          vfs("session-world-" + std::to_string(number), world.disk_, platform.random(),
              world.machine_.clock()),
          store({"/berth.db", vfs.name(), Durability::process}),
          workspaces(platform, kState) {
      platform.on_crash([this] { vfs.freeze(); });
    }
    Nudge nudge;
    io::SimPlatform platform;
    SimVfs vfs;
    SqliteStore store;
    sim_test::ModelWorkspaces workspaces;
    Puppets agents;
    std::unique_ptr<Journal> journal;
    std::unique_ptr<Pool> pool;
    std::unique_ptr<SessionContext> context;
    std::unique_ptr<Directory> directory;
    AgentProfiles profiles;
    std::unique_ptr<NamedAgents> named;
    std::unique_ptr<AuthGate> gate;
    std::unique_ptr<Api> api;
  };

  class Exchange final : public io::HttpExchange {
   public:
    Exchange(std::string method, std::string target, std::string body,
             const std::string& token = "token", HttpHeaders headers = {}) {
      request_.method = std::move(method);
      request_.target = std::move(target);
      request_.body = std::move(body);
      request_.headers = std::move(headers);
      request_.peer = "10.0.0.1:9";
      if (!token.empty()) request_.headers.emplace_back("authorization", "Bearer " + token);
    }
    const io::HttpRequest& request() const override { return request_; }
    Task<Result<void>> respond(io::HttpResponse response) override {
      answer = {response.status, response.body, response.headers};
      co_return Result<void>();
    }
    Task<Result<void>> begin_body(io::HttpResponse head) override { return respond(head); }
    Task<Result<void>> write_body(std::string_view piece) override {
      answer.body += piece;
      co_return Result<void>();
    }
    /// As for HEAD: the stream ends before it begins.
    Task<Result<void>> start_stream(io::HttpResponse head) override {
      answer = {head.status, {}, head.headers};
      co_return fail(ErrorKind::cancelled, "head_request", "there is no body");
    }
    io::Outlet& outlet() override { return nowhere_; }
    StopToken gone() override { return gone_.token(); }
    Answer answer;

   private:
    struct Nowhere final : io::Outlet {
      void start(io::WriteOp&) override { BERTH_ASSERT(false); }
      void cancel(io::WriteOp&) override {}
    };
    Nowhere nowhere_;
    StopSource gone_;
    io::HttpRequest request_;
  };

  template <typename T>
  static Task<void> keep(Task<T> task, std::optional<T>* result) {
    *result = co_await std::move(task);
  }

  void start() {
    life_ = std::make_unique<Life>(*this, ++lives_);
    Life& life = *life_;
    static_cast<void>(machine_.disk().make_directories(kState, 0700));
    Result<OwnerEpoch> epoch = life.store.open();
    ASSERT_TRUE(epoch.has_value()) << epoch.error().message;
    life.journal = std::make_unique<Journal>(life.platform.reactor(), life.platform.offload(),
                                             life.store, *epoch, JournalLimits{}, log_);
    life.pool = std::make_unique<Pool>(life.platform.reactor(), pool_limits_);
    life.context = std::unique_ptr<SessionContext>(
        new SessionContext{life.platform, life.store, *life.journal, life.workspaces, life.agents,
                           *life.pool, log_, limits_, kState});
    life.directory = std::make_unique<Directory>(*life.context, kState);
    life.named = std::make_unique<NamedAgents>(*life.context, *life.directory, life.profiles);
    life.gate = std::make_unique<AuthGate>(*life.context, GateConfig{}, "token");
    life.api =
        std::make_unique<Api>(*life.context, *life.directory, *life.named, *life.gate, NodeInfo{});
    Result<void> recovered = await(life.directory->recover());
    ASSERT_TRUE(recovered.has_value()) << recovered.error().message;
    session_ = nullptr;
  }

  void stop() {
    Life& life = *life_;
    session_ = nullptr;
    await(life.directory->shutdown());
    life.journal->close();
    if (!life.platform.crashed()) static_cast<void>(await(last_commit(life.journal.get())));
    life.journal->stop();
    await(idle(life.journal.get()));
    life_.reset();
  }
  static Task<bool> last_commit(Journal* journal) {
    Result<void> last = co_await journal->committed();
    co_return last.has_value();
  }
  static Task<void> idle(Journal* journal) { co_await journal->idle(); }

  io::SimMachine machine_{1};
  std::shared_ptr<DiskImage> disk_ = std::make_shared<DiskImage>();
  NullLog log_;
  SessionLimits limits_;
  PoolLimits pool_limits_;
  std::string policy_;
  OpenRequest request_;
  Session* session_ = nullptr;
  int lives_ = 0;
  std::unique_ptr<Life> life_;
  std::unique_ptr<Exchange> begun_;
  std::unique_ptr<Scope> begun_scope_;
};

}  // namespace berth::server
