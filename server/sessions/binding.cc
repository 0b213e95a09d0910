#include <berth/server/sessions/binding.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/sessions/rows_json.h>
#include <berth/server/sessions/session.h>
#include <berth/server/sessions/spans.h>

#include <utility>

namespace berth::server {

Binding::Binding(SessionContext& context, Session& session, BindingRow row)
    : context_(context),
      session_(session),
      row_(std::move(row)),
      usage_(row_.usage),
      gone_(context.reactor()) {
  gone_.set();
}

std::string Binding::stderr_tail() const {
  return port_ == nullptr ? std::string() : port_->stderr_tail();
}

std::string_view Binding::next() const {
  if (needs_decision()) return {};
  if (row_.continuation_owed) return "history";
  if (live()) return "live";
  if (!row_.native_session_id.empty()) return "resumed";
  return session_.has_past() ? "history" : "new";
}

bool Binding::owes_story(std::int64_t number) const {
  return row_.continuation_owed || row_.told_turn < number - 1;
}

void Binding::save() {
  row_.updated_ms = context_.now_ms();
  context_.journal.add(row_);
}

// --- commands ---

void Binding::prompt(const TurnRow& turn, std::string blocks) {
  prompted_turn_ = turn.id;
  tool_calls_.clear();
  heard_ = context_.reactor().clock().now();
  port_->prompt(turn.id, std::move(blocks), prompt_meta_json(turn));
}

bool Binding::steer(std::string_view turn, std::string_view blocks) {
  return live() && runs_turn() && prompted_turn_ == turn && port_->steer(turn, blocks);
}

void Binding::cancel(std::string_view turn) {
  session_.questions().cancel_of(*this, "cancel");
  if (live()) port_->cancel(turn);
}

void Binding::end(bool at_once) {
  if (retry_.started()) {
    context_.reactor().disarm(retry_);
    if (wanted()) session_.on_agent_lost(*this, "its start was given up");
  }
  if (waits_to_start()) {
    context_.pool.gone(*this);
    if (wanted()) session_.on_agent_lost(*this, "its start was given up");
  }
  if (gone_.is_set()) return;
  ending_ = true;
  port_->end(at_once);
}

Task<void> Binding::stop(bool at_once) {
  end(at_once);
  co_await gone_.wait();
}

Task<void> Binding::shutdown() {
  context_.reactor().disarm(retry_);
  if (port_ != nullptr) {
    co_await port_->shutdown();
    RoomListener::unlink();
    port_.reset();
  }
  leave_pool();  // and for a request that waits in stop()
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

// --- the end of a turn ---

void Binding::answered(std::int64_t turn_number) {
  crashes_ = 0;
  last_trouble_.clear();
  row_.continuation_owed = false;
  row_.told_turn = turn_number;
  save();
}

std::string Binding::end_turn(std::string_view reported_usage) {
  std::string shown = usage_.end_turn(reported_usage);
  row_.usage = usage_.stored();
  save();
  return shown;
}

std::vector<std::string> Binding::take_open_tool_calls() {
  const ToolCalls calls = std::exchange(tool_calls_, {});
  const TurnRow* now = session_.current_turn();
  for (const ToolCall& call : calls.all()) {
    if (now != nullptr && !call.has_result) on_tool_call_over(context_, session_.row(), *now, call);
  }
  return calls.open_ids();
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

/// The turn that the agent was asked last is the one that runs.
bool Binding::runs_turn() const {
  const TurnRow* now = session_.current_turn();
  return now != nullptr && now->id == prompted_turn_;
}

/// What an agent says belongs to the turn that it was asked last. After the ending that only amends
/// the transcript; what says nothing of a turn (commands, titles) then belongs to none.
std::string_view Binding::turn_of(std::string_view kind) const {
  if (runs_turn()) return prompted_turn_;
  const bool is_content =
      kind.ends_with("_chunk") || kind.starts_with("tool_call") || kind == "plan";
  if (is_content && !prompted_turn_.empty()) return prompted_turn_;
  const TurnRow* now = session_.current_turn();
  return now != nullptr && now->agent == row_.agent ? std::string_view(now->id)
                                                    : std::string_view();
}

void Binding::on_update(std::int64_t attach_epoch, const AgentUpdate& update) {
  if (is_late(attach_epoch)) return;
  hear();
  const bool is_usage = update.kind == "usage_update";
  if (is_usage || (!update.tool_call_id.empty() && runs_turn())) {
    const Result<JsonDoc> doc = JsonDoc::parse(update.update);
    if (doc.has_value() && !is_usage) {
      const ToolCall* over = tool_calls_.note(doc->root(), heard_);
      if (over) on_tool_call_over(context_, session_.row(), *session_.current_turn(), *over);
    }
    if (doc.has_value() && is_usage && usage_.note_update(doc->root(), runs_turn())) {
      row_.usage = usage_.stored();
      save();
    }
  }
  session_.append_update(turn_of(update.kind), row_.agent, update);
}

void Binding::on_foreign_message(std::int64_t attach_epoch, std::string_view method,
                                 std::string_view params) {
  if (is_late(attach_epoch)) return;
  hear();
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
  hear();
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

bool Binding::can_wait() const {
  return runs_turn() && session_.current_turn()->state != TurnState::stopping;
}

void Binding::on_question(std::int64_t attach_epoch, const AgentQuestion& question) {
  if (is_late(attach_epoch)) return;
  hear();
  session_.questions().open(*this, question);
}

void Binding::on_question_withdrawn(std::int64_t attach_epoch, std::uint64_t reply_id) {
  if (!is_late(attach_epoch)) session_.questions().withdraw(*this, reply_id);
}

void Binding::deliver(std::uint64_t reply_id, const AgentAnswer& answer) {
  heard_ = context_.reactor().clock().now();
  if (port_ != nullptr) port_->answer(reply_id, answer);
}

}  // namespace berth::server
