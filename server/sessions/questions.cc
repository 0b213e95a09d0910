#include <berth/server/sessions/questions.h>

#include <berth/core/json_doc.h>
#include <berth/core/prng.h>
#include <berth/server/sessions/rows_json.h>
#include <berth/server/sessions/session.h>

#include <algorithm>
#include <set>
#include <utility>

namespace berth::server {

namespace {

/// The tool call of a permission request: what the request says, and what was said of it before.
/// The request may be the first mention, and it may name nothing but the id.
ToolCall call_in_question(const Asker& asker, const JsonView& request) {
  const JsonView said = request.find("toolCall");
  ToolCalls calls;
  const ToolCall* known = asker.tool_call(said.get_string("toolCallId").value_or(""));
  if (known == nullptr) return read_tool_call(said);
  calls.add(*known);
  calls.note(said);
  return calls.all().front();
}

}  // namespace

Questions::Questions(SessionContext& context, Session& session,
                     std::vector<InteractionRow> left_open)
    : context_(context), session_(session), left_open_(std::move(left_open)) {}

// --- questions come ---

void Questions::open(Asker& asker, const AgentQuestion& question) {
  Open opened;
  opened.asker = &asker;
  opened.reply_id = question.reply_id;
  InteractionRow& row = opened.row;
  row.session = session_.row().no;
  row.id = "int_" + make_ulid(context_.now_ms(), context_.platform.random());
  row.turn = asker.can_wait() ? session_.current_turn()->id : "";
  row.agent = asker.name();
  row.child = question.child;
  row.kind = to_string(question.kind);
  row.payload = question.params;
  row.opened_ms = context_.now_ms();
  const auto time =
      std::chrono::duration_cast<std::chrono::milliseconds>(context_.limits.question_expiry);
  row.expires_ms = row.opened_ms + time.count();
  context_.journal.add(row);
  session_.touch();
  session_.append("interaction.opened", row.agent, interaction_opened_json(row));
  if (!row.turn.empty()) session_.on_gate(+1);
  if (!asker.can_wait()) {
    asker.deliver(question.reply_id, {});
    close(std::move(opened), InteractionState::cancelled, "no running turn");
    return;
  }
  if (answer_by_policy(opened, question)) return;
  open_.push_back(std::move(opened));
  arm();
}

/// Permissions follow the session's rules. Only "reject" speaks for a person who is asked in words:
/// nobody will answer there.
bool Questions::answer_by_policy(Open& opened, const AgentQuestion& question) {
  const std::string policy = session_.row().permission;
  Decided decided;
  if (question.kind != QuestionKind::permission) {
    if (policy != "reject") return false;
    decided.answer.outcome = AgentAnswer::Outcome::declined;
    decided.json = R"({"action":"decline"})";
    opened.asker->deliver(opened.reply_id, decided.answer);
    close(std::move(opened), decided, "policy:reject");
    return true;
  }
  const Result<JsonDoc> request = JsonDoc::parse(question.params);
  if (!request.has_value()) return false;
  const ToolCall call = call_in_question(*opened.asker, request->root());
  const Verdict verdict = judge(policy, rules_, call, session_.row().directory);
  const std::string option = choose_by_policy(verdict.action, question.params);
  if (option.empty()) return false;
  Result<Decided> chosen =
      decide_answer(opened.row, {opened.row.id, AnswerRequest::Action::choose, option, {}, {}});
  if (!chosen.has_value()) return false;
  opened.asker->deliver(opened.reply_id, chosen->answer);
  std::string by = verdict.rule == 0 ? "policy:" : "rule:" + std::to_string(verdict.rule) + ":";
  by += to_string(verdict.action);
  close(std::move(opened), *chosen, by);
  return true;
}

// --- and go ---

InteractionRow Questions::close(Open question, const Decided& decided, std::string_view by) {
  InteractionRow& row = question.row;
  row.state = decided.state;
  row.answer = decided.json;
  row.answered_by = by;
  row.closed_ms = context_.now_ms();
  context_.journal.add(row);
  session_.touch();
  session_.append("interaction.closed", row.agent, interaction_closed_json(row));
  if (!row.turn.empty()) session_.on_gate(-1);
  return std::move(row);
}

InteractionRow Questions::close(Open question, InteractionState state, std::string_view by) {
  return close(std::move(question), Decided{{}, state, {}}, by);
}

Questions::Open* Questions::find(std::string_view id) {
  const auto found = std::find_if(open_.begin(), open_.end(),
                                  [&](const Open& question) { return question.row.id == id; });
  return found == open_.end() ? nullptr : &*found;
}

Questions::Open Questions::take(Open& question) {
  Open taken = std::move(question);
  open_.erase(open_.begin() + (&question - open_.data()));
  return taken;
}

Result<std::vector<InteractionRow>> Questions::answer(const std::vector<AnswerRequest>& requests,
                                                      std::string_view by) {
  std::vector<Decided> decisions;
  std::set<std::string_view> named;
  for (const AnswerRequest& request : requests) {
    if (!named.insert(request.id).second) {
      return fail(ErrorKind::invalid, "bad_field",
                  "answers: " + request.id + " stands there twice");
    }
    const Open* question = find(request.id);
    if (question == nullptr) {
      return fail(ErrorKind::not_found, "interaction_not_found", request.id);
    }
    Result<Decided> decided = decide_answer(question->row, request);
    if (!decided.has_value()) return fail(std::move(decided.error()).with_context(request.id));
    decisions.push_back(std::move(*decided));
  }
  // Nothing can go wrong any more: to the agents first, into the log after.
  std::vector<InteractionRow> closed;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Open question = take(*find(requests[i].id));
    question.asker->deliver(question.reply_id, decisions[i].answer);
    closed.push_back(close(std::move(question), decisions[i], by));
  }
  arm();
  return closed;
}

