#include <berth/server/sessions/binding.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/sessions/rows_json.h>
#include <berth/server/sessions/session.h>

#include <utility>

namespace berth::server {

Binding::Binding(SessionContext& context, Session& session, BindingRow row)
    : context_(context), session_(session), row_(std::move(row)), gone_(context.reactor()) {
  gone_.set();
}

std::string Binding::stderr_tail() const {
  return port_ == nullptr ? std::string() : port_->stderr_tail();
}

std::string_view Binding::next() const {
  if (live()) return "live";
  if (!row_.native_session_id.empty()) return row_.continuation_owed ? "history" : "resumed";
  return session_.last_seq() > 1 ? "history" : "new";
}

void Binding::save() {
  row_.updated_ms = context_.now_ms();
  context_.journal.add(row_);
}

// --- commands ---

void Binding::attach() {
  if (!gone_.is_set()) {
    attach_when_gone_ = ending_;
    return;
  }
  if (port_ == nullptr) {
    Result<std::unique_ptr<AgentPort>> made = context_.agents.make(row_.agent, *this);
    if (!made.has_value()) {
      session_.on_agent_lost(*this, made.error().message);
      return;
    }
    port_ = std::move(*made);
  }
  attaching_ = true;
  attach_began_ = context_.reactor().clock().now();
  gone_.reset();
  ++row_.attach_epoch;
  save();
  port_->attach({row_.attach_epoch, row_.agent, session_.row().key, session_.row().directory,
                 row_.native_session_id, row_.mode, row_.config});
}

void Binding::prompt(std::string_view turn, std::string blocks) {
  port_->prompt(std::string(turn), std::move(blocks));
}

void Binding::cancel(std::string_view turn) {
  session_.questions().cancel_of(*this, "cancel");
  if (live()) port_->cancel(turn);
}

void Binding::end(bool at_once) {
  if (gone_.is_set()) return;
  ending_ = true;
  port_->end(at_once);
}

Task<void> Binding::stop(bool at_once) {
  end(at_once);
  co_await gone_.wait();
}

Task<void> Binding::shutdown() {
  if (port_ == nullptr) co_return;
  co_await port_->shutdown();
  RoomListener::unlink();
  port_.reset();
  gone_.set();  // for a request that waits in stop()
}

void Binding::recover() {
  if (row_.state != BindingState::live && row_.pid == 0) return;
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member_int64("pid", row_.pid)
      .member("status", "lost with the server")
      .member_bool("expected", false)
      .member("stderr_tail", "")
      .end_object();
  session_.append("agent.exited", row_.agent, data);
  row_.state = BindingState::crashed;
  row_.pid = 0;
  save();
}

void Binding::set_mode(std::string mode) {
  row_.mode = std::move(mode);
  save();
  if (live()) port_->set_mode(row_.mode);
  std::string data;
  JsonWriter(data).begin_object().member("mode", row_.mode).end_object();
  session_.append("config.changed", row_.agent, data);
}

void Binding::set_config(std::string_view id, std::string_view json_value) {
  std::string merged;
  JsonWriter writer(merged);
  writer.begin_object();
  if (!row_.config.empty()) {
    const Result<JsonDoc> old = JsonDoc::parse(row_.config);
    for (const auto& member : old->root().members()) {
      if (member.first != id) writer.member_raw(member.first, member.second.raw());
    }
  }
  writer.member_raw(id, json_value).end_object();
  row_.config = std::move(merged);
  save();
  if (live()) port_->set_config_option(id, json_value);
  std::string data;
  JsonWriter(data).begin_object().member_raw("config", row_.config).end_object();
  session_.append("config.changed", row_.agent, data);
}

void Binding::continuation_paid() {
  if (!row_.continuation_owed) return;
  row_.continuation_owed = false;
  save();
}

// --- attach ---

void Binding::on_attached(std::int64_t attach_epoch, const Attached& attached) {
  if (is_late(attach_epoch)) return;
  attaching_ = false;
  // A new native session in a session that has a past (or replaces one that the agent forgot) owes
  // it the story.
  const bool fresh = attached.rung == Rung::new_session || attached.rung == Rung::history;
  const bool has_past = session_.row().no != 0 && session_.current_turn() != nullptr &&
                        session_.current_turn()->number > 1;
  if (fresh && has_past) row_.continuation_owed = true;
  const Rung rung = fresh && has_past ? Rung::history : fresh ? Rung::new_session : attached.rung;
  row_.state = BindingState::live;
  row_.native_session_id = attached.native_session_id;
  row_.agent_info = attached.agent_info;
  row_.pid = attached.process.pid;
  row_.start_time = attached.process.start_time;
  save();

  std::string data;
  JsonWriter writer(data);
  writer.begin_object()
      .member("rung", to_string(rung))
      .member("native_session_id", attached.native_session_id)
      .member_int64("pid", attached.process.pid)
      .member_int64("attach_epoch", attach_epoch)
      .member_int64("protocol_version", attached.protocol_version)
      .member_raw("agent_info", attached.agent_info.empty() ? "null" : attached.agent_info)
      .member_raw("capabilities", attached.capabilities.empty() ? "null" : attached.capabilities)
      .member_raw("agent_error", attached.agent_error.empty() ? "null" : attached.agent_error);
  writer.key("reason");
  if (attached.reason.empty()) {
    writer.null();
  } else {
    writer.string(attached.reason);
  }
  writer.key("config_failures").begin_array();
  for (const std::string& what : attached.config_failures) writer.string(what);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      context_.reactor().clock().now() - attach_began_);
  writer.end_array().member_int64("attach_ms", took.count()).end_object();
  session_.append("agent.attached", row_.agent, data);
  session_.on_agent_ready(*this);
}

