#include <berth/server/agents/acp_agent.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_rpc.h>
#include <berth/core/json_writer.h>
#include <berth/server/agents/acp2_messages.h>
#include <berth/server/agents/acp_errors.h>
#include <berth/server/agents/reports.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

constexpr int kRequestCancelled = -32800;
/// Questions that one agent may have open; one that has more is not waiting for a person.
constexpr std::size_t kQuestionsMax = 256;
/// A session/close that nobody answers delays the end no longer than this.
constexpr Duration kCloseWait = std::chrono::seconds(1);
/// Who has not answered a ping for so long gets no further session.
constexpr Duration kPingSoon = std::chrono::seconds(1);

}  // namespace

AcpAgent::AcpAgent(io::Platform& platform, AcpProcesses& processes, NativeSessions& natives,
                   const AgentProfile& profile, AgentSink& sink)
    : platform_(platform),
      processes_(processes),
      natives_(natives),
      profile_(profile),
      sink_(sink),
      scope_(platform.reactor()),
      filter_({profile.strip, profile.strip_between}),
      started_(platform.reactor()),
      over_(platform.reactor()),
      rung_(platform.reactor()) {}

AcpAgent::~AcpAgent() {
  BERTH_ASSERT(state_ == State::none);
}

Task<RpcReply> AcpAgent::call(std::string method, std::string params) {
  return connection().call(std::move(method), std::move(params), profile_.timeouts.session, self());
}

// --- the prompt ---

void AcpAgent::prompt(std::string turn, std::string blocks, std::string meta) {
  BERTH_ASSERT(state_ == State::live && !prompt_call_.open);
  prompt_call_.open = true;
  process_->turn_begins();
  prompt_call_.cancelled = false;
  prompt_call_.turn = std::move(turn);
  replay_.prompted(blocks);
  translator_.prompted();
  said_ = {};
  // A turn may take hours: its end is the answer, the end of the process, or a cancel and its
  // grace.
  connection().call(
      "session/prompt",
      acp::prompt_params(native_session_id_, acp::blocks_for(blocks, capabilities_), meta),
      Duration{}, prompt_call_, self());
}

void AcpAgent::on_prompt_reply(RpcReply reply) {
  if (!reply.ok()) {
    translator_.given_up();
    // Without an error the process ended: on_exited says so.
    return reply.error.empty() ? forget_turn() : end_turn(prompt_error(reply.error));
  }
  const Result<JsonDoc> result = JsonDoc::parse(reply.result);
  const JsonView root = result.has_value() ? result->root() : JsonView();
  if (v2_) {  // it was taken, no more
    std::optional<PromptEnd> end = translator_.taken(root.get_string("messageId").value_or(""));
    if (end.has_value()) end_turn(std::move(*end));
    return;
  }
  PromptEnd end;
  end.stop_reason = root.get_string("stopReason").value_or("");
  if (root.find("usage").is_object()) end.usage = root.raw("usage");
  if (end.stop_reason.empty()) {
    end.error = make_error(ErrorKind::invalid, "agent_error",
                           "session/prompt: the result has no stopReason");
  }
  end_turn(std::move(end));
}

PromptEnd AcpAgent::prompt_error(const std::string& error) const {
  PromptEnd end;
  end.agent_error = error;
  const Result<JsonDoc> doc = JsonDoc::parse(error);
  const JsonView root = doc.has_value() ? doc->root() : JsonView();
  if (root.get_int64("code") == kRequestCancelled) {
    end.stop_reason = "cancelled";
  } else if (acp::is_login_error(error)) {
    end.error = make_error(ErrorKind::denied, "agent_needs_login",
                           acp::login_instructions(profile_, auth_methods_));
  } else {
    end.error = make_error(
        ErrorKind::invalid, "agent_error",
        "the agent failed: " + std::string(root.get_string("message").value_or("(no words)")));
  }
  return end;
}

/// The turn is over for this agent, whether or not anybody is told.
void AcpAgent::forget_turn() {
  if (std::exchange(prompt_call_.open, false)) process_->turn_ended();
  if (silent_) return;
  show_all(replay_.turn_over());
  if (replays()) natives_.said(native_session_id_, std::move(said_));
}