void Questions::withdraw(const Asker& asker, std::uint64_t reply_id) {
  const auto found = std::find_if(open_.begin(), open_.end(), [&](const Open& question) {
    return question.asker == &asker && question.reply_id == reply_id;
  });
  if (found == open_.end()) return;
  Open question = take(*found);
  question.asker->deliver(reply_id, {});
  close(std::move(question), InteractionState::cancelled, "agent");
}

void Questions::cancel_of(const Asker& asker, std::string_view by) {
  std::vector<Open> rest;
  for (Open& question : std::exchange(open_, {})) {
    if (question.asker != &asker) {
      rest.push_back(std::move(question));
      continue;
    }
    question.asker->deliver(question.reply_id, {});
    close(std::move(question), InteractionState::cancelled, by);
  }
  open_ = std::move(rest);
}

// --- time ---

void Questions::arm() {
  if (TimerOp::started() || open_.empty()) return;
  std::int64_t first = open_.front().row.expires_ms;
  for (const Open& question : open_) first = std::min(first, question.row.expires_ms);
  const std::int64_t left = std::max<std::int64_t>(first - context_.now_ms(), 0);
  context_.reactor().arm(*this, context_.reactor().clock().now() + std::chrono::milliseconds(left));
}

void Questions::on_timer() {
  const std::int64_t now = context_.now_ms();
  for (std::size_t i = 0; i < open_.size();) {
    if (open_[i].row.expires_ms > now) {
      ++i;
      continue;
    }
    Open question = take(open_[i]);
    question.asker->deliver(question.reply_id, {});  // time never allows anything
    close(std::move(question), InteractionState::expired, "expiry");
  }
  arm();
}

void Questions::stop() {
  context_.reactor().disarm(*this);
}

void Questions::recover() {
  for (InteractionRow& row : std::exchange(left_open_, {})) {
    const bool expired = row.expires_ms != 0 && row.expires_ms <= context_.now_ms();
    row.state = expired ? InteractionState::expired : InteractionState::cancelled;
    row.answered_by = expired ? "expiry" : "server restart";
    row.closed_ms = context_.now_ms();
    session_.append("interaction.closed", row.agent, interaction_closed_json(row));
    context_.journal.add(std::move(row));
  }
}

}  // namespace berth::server
