#include <berth/server/agents/acp_agent.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/agents/acp_messages.h>
#include <berth/server/agents/probe.h>

#include <csignal>
#include <utility>

namespace berth::server {

namespace {
constexpr int kMethodNotFound = -32601;
constexpr int kInvalidParams = -32602;
}  // namespace

AcpAgent::AcpAgent(io::Platform& platform, JsonScanner& scanner, const AgentProfile& profile,
                   std::string tag, AgentSink& sink)
    : platform_(platform),
      scanner_(scanner),
      profile_(profile),
      tag_(std::move(tag)),
      sink_(sink),
      scope_(platform.reactor()) {}

AcpAgent::~AcpAgent() {
  BERTH_ASSERT(state_ == State::none);
}

io::LaunchSpec AcpAgent::launch_spec(const AttachSpec& spec) const {
  io::LaunchSpec launch;
  launch.command = profile_.command;
  launch.arguments = profile_.arguments;
  launch.environment = agent_environment(platform_.environment(), profile_);
  launch.working_directory = spec.directory;
  launch.tag = tag_ + "-" + spec.session_key;
  return launch;
}

// --- attach ---

void AcpAgent::attach(AttachSpec spec) {
  BERTH_ASSERT(state_ == State::none);
  state_ = State::attaching;
  attach_epoch_ = spec.attach_epoch;
  expected_end_ = false;
  replaying_ = false;
  native_session_id_.clear();
  scope_.spawn(run(std::move(spec)));
}

Task<void> AcpAgent::run(AttachSpec spec) {
  RpcLimits limits;
  limits.line_max = profile_.line_max;
  limits.exit_grace = profile_.timeouts.exit_grace;
  RpcPeer& peer = *this;
  connection_ = std::make_unique<RpcConnection>(platform_, scanner_, peer, limits);
  AttachFailure failure;
  Attached attached;
  Result<void> ready = connection_->start(launch_spec(spec));
  if (ready.has_value()) {
    attached.process = connection_->process_id();
    ready = co_await handshake(&spec, &attached, &failure);
    if (!ready.has_value()) {
      // Whatever failed: what was spawned is killed and reaped before anybody hears of it.
      if (ready.error().kind != ErrorKind::unavailable) expected_end_ = true;
      connection_->end(true);
      co_await connection_->closed().wait();
    }
  }
  if (ready.has_value()) {
    state_ = State::live;
    if (!silent_) sink_.on_attached(attach_epoch_, attached);
    co_await connection_->closed().wait();
  }
  AgentExit exit{connection_->process_id(), connection_->exit_status(), expected_end_,
                 connection_->stderr_tail()};
  failure.stderr_tail = exit.stderr_tail;
  connection_.reset();
  open_requests_.clear();
  state_ = State::none;
  if (silent_) co_return;
  if (ready.has_value()) {
    sink_.on_exited(attach_epoch_, std::move(exit));
  } else {
    failure.error = std::move(ready.error());
    sink_.on_attach_failed(attach_epoch_, std::move(failure));
  }
}

namespace {

/// The error of a call that was part of attaching: what the agent said, or that it ended or was
/// silent.
Error attach_error(std::string_view method, const RpcReply& reply, std::string* agent_error) {
  if (reply.error.empty()) return Error(reply.failure).with_context(method);
  *agent_error = reply.error;
  const Result<JsonDoc> error = JsonDoc::parse(reply.error);
  const bool needs_login =
      error.has_value() && error->root().get_int64("code").value_or(0) == -32000;
  return make_error(needs_login ? ErrorKind::denied : ErrorKind::invalid,
                    needs_login ? "agent_needs_login" : "agent_error",
                    std::string(method) + " was refused: " + reply.error.substr(0, 500));
}

}  // namespace

Task<Result<void>> AcpAgent::handshake(const AttachSpec* spec, Attached* attached,
                                       AttachFailure* failure) {
  RpcReply reply = co_await connection_->call("initialize", acp::initialize_params(),
                                              profile_.timeouts.initialize);
  if (!reply.ok()) co_return fail(attach_error("initialize", reply, &failure->agent_error));
  const Result<JsonDoc> result = JsonDoc::parse(reply.result);
  if (!result.has_value())
    co_return fail(ErrorKind::invalid, "agent_error", "initialize: bad result");
  const JsonView root = result->root();
  attached->protocol_version = static_cast<int>(root.get_int64("protocolVersion").value_or(0));
  if (attached->protocol_version != acp::kProtocolVersion) {
    co_return fail(ErrorKind::unsupported, "protocol_version",
                   "the agent speaks ACP version " + std::to_string(attached->protocol_version) +
                       ", berth speaks 1");
  }
  attached->agent_info = root.raw("agentInfo");
  attached->capabilities = root.raw("agentCapabilities");
  Result<void> opened = co_await open_native_session(spec, attached, failure);
  if (!opened.has_value()) co_return fail(std::move(opened.error()));
  co_await restore_config(spec, attached);
  co_return Result<void>();
}

Task<Result<void>> AcpAgent::open_native_session(const AttachSpec* spec, Attached* attached,
                                                 AttachFailure* failure) {
  if (!spec->native_session_id.empty()) {
    const Result<JsonDoc> capabilities =
        JsonDoc::parse(attached->capabilities.empty() ? "{}" : attached->capabilities);
    const JsonView caps = capabilities->root();
    const bool can_resume = caps.is_object("sessionCapabilities.resume");
    const bool can_load = caps.get_bool("loadSession").value_or(false);
    struct Attempt {
      const char* method;
      bool possible;
      Rung rung;
    };
    const Attempt attempts[] = {{"session/resume", can_resume, Rung::resume},
                                {"session/load", can_load, Rung::load}};
    if (!can_resume && !can_load)
      attached->reason = "the agent can neither resume nor load sessions";
    for (const Attempt& attempt : attempts) {
      if (!attempt.possible) continue;
      native_session_id_ = spec->native_session_id;
      replaying_ = true;
      RpcReply reply = co_await connection_->call(
          attempt.method, acp::restore_params(spec->native_session_id, spec->directory),
          profile_.timeouts.session);
      replaying_ = false;
      if (reply.ok()) {
        attached->rung = attempt.rung;
        attached->native_session_id = spec->native_session_id;
        co_return Result<void>();
      }
      Error error = attach_error(attempt.method, reply, &attached->agent_error);
      attached->reason = error.message;
      const auto why = reply.error.empty()
                           ? acp::RestoreFailure::other
                           : acp::classify_restore_error(reply.error, profile_.unknown_session);
      if (why != acp::RestoreFailure::unknown_session &&
          why != acp::RestoreFailure::method_missing) {
        // A transient or unreadable failure must not cost the agent's memory.
        failure->agent_error = reply.error;
        failure->needs_decision = !reply.error.empty() && why == acp::RestoreFailure::other;
        co_return fail(std::move(error));
      }
    }
    attached->rung = Rung::history;
  }
  native_session_id_.clear();
  RpcReply reply = co_await connection_->call(
      "session/new", acp::new_session_params(spec->directory), profile_.timeouts.session);
  if (!reply.ok()) co_return fail(attach_error("session/new", reply, &failure->agent_error));
  const Result<JsonDoc> result = JsonDoc::parse(reply.result);
  const auto id = result.has_value() ? result->root().get_string("sessionId")
                                     : std::optional<std::string_view>();
  if (!id.has_value() || id->empty()) {
    co_return fail(ErrorKind::invalid, "agent_error", "session/new: the result has no sessionId");
  }
  native_session_id_ = *id;
  attached->native_session_id = native_session_id_;
  co_return Result<void>();
}

Task<void> AcpAgent::restore_config(const AttachSpec* spec, Attached* attached) {
  if (!spec->mode.empty()) {
    RpcReply reply = co_await connection_->call(
        "session/set_mode", acp::set_mode_params(native_session_id_, spec->mode),
        profile_.timeouts.session);
    if (!reply.ok())
      attached->config_failures.push_back("mode: " + reply.error + reply.failure.message);
  }
  if (spec->config.empty()) co_return;
  const Result<JsonDoc> config = JsonDoc::parse(spec->config);
  if (!config.has_value()) co_return;
  for (const auto& member : config->root().members()) {
    const std::string id(member.first);
    RpcReply reply = co_await connection_->call(
        "session/set_config_option",
        acp::set_config_params(native_session_id_, id, member.second.raw()),
        profile_.timeouts.session);
    if (!reply.ok())
      attached->config_failures.push_back(id + ": " + reply.error + reply.failure.message);
  }
}

// --- commands ---

void AcpAgent::prompt(std::string turn, std::string blocks) {
  BERTH_ASSERT(state_ == State::live && !prompt_open_);
  prompt_open_ = true;
  prompt_call_.turn = std::move(turn);
  // A turn may take hours: its end is the answer, the end of the process, or a cancel and its
  // grace.
  connection_->call("session/prompt", acp::prompt_params(native_session_id_, blocks), Duration{},
                    prompt_call_);
}

void AcpAgent::on_prompt_reply(RpcReply reply) {
  prompt_open_ = false;
  if (silent_) return;
  PromptEnd end;
  if (reply.ok()) {
    const Result<JsonDoc> result = JsonDoc::parse(reply.result);
    if (result.has_value()) {
      end.stop_reason = result->root().get_string("stopReason").value_or("");
      end.usage = result->root().raw("usage");
    }
    if (end.stop_reason.empty()) {
      end.error = make_error(ErrorKind::invalid, "agent_error",
                             "session/prompt: the result has no stopReason");
    }
  } else if (!reply.error.empty()) {
    end.agent_error = reply.error;
    end.error = make_error(ErrorKind::invalid, "agent_error", "the agent refused the prompt");
  } else {
    return;  // the process ended: on_exited says so
  }
  sink_.on_prompt_ended(attach_epoch_, prompt_call_.turn, std::move(end));
}

void AcpAgent::cancel(std::string_view turn) {
  if (state_ != State::live || !prompt_open_ || prompt_call_.turn != turn) return;
  connection_->notify("session/cancel", acp::session_params(native_session_id_));
}

void AcpAgent::answer(std::uint64_t reply_id, const AgentAnswer& answer) {
  const auto found = open_requests_.find(reply_id);
  if (found == open_requests_.end() || connection_ == nullptr) return;
  connection_->reply(found->second, acp::permission_result(answer.option_id));
  open_requests_.erase(found);
}

Task<void> AcpAgent::send_config(std::string method, std::string params, std::string what) {
  const std::int64_t epoch = attach_epoch_;
  RpcReply reply = co_await connection_->call(method, params, profile_.timeouts.session);
  if (silent_ || reply.ok() || reply.error.empty()) co_return;
  std::string report;
  JsonWriter(report)
      .begin_object()
      .member("what", what)
      .member_raw("error", reply.error)
      .end_object();
  sink_.on_foreign_message(epoch, "berth/config_refused", report);
}

void AcpAgent::set_mode(std::string_view mode) {
  if (state_ != State::live) return;
  scope_.spawn(
      send_config("session/set_mode", acp::set_mode_params(native_session_id_, mode), "mode"));
}

void AcpAgent::set_config_option(std::string_view id, std::string_view json_value) {
  if (state_ != State::live) return;
  scope_.spawn(send_config("session/set_config_option",
                           acp::set_config_params(native_session_id_, id, json_value),
                           std::string(id)));
}

void AcpAgent::resume_reading() {
  if (connection_ != nullptr) connection_->resume_reading();
}

void AcpAgent::end(bool at_once) {
  if (connection_ == nullptr) return;
  expected_end_ = true;
  connection_->end(at_once);
}

Task<void> AcpAgent::shutdown() {
  silent_ = true;
  end(true);
  co_await scope_.join();
}

std::string AcpAgent::stderr_tail() const {
  return connection_ == nullptr ? std::string() : connection_->stderr_tail();
}

// --- what the agent says ---

void AcpAgent::on_notification(const RoutedLine& line) {
  if (silent_) return;
  if (line.method == "session/update") {
    // Before the answer to session/new the id is not known yet, and some agents already speak.
    const bool ours = native_session_id_.empty() || line.session_id == native_session_id_;
    if (ours && !line.update.empty()) {
      if (replaying_) return;
      sink_.on_update(attach_epoch_,
                      {line.update, line.update_kind, line.tool_call_id, line.has_raw_cr});
      return;
    }
  }
  if (line.method == "$/cancel_request") {
    const Result<JsonDoc> params = JsonDoc::parse(line.params);
    const std::string raw_id = params.has_value() ? params->root().raw("requestId") : std::string();
    for (const auto& [reply_id, id] : open_requests_) {
      if (id != raw_id) continue;
      sink_.on_question_withdrawn(attach_epoch_, reply_id);
      return;
    }
    return;
  }
  sink_.on_foreign_message(attach_epoch_, line.method, line.params.empty() ? "{}" : line.params);
}

void AcpAgent::on_request(const RoutedLine& line) {
  const std::string raw_id(line.id.json);
  if (line.method == "session/request_permission" && !silent_) {
    if (line.params.empty() || line.session_id != native_session_id_) {
      connection_->reply_error(raw_id, kInvalidParams, "unknown session");
      return;
    }
    const std::uint64_t reply_id = next_reply_id_++;
    open_requests_.emplace(reply_id, raw_id);
    sink_.on_question(attach_epoch_, {QuestionKind::permission, reply_id, line.params, {}});
    return;
  }
  connection_->reply_error(raw_id, kMethodNotFound,
                           "berth does not offer " + std::string(line.method));
  if (!silent_) {
    sink_.on_foreign_message(attach_epoch_, line.method, line.params.empty() ? "{}" : line.params);
  }
}

void AcpAgent::on_junk(const char* reason, std::uint64_t bytes, std::string_view head) {
  if (!silent_) sink_.on_junk(attach_epoch_, reason, bytes, head);
}

}  // namespace berth::server