void AcpAgent::end_turn(PromptEnd end) {
  forget_turn();
  if (silent_) return;
  for (const UpdateFilter::Update& held : filter_.finish()) {
    sink_.on_update(attach_epoch_, {held.json, held.kind, {}, false});
  }
  // Some agents fail a prompt that was cancelled.
  if (prompt_call_.cancelled && end.stop_reason.empty()) end.stop_reason = "cancelled";
  sink_.on_prompt_ended(attach_epoch_, prompt_call_.turn, std::move(end));
}

void AcpAgent::cancel(std::string_view turn) {
  if (state_ != State::live || !prompt_call_.open || prompt_call_.turn != turn) return;
  if (std::exchange(prompt_call_.cancelled, true)) return;
  connection().notify("session/cancel", acp::session_params(native_session_id_));
}

bool AcpAgent::steer(std::string_view turn, std::string_view blocks) {
  if (state_ != State::live || !capabilities_.steering) return false;
  if (!prompt_call_.open || prompt_call_.turn != turn || prompt_call_.cancelled) return false;
  scope_.spawn(send_steer(acp::blocks_for(blocks, capabilities_)));
  return true;
}

Task<void> AcpAgent::send_steer(std::string blocks) {
  const std::int64_t epoch = attach_epoch_;
  RpcReply reply =
      co_await call("_session/steering", acp::steering_params(native_session_id_, blocks));
  if (silent_) co_return;
  const Result<JsonDoc> result =
      JsonDoc::parse(reply.ok() ? std::string_view(reply.result) : std::string_view("{}"));
  if (result.has_value() && result->root().get_string("outcome").value_or("") == "injected")
    co_return;
  // The turn was over: whoever steered is told, with what was not said.
  std::string report;
  JsonWriter(report)
      .begin_object()
      .member_raw("prompt", blocks)
      .member_raw("answer", reply.ok()            ? std::string_view(reply.result)
                            : reply.error.empty() ? std::string_view("null")
                                                  : std::string_view(reply.error))
      .end_object();
  sink_.on_foreign_message(epoch, "berth/steer_refused", report);
}

// --- other commands ---

void AcpAgent::answer(std::uint64_t reply_id, const AgentAnswer& answer) {
  const auto found = open_questions_.find(reply_id);
  if (found == open_questions_.end() || process_ == nullptr) return;
  const OpenQuestion question = std::move(found->second);
  open_questions_.erase(found);
  answer_raw(question, answer);
}

void AcpAgent::answer_raw(const OpenQuestion& question, const AgentAnswer& answer) {
  connection().reply(question.raw_id, question.kind == QuestionKind::elicitation
                                          ? acp::elicitation_result(answer)
                                          : acp::permission_result(answer));
}

Task<void> AcpAgent::send_config(std::string method, std::string params, std::string what) {
  const std::int64_t epoch = attach_epoch_;
  RpcReply reply = co_await call(method, params);
  if (silent_ || reply.ok() || reply.error.empty()) co_return;
  sink_.on_foreign_message(epoch, "berth/config_refused", config_refused(what, reply.error));
}

void AcpAgent::set_mode(std::string_view mode) {
  if (state_ != State::live) return;
  std::string method;
  std::string params = mode_call(mode, &method);
  scope_.spawn(send_config(std::move(method), std::move(params), "mode"));
}

void AcpAgent::set_config_option(std::string_view id, std::string_view json_value) {
  if (state_ != State::live) return;
  scope_.spawn(
      send_config("session/set_config_option", config_call(id, json_value), std::string(id)));
}

void AcpAgent::resume_reading() {
  if (process_ != nullptr) connection().resume_reading();
}

void AcpAgent::end(bool at_once) {
  if (state_ == State::none) return;
  expected_end_ = true;
  give_up_ = true;
  rung_.set();
  if (process_ == nullptr || over_.is_set()) return;
  const bool close = !at_once && state_ == State::live && capabilities_.close && !prompt_call_.open;
  if (!close) return leave_process(at_once);
  if (std::exchange(close_call_.open, true)) return;
  connection().call("session/close", acp::session_params(native_session_id_), kCloseWait,
                    close_call_, self());
}

void AcpAgent::on_session_closed() {
  close_call_.open = false;
  if (process_ != nullptr && connection().running()) leave_process(false);
}

