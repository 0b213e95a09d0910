#include <berth/server/sessions/questions.h>

#include <berth/core/json_writer.h>
#include <berth/core/prng.h>
#include <berth/server/sessions/interactions.h>
#include <berth/server/sessions/rows_json.h>
#include <berth/server/sessions/session.h>

#include <algorithm>
#include <utility>

namespace berth::server {

Questions::Questions(SessionContext& context, Session& session,
                     std::vector<InteractionRow> left_open)
    : context_(context), session_(session), left_open_(std::move(left_open)) {}

void Questions::open(Asker& asker, const AgentQuestion& question) {
  Open opened;
  opened.asker = &asker;
  opened.reply_id = question.reply_id;
  InteractionRow& row = opened.row;
  row.session = session_.row().no;
  row.id = "int_" + make_ulid(context_.now_ms(), context_.platform.random());
  row.turn = session_.current_turn() == nullptr ? "" : session_.current_turn()->id;
  row.agent = asker.name();
  row.child = question.child;
  row.kind = to_string(question.kind);
  row.payload = question.params;
  row.opened_ms = context_.now_ms();
  context_.journal.add(row);
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member("id", row.id)
      .member("kind", row.kind)
      .member_raw("request", question.params)
      .end_object();
  session_.append("interaction.opened", row.agent, data);
  session_.on_gate(+1);
  const std::string option = choose_by_policy(session_.row().permission, question.params);
  if (!option.empty()) {
    asker.deliver(question.reply_id, {AgentAnswer::Outcome::selected, option, {}});
    close(std::move(opened), InteractionState::answered, option,
          "policy:" + session_.row().permission);
    return;
  }
  if (session_.current_turn() == nullptr || session_.current_turn()->state == TurnState::stopping) {
    asker.deliver(question.reply_id, {});
    close(std::move(opened), InteractionState::cancelled, {}, "no running turn");
    return;
  }
  open_.push_back(std::move(opened));
}

InteractionRow Questions::close(Open question, InteractionState state, std::string_view option_id,
                                std::string_view by) {
  InteractionRow& row = question.row;
  row.state = state;
  row.answered_by = by;
  row.closed_ms = context_.now_ms();
  if (!option_id.empty()) {
    row.answer.clear();
    JsonWriter(row.answer).begin_object().member("option_id", option_id).end_object();
  }
  context_.journal.add(row);
  session_.append("interaction.closed", row.agent, interaction_closed_json(row));
  session_.on_gate(-1);
  return row;
}

Result<InteractionRow> Questions::answer(std::string_view id, std::string_view option_id,
                                         std::string_view kind, bool cancelled) {
  const auto found = std::find_if(open_.begin(), open_.end(),
                                  [&](const Open& question) { return question.row.id == id; });
  if (found == open_.end()) {
    return fail(ErrorKind::not_found, "interaction_not_found",
                "no open interaction " + std::string(id));
  }
  std::string option;
  if (!cancelled) {
    Result<std::string> chosen = choose_option(found->row.payload, option_id, kind);
    if (!chosen.has_value()) return fail(std::move(chosen.error()));
    option = std::move(*chosen);
  }
  Open question = std::move(*found);
  open_.erase(found);
  AgentAnswer decided;
  if (!cancelled) decided = {AgentAnswer::Outcome::selected, option, {}};
  question.asker->deliver(question.reply_id, decided);
  return close(std::move(question),
               cancelled ? InteractionState::cancelled : InteractionState::answered, option,
               "user");
}

void Questions::withdraw(const Asker& asker, std::uint64_t reply_id) {
  const auto found = std::find_if(open_.begin(), open_.end(), [&](const Open& question) {
    return question.asker == &asker && question.reply_id == reply_id;
  });
  if (found == open_.end()) return;
  Open question = std::move(*found);
  open_.erase(found);
  question.asker->deliver(reply_id, {});
  close(std::move(question), InteractionState::cancelled, {}, "agent");
}

void Questions::cancel_of(const Asker& asker, std::string_view by) {
  std::vector<Open> rest;
  for (Open& question : std::exchange(open_, {})) {
    if (question.asker != &asker) {
      rest.push_back(std::move(question));
      continue;
    }
    question.asker->deliver(question.reply_id, {});
    close(std::move(question), InteractionState::cancelled, {}, by);
  }
  open_ = std::move(rest);
}

void Questions::recover() {
  for (InteractionRow& row : std::exchange(left_open_, {})) {
    row.state = InteractionState::cancelled;
    row.answered_by = "server restart";
    row.closed_ms = context_.now_ms();
    session_.append("interaction.closed", {}, interaction_closed_json(row));
    context_.journal.add(std::move(row));
  }
}

}  // namespace berth::server
