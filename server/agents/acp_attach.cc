// How an agent comes to its native session: start, initialize, restore or make, configure.
#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/agents/acp2_messages.h>
#include <berth/server/agents/acp_agent.h>
#include <berth/server/agents/acp_errors.h>

#include <utility>

namespace berth::server {

namespace {

constexpr int kTransientRetries = 3;
constexpr Duration kTransientWait = std::chrono::milliseconds(250);  // doubled each time
constexpr std::int64_t kMinuteMs = 60'000;
/// After the beginning of a minute, in case the agent's clock lags.
constexpr std::int64_t kMinuteMarginMs = 250;
/// How long the end of a replay is awaited; what comes later is told apart by ReplayGuard.
constexpr Duration kReplayEndWait = std::chrono::seconds(10);

}  // namespace

void AcpAgent::attach(AttachSpec spec) {
  BERTH_ASSERT(state_ == State::none);
  state_ = State::attaching;
  attach_epoch_ = spec.attach_epoch;
  expected_end_ = false;
  give_up_ = false;
  left_ = false;
  started_.reset();
  over_.reset();
  replay_.reset();
  last_replayed_ = 0;
  pings_ = {};
  native_session_id_.clear();
  capabilities_ = {};
  v2_ = false;
  translator_.reset();
  auth_methods_.clear();
  mode_option_.clear();
  modes_.clear();
  config_options_.clear();
  static_cast<void>(filter_.finish());
  scope_.spawn(run(std::move(spec)));
}

Task<void> AcpAgent::pause(Duration duration) {
  rung_.reset();
  if (give_up_) co_return;
  io::Reactor& reactor = platform_.reactor();
  reactor.arm(alarm_, reactor.clock().now() + duration);
  co_await rung_.wait();
  reactor.disarm(alarm_);
}

Task<void> AcpAgent::run(AttachSpec spec) {
  if (profile_.waits_for_next_minute) co_await wait_for_next_minute(&spec);
  AttachFailure failure;
  Attached attached;
  Result<void> ready =
      fail(ErrorKind::cancelled, "agent_ended", "the agent was not wanted any more");
  GitFolders git_folders;
  if (!give_up_ && spec.git_folders) git_folders = co_await spec.git_folders();
  if (!give_up_) co_await processes_.weigh();
  if (!give_up_) ready = take_seat(spec, std::move(git_folders));
  if (ready.has_value()) {
    ready = co_await handshake(&spec, &attached, &failure);
    if (!ready.has_value()) {
      // Whatever failed: what was spawned is killed and reaped before anybody hears of it. Where
      // others have a seat in it, no further one gets any.
      if (ready.error().kind != ErrorKind::unavailable) expected_end_ = true;
      if (ready.error().kind == ErrorKind::timed_out) process_->retire();
      if (!over_.is_set()) leave_process(true);
      co_await over_.wait();
    }
  }
  if (ready.has_value()) {
    state_ = State::live;
    attached.process = connection().process_id();
    if (!silent_) sink_.on_attached(attach_epoch_, attached);
    if (!silent_) show_session_state();
    co_await over_.wait();
  }
  AgentExit exit;
  exit.expected = expected_end_;
  exit.process_goes_on = left_;
  if (process_ != nullptr) {
    exit.process = connection().process_id();
    exit.status = connection().exit_status();
    exit.stderr_tail = connection().stderr_tail();
  }
  failure.stderr_tail = exit.stderr_tail;
  process_.reset();
  open_questions_.clear();
  state_ = State::none;
  if (silent_) co_return;
  if (ready.has_value()) {
    sink_.on_exited(attach_epoch_, std::move(exit));
  } else {
    failure.error = std::move(ready.error());
    sink_.on_attach_failed(attach_epoch_, std::move(failure));
  }
}

Result<void> AcpAgent::take_seat(const AttachSpec& spec, GitFolders git_folders) {
  Result<AgentLaunch> launch = processes_.launch_spec(spec, std::move(git_folders));
  if (!launch.has_value()) return fail(std::move(launch.error()));
  process_ = processes_.acquire(spec.may_start);
  if (process_ == nullptr) {
    return fail(ErrorKind::unavailable, kNoSeat, "no process has a seat left for it");
  }
  const bool is_new = process_->is_empty();
  process_->sit(*this);
  if (is_new) process_->start(*launch);
  if (process_->initialized() != nullptr) started_.set();
  return {};
}

void AcpAgent::name_session(std::string_view native_session_id) {
  native_session_id_ = native_session_id;
  if (!over_.is_set()) process_->name(*this, native_session_id_);
}

Task<void> AcpAgent::wait_for_next_minute(const AttachSpec* spec) {
  if (spec->native_session_id.empty()) co_return;
  const std::int64_t now = platform_.reactor().clock().wall().count();
  const std::int64_t made = natives_.made_before_ms(spec->native_session_id);
  if (made / kMinuteMs != now / kMinuteMs) co_return;
  co_await pause(std::chrono::milliseconds(kMinuteMs - now % kMinuteMs + kMinuteMarginMs));
}

/// The error of a call that was part of attaching: what the agent said, or that it ended or was
/// silent.
Error AcpAgent::attach_error(std::string_view method, const RpcReply& reply,
                             AttachFailure* failure) const {
  if (reply.error.empty()) return Error(reply.failure).with_context(method);
  failure->agent_error = reply.error;
  const std::string said = std::string(method) + " was refused: " + reply.error.substr(0, 500);
  switch (acp::classify(reply.error, profile_)) {
    case acp::Failure::needs_login:
      failure->auth_methods = auth_methods_;
      return make_error(ErrorKind::denied, "agent_needs_login",
                        acp::login_instructions(profile_, auth_methods_) + " (" + said + ")");
    case acp::Failure::transient:
      return make_error(ErrorKind::unavailable, "agent_error", said);
    case acp::Failure::unknown_session:
    case acp::Failure::method_missing:
    case acp::Failure::bad_params:
    case acp::Failure::other:
      break;
  }
  return make_error(ErrorKind::invalid, "agent_error", said);
}

Task<Result<void>> AcpAgent::handshake(const AttachSpec* spec, Attached* attached,
                                       AttachFailure* failure) {
  co_await started_.wait();
  if (const Error* why = connection().start_failure()) co_return fail(Error(*why));
  if (give_up_ || process_->initialized() == nullptr) {
    co_return fail(ErrorKind::unavailable, "agent_ended", "the agent was not wanted any more");
  }
  const RpcReply reply = *process_->initialized();
  if (!reply.ok()) co_return fail(attach_error("initialize", reply, failure));
  const Result<JsonDoc> result = JsonDoc::parse(reply.result);
  if (!result.has_value())
    co_return fail(ErrorKind::invalid, "agent_error", "initialize: bad result");
  const JsonView root = result->root();
  attached->protocol_version = static_cast<int>(root.get_int64("protocolVersion").value_or(0));
  v2_ = profile_.acp_v2 && attached->protocol_version == acp2::kProtocolVersion;
  if (!v2_ && attached->protocol_version != acp::kProtocolVersion) {
    co_return fail(ErrorKind::unsupported, "protocol_version",
                   "the agent speaks ACP version " + std::to_string(attached->protocol_version) +
                       ", berth speaks " + (profile_.acp_v2 ? "1 and 2" : "1"));
  }
  read_hello(root, attached);
  Result<void> opened = co_await open_native_session(spec, attached, failure);
  if (!opened.has_value()) co_return fail(std::move(opened.error()));
  co_await restore_config(spec, attached);
  co_return Result<void>();
}

/// What the agent says of itself in its answer to initialize.
void AcpAgent::read_hello(const JsonView& root, Attached* attached) {
  capabilities_ = v2_ ? acp2::read_capabilities(root) : acp::read_capabilities(root);
  if (root.find("authMethods").is_array()) {
    auth_methods_ = v2_ ? acp2::auth_methods(root) : root.raw("authMethods");
  }
  const JsonView info = root.find(v2_ ? "info" : "agentInfo");
  if (info.is_object()) attached->agent_info = info.raw();
  const JsonView capabilities = root.find(v2_ ? "capabilities" : "agentCapabilities");
  if (capabilities.is_object()) attached->capabilities = capabilities.raw();
}

/// One of session/new, resume and load: what may pass is tried again, what the agent does not take
/// is left out.
Task<RpcReply> AcpAgent::open_call(std::string method, acp::OpenParams* params,
                                   Attached* attached) {
  Duration wait = kTransientWait;
  for (int retries = 0;; ++retries) {
    std::string opening = v2_ ? acp2::open_params(*params) : acp::open_params(*params);
    RpcReply reply = co_await call(method, std::move(opening));
    if (reply.error.empty()) co_return reply;
    const acp::Failure why = acp::classify(reply.error, profile_);
    if (why == acp::Failure::transient && retries < kTransientRetries && !give_up_) {
      co_await pause(wait);
      wait *= 2;
      continue;
    }
    const bool without = why == acp::Failure::bad_params &&
                         acp::drop_optional(*params, reply.error, attached->config_failures);
    if (!without) co_return reply;
  }
}

/// True when the native session is back, false when the next rung is to be tried.
Task<Result<bool>> AcpAgent::restore(const AttachSpec* spec, const acp::OpenParams* wanted,
                                     Rung rung, Attached* attached, AttachFailure* failure) {
  const std::string method = rung == Rung::resume ? "session/resume" : "session/load";
  acp::OpenParams params = *wanted;
  Said last = natives_.last_said(params.native_session_id);
  if (last.empty() && rung == Rung::load && spec->last_said) last = co_await spec->last_said();
  name_session(params.native_session_id);
  replay_.begin(std::move(last));
  RpcReply reply = co_await open_call(method, &params, attached);
  replay_.answered(last_replayed_ > reply.notifications_before);
  if (!reply.ok()) replay_.reset();
  if (reply.ok()) {
    if (rung == Rung::load) co_await let_replay_end();
    attached->rung = rung;
    attached->native_session_id = params.native_session_id;
    const Result<JsonDoc> result = JsonDoc::parse(reply.result);
    if (result.has_value()) read_session_state(result->root());
    co_return true;
  }
  Error error = attach_error(method, reply, failure);
  attached->reason = error.message;
  attached->agent_error = reply.error;
  if (reply.error.empty()) co_return fail(std::move(error));
  switch (acp::classify(reply.error, profile_)) {
    case acp::Failure::unknown_session:
    case acp::Failure::method_missing:
      co_return false;
    case acp::Failure::needs_login:
    case acp::Failure::transient:
      break;
    case acp::Failure::bad_params:
    case acp::Failure::other:
      // An error that nobody can read must not cost the agent's memory.
      failure->needs_decision = true;
      break;
  }
  co_return fail(std::move(error));
}

Task<void> AcpAgent::let_replay_end() {
  if (profile_.replay_ends_with.empty() || replay_.marked()) co_return;
  co_await pause(kReplayEndWait);
}

Task<Result<void>> AcpAgent::open_native_session(const AttachSpec* spec, Attached* attached,
                                                 AttachFailure* failure) {
  acp::OpenParams params{spec->native_session_id, spec->directory, spec->mcp_servers,
                         spec->additional_directories};
  acp::keep_to_capabilities(params, capabilities_, attached->config_failures);
  if (!params.native_session_id.empty()) {
    if (!capabilities_.resume && !capabilities_.load)
      attached->reason = "the agent can neither resume nor load sessions";
    for (const Rung rung : {Rung::resume, Rung::load}) {
      if (rung == Rung::resume ? !capabilities_.resume : !capabilities_.load) continue;
      Result<bool> restored = co_await restore(spec, &params, rung, attached, failure);
      if (!restored.has_value()) co_return fail(std::move(restored.error()));
      if (*restored) co_return Result<void>();
    }
    attached->rung = Rung::history;
  }
  name_session({});
  params.native_session_id.clear();
  RpcReply reply = co_await open_call("session/new", &params, attached);
  if (!reply.ok()) co_return fail(attach_error("session/new", reply, failure));
  const Result<JsonDoc> result = JsonDoc::parse(reply.result);
  const auto id = result.has_value() ? result->root().get_string("sessionId")
                                     : std::optional<std::string_view>();
  if (!id.has_value() || id->empty()) {
    co_return fail(ErrorKind::invalid, "agent_error", "session/new: the result has no sessionId");
  }
  name_session(*id);
  attached->native_session_id = native_session_id_;
  if (profile_.waits_for_next_minute) {
    natives_.made(native_session_id_, platform_.reactor().clock().wall().count());
  }
  read_session_state(result->root());
  co_return Result<void>();
}

// --- mode and options ---

void AcpAgent::read_session_state(const JsonView& result) {
  if (result.find("modes").is_object()) modes_ = result.raw("modes");
  if (!result.find("configOptions").is_array()) return;
  const JsonView options = result.find("configOptions");
  config_options_ = v2_ ? acp2::config_options(options) : options.raw();
  mode_option_.clear();
  for (const JsonView& option : options.elements()) {
    if (option.get_string("category").value_or("") != "mode") continue;
    mode_option_ = option.get_string(v2_ ? "configId" : "id").value_or("");
    break;
  }
}

/// What the agent said of itself in the answer that opened the session, in the words of updates.
void AcpAgent::show_session_state() {
  const auto show = [&](std::string_view kind, std::string_view json) {
    sink_.on_update(attach_epoch_, {json, kind, {}, false});
  };
  const Result<JsonDoc> modes =
      JsonDoc::parse(modes_.empty() ? std::string_view("{}") : std::string_view(modes_));
  if (modes.has_value() && modes->root().get_string("currentModeId")) {
    std::string update;
    JsonWriter writer(update);
    writer.begin_object()
        .member("sessionUpdate", "current_mode_update")
        .member("currentModeId", *modes->root().get_string("currentModeId"));
    const std::string available = modes->root().raw("availableModes");
    if (!available.empty()) {
      writer.key("_meta").begin_object().member_raw("berth/availableModes", available).end_object();
    }
    writer.end_object();
    show("current_mode_update", update);
  }
  if (config_options_.empty()) return;
  std::string update;
  JsonWriter(update)
      .begin_object()
      .member("sessionUpdate", "config_option_update")
      .member_raw("configOptions", config_options_)
      .end_object();
  show("config_option_update", update);
}

std::string AcpAgent::mode_call(std::string_view mode, std::string* method) const {
  if (modes_.empty() && !mode_option_.empty()) {
    std::string value;
    JsonWriter(value).string(mode);
    *method = "session/set_config_option";
    return config_call(mode_option_, value);
  }
  *method = "session/set_mode";
  return acp::set_mode_params(native_session_id_, mode);
}

std::string AcpAgent::config_call(std::string_view id, std::string_view json_value) const {
  return v2_ ? acp2::set_config_params(native_session_id_, id, json_value)
             : acp::set_config_params(native_session_id_, id, json_value);
}

Task<bool> AcpAgent::restore_mode(std::string mode, Attached* attached) {
  std::string method;
  const std::string params = mode_call(mode, &method);
  RpcReply reply = co_await call(method, params);
  if (reply.ok()) co_return true;
  attached->config_failures.push_back("mode: " + reply.error + reply.failure.message);
  co_return false;
}

Task<void> AcpAgent::restore_config(const AttachSpec* spec, Attached* attached) {
  if (!spec->mode.empty()) {
    const bool restored = co_await restore_mode(spec->mode, attached);
    const Result<JsonDoc> modes =
        JsonDoc::parse(modes_.empty() ? std::string_view("{}") : std::string_view(modes_));
    if (restored && modes.has_value() && !modes_.empty()) {
      std::string now;
      JsonWriter writer(now);
      writer.begin_object().member("currentModeId", spec->mode);
      const std::string available = modes->root().raw("availableModes");
      if (!available.empty()) writer.member_raw("availableModes", available);
      writer.end_object();
      modes_ = now;
    }
  }
  if (spec->config.empty()) co_return;
  const Result<JsonDoc> config = JsonDoc::parse(spec->config);
  if (!config.has_value()) co_return;
  for (const auto& member : config->root().members()) {
    const std::string id(member.first);
    RpcReply reply =
        co_await call("session/set_config_option", config_call(id, member.second.raw()));
    if (!reply.ok()) {
      attached->config_failures.push_back(id + ": " + reply.error + reply.failure.message);
      continue;
    }
    const Result<JsonDoc> result = JsonDoc::parse(reply.result);
    if (result.has_value()) read_session_state(result->root());
  }
}

}  // namespace berth::server