/// Ends the process if nobody else has a seat in it; else it is only left.
void AcpAgent::leave_process(bool at_once) {
  if (process_->is_alone(*this)) {
    connection().end(at_once);
    return;
  }
  left_ = true;
  const TimePoint now = platform_.reactor().clock().now();
  if (pings_.open_since && now - *pings_.open_since > kPingSoon) process_->retire();
  if (prompt_call_.open) {
    // It did not answer its cancel, or was never asked: who knows what it still does.
    process_->retire();
    if (!prompt_call_.cancelled) {
      connection().notify("session/cancel", acp::session_params(native_session_id_));
    }
  }
  if (capabilities_.close && !native_session_id_.empty() && (at_once || prompt_call_.open)) {
    process_->close_behind(native_session_id_);
  }
  for (const auto& [reply_id, question] : std::exchange(open_questions_, {})) {
    answer_raw(question, AgentAnswer());
  }
  process_->leave(*this);
}

Task<void> AcpAgent::shutdown() {
  silent_ = true;
  end(true);
  co_await scope_.join();
}

std::string AcpAgent::stderr_tail() const {
  return process_ == nullptr ? std::string() : connection().stderr_tail();
}

// --- its abilities and its health ---

Abilities AcpAgent::abilities() const {
  Abilities can;
  if (state_ != State::live) return can;
  can.resumes = capabilities_.resume || capabilities_.load;
  can.stays = can.asks = can.answers_pings = true;
  can.steers = capabilities_.steering;
  can.takes_mode = !modes_.empty() || !mode_option_.empty();
  can.takes_options = !config_options_.empty();
  return can;
}

/// A request that no agent knows, named as the protocol wants extensions to be named: whoever is
/// well refuses it at once.
bool AcpAgent::ping() {
  if (state_ != State::live || process_->turns() > 0 || close_call_.open || pings_.open_since) {
    return false;
  }
  pings_.open_since = platform_.reactor().clock().now();
  connection().call("_berth/ping", "{}", Duration{}, ping_call_, self());
  return true;
}

/// Whose turn it is does not matter to an agent that does one thing at a time: a seat that idles is
/// not judged while another one works, nor by the time before.
PingState AcpAgent::pings() const {
  PingState pings = pings_;
  if (process_ == nullptr || !pings.open_since) return pings;
  pings.open_since = std::max(*pings.open_since, process_->worked());
  const std::size_t own = prompt_call_.open ? 1 : 0;
  if (process_->turns() > own) pings.open_since.reset();
  return pings;
}

void AcpAgent::on_ping_reply(const RpcReply& reply) {
  pings_.open_since.reset();
  if (reply.ok() || !reply.error.empty()) ++pings_.answered;
}

// --- what the agent says ---

void AcpAgent::take_any_update(const AgentUpdate& update) {
  if (!v2_) return take_update(update);
  for (const acp2::Translator::Update& told : translator_.take(update.kind, update.update)) {
    take_update({told.json, told.kind, told.tool_call_id, update.has_raw_cr});
  }
  std::optional<PromptEnd> end = translator_.take_end();
  if (end.has_value() && prompt_call_.open) end_turn(std::move(*end));
}

void AcpAgent::take_update(const AgentUpdate& update) {
  if (state_ == State::attaching && update.kind == profile_.replay_ends_with) {
    replay_.ended_by_mark();
    rung_.set();
  }
  switch (replay_.take(update)) {
    case ReplayGuard::Fate::show:
      show_update(update);
      return;
    case ReplayGuard::Fate::drop:
      last_replayed_ = connection().notifications();
      return;
    case ReplayGuard::Fate::hold:
      return;
    case ReplayGuard::Fate::release:
      show_all(replay_.release());
      return;
  }
}

void AcpAgent::show_all(const std::vector<ReplayGuard::Update>& updates) {
  for (const ReplayGuard::Update& update : updates) show_update(update.view());
}

void AcpAgent::show_update(const AgentUpdate& update) {
  if (prompt_call_.open && replays()) said_.note(update);
  if (!filter_.active()) {
    sink_.on_update(attach_epoch_, update);
    return;
  }
  AgentUpdate lasting = update;
  lasting.line = nullptr;  // what is shown behind it may point into it
  for (const UpdateFilter::Update& shown : filter_.pass(update.update, update.kind)) {
    if (shown.json.empty()) {
      sink_.on_update(attach_epoch_, lasting);
    } else {
      sink_.on_update(attach_epoch_, {shown.json, shown.kind, {}, false});
    }
  }
}

