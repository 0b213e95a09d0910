// How an opencode session comes to life, and how it is left.
#include <berth/server/agents/opencode/agent.h>

#include <berth/core/json_writer.h>
#include <berth/io/awaitables.h>

#include <utility>

namespace berth::server::opencode {

namespace {

constexpr Duration kLastAbort = std::chrono::seconds(2);

/// The error of a request that was part of attaching.
Error refused(std::string_view what, const Result<HttpAnswer>& answer, std::string* agent_error) {
  if (!answer.has_value()) return Error(answer.error()).with_context(what);
  if (JsonDoc::parse(answer->body).has_value()) *agent_error = answer->body;
  return make_error(ErrorKind::invalid, "agent_error",
                    std::string(what) + " was refused: HTTP " + std::to_string(answer->status) +
                        " " + answer->body.substr(0, 300));
}

std::string info_of(const Server& server) {
  std::string info;
  JsonWriter(info)
      .begin_object()
      .member("name", "opencode")
      .member("title", "OpenCode")
      .member("version", server.version())
      .end_object();
  return info;
}

constexpr std::string_view kCapabilities =
    R"({"loadSession":true,"promptCapabilities":{"image":true,"audio":true,)"
    R"("embeddedContext":true},"sessionCapabilities":{"resume":{}},)"
    R"("mcpCapabilities":{"http":true,"sse":true},"_meta":{"berth/steer":true}})";

}  // namespace

Task<void> Agent::run(AttachSpec spec) {
  stop_ = std::make_unique<StopSource>();
  requests_ = std::make_unique<Scope>(reactor_);
  gone_ = std::make_unique<Event>(reactor_);
  server_exit_.reset();
  directory_ = spec.directory;
  choice_ = {{}, profile_.provider, profile_.model, {}};
  AttachFailure failure;
  Attached attached;
  Result<void> ready;
  Result<Server*> server =
      co_await servers_.acquire(spec.may_start, &failure.stderr_tail, stop_->token());
  if (server.has_value()) {
    server_ = *server;
    attached.process = server_->process_id();
    ready = co_await open(&spec, &attached, &failure);
  } else {
    ready = fail(std::move(server.error()));
  }
  if (ready.has_value() && !gone_->is_set()) {
    state_ = State::live;
    requests_->spawn(learn_models());
    if (!silent_) sink_.on_attached(attach_epoch_, attached);
    co_await gone_->wait();
  } else if (ready.has_value()) {
    ready = fail(ErrorKind::cancelled, "cancelled", "it was ended while it attached");
  }
  const bool was_live = state_ == State::live;
  if (server_ != nullptr) failure.stderr_tail = server_->stderr_tail();
  AgentExit exit = co_await leave();
  state_ = State::none;
  if (silent_) co_return;
  if (was_live) {
    sink_.on_exited(attach_epoch_, std::move(exit));
  } else {
    failure.error = std::move(ready.error());
    sink_.on_attach_failed(attach_epoch_, std::move(failure));
  }
}

/// Gives up the session and the server; the server ends with its last session.
Task<AgentExit> Agent::leave() {
  if (server_ != nullptr && server_->live() && tracker_ != nullptr && tracker_->running()) {
    const Result<HttpAnswer> aborted =
        co_await http_call(&reactor_, server_->endpoint(), "POST",
                           target_of("/session/" + tracker_->session_id() + "/abort", directory_),
                           "{}", kLastAbort, StopToken());
    static_cast<void>(aborted);
  }
  state_ = State::leaving;
  reactor_.disarm(probe_timer_);
  stop_->request_stop();
  co_await requests_->join();
  AgentExit exit;
  if (server_ != nullptr) {
    exit.process = server_->process_id();
    for (const HeldFrame& held : held_) {
      server_->add_held(-static_cast<std::ptrdiff_t>(held.raw.size()));
    }
    ServerClient& self = *this;
    server_->remove(self);
    exit.stderr_tail = server_->stderr_tail();
    co_await servers_.release(server_);
  }
  if (server_exit_) exit = *server_exit_;
  exit.expected = expected_end_;
  server_ = nullptr;
  held_.clear();
  questions_.clear();
  reconciling_ = probing_ = probe_again_ = false;
  tracker_.reset();
  co_return exit;
}

Task<Result<void>> Agent::open(const AttachSpec* spec, Attached* attached, AttachFailure* failure) {
  attached->protocol_version = 1;
  attached->agent_info = info_of(*server_);
  attached->capabilities = kCapabilities;
  bool restored = false;
  if (!spec->native_session_id.empty()) {
    Result<bool> found = co_await restore(spec, attached, failure);
    if (!found.has_value()) co_return fail(std::move(found.error()));
    restored = *found;
    attached->rung = restored ? Rung::resume : Rung::history;
  }
  if (!restored) {
    Result<void> created = co_await create(spec, failure);
    if (!created.has_value()) co_return fail(std::move(created.error()));
  }
  attached->native_session_id = tracker_->session_id();
  co_await configure(spec, attached);
  if (server_exit_ || !server_->live()) {
    co_return fail(ErrorKind::unavailable, "agent_ended", "opencode serve ended");
  }
  co_return Result<void>();
}

/// True when opencode still has the session; false when it does not know it.
Task<Result<bool>> Agent::restore(const AttachSpec* spec, Attached* attached,
                                  AttachFailure* failure) {
  const std::string path = "/session/" + spec->native_session_id;
  const Result<HttpAnswer> answer = co_await call("GET", path, {});
  if (answer.has_value() && answer->status == 404) {
    attached->reason = "opencode does not know the session";
    attached->agent_error = JsonDoc::parse(answer->body).has_value() ? answer->body : "";
    co_return false;
  }
  const Result<JsonDoc> info = answer.has_value() && answer->ok()
                                   ? answer->json()
                                   : Result<JsonDoc>(fail(ErrorKind::invalid, "agent_error", ""));
  if (!info.has_value()) {
    failure->needs_decision = answer.has_value();
    co_return fail(refused("GET /session", answer, &failure->agent_error));
  }
  TrackerSink& self = *this;
  tracker_ = std::make_unique<Tracker>(spec->native_session_id, self, profile_.timeouts.session);
  tracker_->on_session(info->root());
  tracker_->transcript().set_session_cost(number_of(info->root().find("cost")));
  ServerClient& client = *this;
  server_->add(spec->native_session_id, client);
  // What ran when we left it was aborted; an abort of an idle session does no harm.
  const Result<HttpAnswer> aborted = co_await call("POST", path + "/abort", "{}");
  static_cast<void>(aborted);
  co_return true;
}

Task<Result<void>> Agent::create(const AttachSpec* spec, AttachFailure* failure) {
  const Result<HttpAnswer> answer =
      co_await call("POST", "/session", session_body(spec->additional_directories));
  if (!answer.has_value() || !answer->ok()) {
    co_return fail(refused("POST /session", answer, &failure->agent_error));
  }
  const Result<JsonDoc> info = answer->json();
  const auto id =
      info.has_value() ? info->root().get_string("id") : std::optional<std::string_view>();
  if (!id || id->empty()) {
    co_return fail(ErrorKind::invalid, "agent_error", "POST /session: the answer has no id");
  }
  TrackerSink& self = *this;
  tracker_ = std::make_unique<Tracker>(std::string(*id), self, profile_.timeouts.session);
  server_->learn_parent(*id, {});
  ServerClient& client = *this;
  server_->add(std::string(*id), client);
  // Some versions (1.14.48) stream nothing but server.connected: a session that is made must show.
  StopSource late(stop_->token());
  requests_->spawn(stop_late(now() + profile_.timeouts.session, &late));
  const bool spoke = co_await server_->spoke().wait(late.token());
  late.request_stop();
  if (spoke || stop_->stop_requested()) co_return Result<void>();
  co_return fail(ErrorKind::unsupported, "agent_silent",
                 "opencode " + server_->version() + " does not stream the events of sessions");
}

Task<bool> Agent::has_agent(std::string name) {
  const Result<HttpAnswer> answer = co_await call("GET", "/agent", {});
  if (!answer.has_value() || !answer->ok()) co_return true;  // opencode itself will say
  const Result<JsonDoc> agents = answer->json();
  if (!agents.has_value()) co_return true;
  for (const JsonView& agent : agents->root().elements()) {
    if (agent.get_string("name") == name) co_return true;
  }
  co_return false;
}

Task<void> Agent::configure(const AttachSpec* spec, Attached* attached) {
  if (!spec->mode.empty()) {
    const bool known = co_await has_agent(spec->mode);
    if (known) {
      choice_.agent = spec->mode;
    } else {
      attached->config_failures.push_back("mode: opencode has no agent " + spec->mode);
    }
  }
  const Result<JsonDoc> config = JsonDoc::parse(spec->config.empty() ? "{}" : spec->config);
  if (config.has_value()) {
    for (const auto& option : config->root().members()) {
      if (choose(option.first, option.second)) continue;
      attached->config_failures.push_back(std::string(option.first) +
                                          ": opencode takes model (PROVIDER/MODEL) and effort");
    }
  }
  const Result<JsonDoc> servers =
      JsonDoc::parse(spec->mcp_servers.empty() ? "[]" : spec->mcp_servers);
  if (!servers.has_value()) co_return;
  for (const JsonView& mcp : servers->root().elements()) {
    const Result<HttpAnswer> added = co_await call("POST", "/mcp", mcp_body(mcp));
    if (added.has_value() && added->ok()) continue;
    attached->config_failures.push_back("mcp server " +
                                        std::string(mcp.get_string("name").value_or("?")));
  }
}

/// How much fits into each model's context, for usage_update.
Task<void> Agent::learn_models() {
  const Result<HttpAnswer> answer = co_await call("GET", "/config/providers", {});
  if (stop_->stop_requested() || !answer.has_value() || !answer->ok()) co_return;
  const Result<JsonDoc> doc = answer->json();
  if (!doc.has_value()) co_return;
  for (const JsonView& provider : doc->root().elements("providers")) {
    const std::string prefix = std::string(provider.get_string("id").value_or("")) + "/";
    for (const auto& model : provider.find("models").members()) {
      tracker_->set_context_size(prefix + std::string(model.first),
                                 model.second.get_int64("limit.context").value_or(0));
    }
  }
}

Task<void> Agent::stop_late(TimePoint when, StopSource* late) {
  const bool slept = co_await io::Sleep(reactor_, when, late->token());
  if (slept) late->request_stop();
}

}  // namespace berth::server::opencode