void Binding::on_attach_failed(std::int64_t attach_epoch, AttachFailure failure) {
  if (is_late(attach_epoch)) return;
  attaching_ = false;
  row_.state = failure.needs_decision ? BindingState::needs_decision : BindingState::crashed;
  row_.pid = 0;
  save();
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member("code", failure.error.code)
      .member("message", failure.error.message)
      .member_raw("agent_error", failure.agent_error.empty() ? "null" : failure.agent_error)
      .member_bool("needs_decision", failure.needs_decision)
      .member_raw("auth_methods", failure.auth_methods.empty() ? "null" : failure.auth_methods)
      .member("stderr_tail", failure.stderr_tail)
      .end_object();
  session_.append("agent.failed", row_.agent, data);
  after_end(failure.error.message);
}

void Binding::on_exited(std::int64_t attach_epoch, AgentExit exit) {
  if (is_late(attach_epoch)) return;
  row_.state = exit.expected ? BindingState::sleeping : BindingState::crashed;
  row_.pid = 0;
  save();
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member_int64("pid", exit.process.pid)
      .member("status", io::describe(exit.status))
      .member_bool("expected", exit.expected)
      .member("stderr_tail", exit.stderr_tail)
      .end_object();
  session_.append("agent.exited", row_.agent, data);
  session_.questions().cancel_of(*this, "agent exit");
  after_end("the agent ended: " + io::describe(exit.status));
}

/// A turn that came while the process was being ended gets a new one; it was not sent to the old.
void Binding::after_end(std::string_view why) {
  ending_ = false;
  gone_.set();
  const TurnRow* turn = session_.current_turn();
  const bool wanted = std::exchange(attach_when_gone_, false) && turn != nullptr &&
                      turn->agent == row_.agent && turn->state == TurnState::starting;
  if (wanted) {
    attach();
  } else {
    session_.on_agent_lost(*this, why);
  }
}

// --- the stream ---

bool Binding::wants_more() const {
  if (!context_.journal.full_for(session_)) return true;
  auto& self = const_cast<Binding&>(*this);
  if (!RoomListener::linked()) context_.journal.call_when_room(self);
  return false;
}

void Binding::on_room() {
  if (port_ != nullptr) port_->resume_reading();
}

void Binding::on_update(std::int64_t attach_epoch, const AgentUpdate& update) {
  if (is_late(attach_epoch)) return;
  if (!update.tool_call_id.empty()) {
    const Result<JsonDoc> doc = JsonDoc::parse(update.update);
    if (doc.has_value()) tool_calls_.note(doc->root());
  }
  session_.append("update", row_.agent, update.update, update.has_raw_cr);
}

std::vector<std::string> Binding::take_open_tool_calls() {
  return std::exchange(tool_calls_, {}).open_ids();
}

void Binding::on_foreign_message(std::int64_t attach_epoch, std::string_view method,
                                 std::string_view params) {
  if (is_late(attach_epoch)) return;
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member("method", method)
      .member_raw("params", params)
      .end_object();
  session_.append("agent.message", row_.agent, data);
}

void Binding::on_junk(std::int64_t attach_epoch, const char* reason, std::uint64_t bytes,
                      std::string_view head) {
  if (is_late(attach_epoch)) return;
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member("reason", reason)
      .member_uint64("bytes", bytes)
      .member("head", head)
      .end_object();
  session_.append("agent.junk", row_.agent, data);
}

void Binding::on_prompt_ended(std::int64_t attach_epoch, std::string_view turn, PromptEnd end) {
  if (is_late(attach_epoch)) return;
  session_.on_prompt_ended(*this, turn, end);
}

// --- questions ---

void Binding::on_question(std::int64_t attach_epoch, const AgentQuestion& question) {
  if (!is_late(attach_epoch)) session_.questions().open(*this, question);
}

void Binding::on_question_withdrawn(std::int64_t attach_epoch, std::uint64_t reply_id) {
  if (!is_late(attach_epoch)) session_.questions().withdraw(*this, reply_id);
}

void Binding::deliver(std::uint64_t reply_id, const AgentAnswer& answer) {
  if (port_ != nullptr) port_->answer(reply_id, answer);
}

}  // namespace berth::server