void AcpAgent::on_notification(const RoutedLine& line) {
  if (silent_) return;
  if (line.method == "session/update") {
    // Before the answer to session/new the id is not known yet, and some agents already speak.
    const bool ours = native_session_id_.empty() || line.session_id == native_session_id_;
    if (ours && !line.update.empty()) {
      // One that names no session may be for others too.
      Line* const whole = line.session_id.empty() ? nullptr : line.line;
      take_any_update({line.update, line.update_kind, line.tool_call_id, line.has_raw_cr, whole});
      return;
    }
  }
  if (line.method == "$/cancel_request") {
    const Result<JsonDoc> params = JsonDoc::parse(line.params);
    const std::string raw_id = params.has_value() ? params->root().raw("requestId") : std::string();
    for (const auto& [reply_id, question] : open_questions_) {
      if (question.raw_id != raw_id) continue;
      sink_.on_question_withdrawn(attach_epoch_, reply_id);
      return;
    }
    return;
  }
  sink_.on_foreign_message(attach_epoch_, line.method, line.params.empty() ? "{}" : line.params);
}

void AcpAgent::on_early_update(const AgentUpdate& update) {
  if (!silent_) take_any_update(update);
}

void AcpAgent::on_over() {
  if (prompt_call_.open) forget_turn();  // in v2 its call was answered long ago
  started_.set();
  over_.set();
}

void AcpAgent::ask(const RoutedLine& line, QuestionKind kind, std::string_view child) {
  const std::string raw_id(line.id.json);
  if (open_questions_.size() >= kQuestionsMax) {
    connection().reply_error(raw_id, kRpcInternalError, "too many open questions");
    return;
  }
  show_all(replay_.release());  // an agent that asks is at its new work
  const std::uint64_t reply_id = next_reply_id_++;
  open_questions_.emplace(reply_id, OpenQuestion{raw_id, kind});
  std::string in_v1;
  if (v2_ && kind == QuestionKind::permission) {
    const Result<JsonDoc> params = JsonDoc::parse(line.params);
    if (params.has_value()) in_v1 = acp2::permission_params(params->root());
  }
  sink_.on_question(attach_epoch_, {kind, reply_id, in_v1.empty() ? line.params : in_v1, child});
}

void AcpAgent::on_request(const RoutedLine& line) {
  const bool permission = line.method == "session/request_permission";
  const bool elicitation = line.method == "elicitation/create";
  if (silent_ || (!permission && !elicitation)) {
    refuse(line);
    return;
  }
  // What comes here is of this session or its sub-agents'. An elicitation may belong to a request
  // of ours instead, as in a login.
  const bool scoped = !line.session_id.empty() || elicitation;
  if (line.params.empty() || !scoped) {
    connection().reply_error(line.id.json, kRpcInvalidParams, "sessionId is missing");
    return;
  }
  const bool own = native_session_id_.empty() || line.session_id == native_session_id_;
  ask(line, permission ? QuestionKind::permission : QuestionKind::elicitation,
      own ? std::string_view() : line.session_id);
}

void AcpAgent::refuse(const RoutedLine& line) {
  // At once: an agent that waits for this answer stands still.
  connection().reply_error(line.id.json, kRpcMethodNotFound,
                           "berth does not offer " + std::string(line.method));
  if (silent_) return;
  if (!line.method.starts_with("fs/") && !line.method.starts_with("terminal/")) {
    sink_.on_foreign_message(attach_epoch_, line.method, line.params.empty() ? "{}" : line.params);
    return;
  }
  // Offered to nobody, tried all the same; what it would have written is no matter for the log.
  const Result<JsonDoc> params =
      JsonDoc::parse(line.params.empty() ? std::string_view("{}") : line.params);
  std::string brief;
  JsonWriter writer(brief);
  writer.begin_object();
  for (const char* name : {"path", "command", "terminalId"}) {
    if (!params.has_value() || !params->root().get_string(name)) continue;
    writer.member(name, *params->root().get_string(name));
  }
  writer.end_object();
  sink_.on_foreign_message(attach_epoch_, line.method, brief);
}

void AcpAgent::on_junk(const char* reason, std::uint64_t bytes, std::string_view head) {
  if (!silent_) sink_.on_junk(attach_epoch_, reason, bytes, head);
}

}  // namespace berth::server
