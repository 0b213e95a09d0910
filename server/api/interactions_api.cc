// Questions that wait for a person, their answers, and the policy that answers by itself.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/rows_json.h>

#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kAnswersMax = 100;
constexpr int kListMax = 1000;

Result<AnswerRequest> read_answer(std::string id, const JsonView& body) {
  AnswerRequest request;
  request.id = std::move(id);
  const auto text = [&](const char* name) {
    return std::string(body.get_string(name).value_or(""));
  };
  request.option_id = text("option_id");
  request.kind = text("kind");
  const std::string outcome = text("outcome");
  const std::string action = text("action");
  for (const char* name : {"option_id", "kind", "outcome", "action"}) {
    const JsonView value = body.find(name);
    if (value.present() && (!value.as_string().has_value() || value.as_string()->empty())) {
      return fail(ErrorKind::invalid, "bad_field", std::string(name) + ": must be a string");
    }
  }
  const int given =
      !request.option_id.empty() + !request.kind.empty() + !outcome.empty() + !action.empty();
  if (given != 1) {
    return fail(ErrorKind::invalid, "bad_field",
                "option_id: exactly one of it, kind, action and outcome is needed");
  }
  if (!outcome.empty() && outcome != "cancelled") {
    return fail(ErrorKind::invalid, "bad_field", "outcome: must be cancelled");
  }
  const JsonView content = body.find("content");
  if (content.present() && !content.is_null()) {
    if (action != "accept" || !content.is_object()) {
      return fail(ErrorKind::invalid, "bad_field",
                  "content: must be an object, with the action accept");
    }
    request.content = content.raw();
  }
  if (!outcome.empty() || action == "cancel") {
    request.action = AnswerRequest::Action::cancel;
  } else if (action == "accept") {
    request.action = AnswerRequest::Action::accept;
  } else if (action == "decline") {
    request.action = AnswerRequest::Action::decline;
  } else if (action.empty()) {
    request.action = AnswerRequest::Action::choose;
  } else {
    return fail(ErrorKind::invalid, "bad_field", "action: must be accept, decline or cancel");
  }
  return request;
}

Result<std::vector<AnswerRequest>> read_answers(const Body& body) {
  std::vector<AnswerRequest> requests;
  for (const JsonView& entry : body.root().elements("answers")) {
    const std::string at = "answers[" + std::to_string(requests.size()) + "]";
    Result<void> known =
        check_members(entry, at + ".", {"id", "option_id", "kind", "action", "outcome", "content"});
    if (!known.has_value()) return fail(std::move(known.error()));
    std::string id(entry.get_string("id").value_or(""));
    if (id.empty()) return fail(ErrorKind::invalid, "bad_field", at + ".id: is missing");
    Result<AnswerRequest> request = read_answer(std::move(id), entry);
    if (!request.has_value()) return fail(std::move(request.error()).with_context(at));
    requests.push_back(std::move(*request));
  }
  if (requests.empty() || requests.size() > kAnswersMax) {
    return fail(ErrorKind::invalid, "bad_field",
                "answers: must be an array of 1 to " + std::to_string(kAnswersMax));
  }
  return requests;
}

/// Why a question takes no answer any more.
io::HttpResponse closed_problem(const InteractionRow& row) {
  switch (row.state) {
    case InteractionState::answered:
      return problem(make_error(ErrorKind::conflict, "already_answered",
                                row.id + ": was answered by " + row.answered_by + " before"),
                     interaction_json(row));
    case InteractionState::expired:
      return problem(make_error(ErrorKind::not_found, "interaction_expired",
                                row.id + ": nobody answered in time"),
                     interaction_json(row));
    case InteractionState::cancelled:
    case InteractionState::open:
      break;
  }
  return problem(make_error(ErrorKind::not_found, "interaction_gone",
                            row.id + ": was closed before by " + row.answered_by),
                 interaction_json(row));
}

}  // namespace

Api::Answer Api::list_interactions(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const std::string_view state = call->query("state");
  if (!state.empty() && state != "open") {
    co_return problem(
        make_error(ErrorKind::invalid, "bad_field", "state: must be open, or left out"));
  }
  const SessionNo no = (*session)->session_no();
  const bool open_only = state == "open";
  Result<std::vector<InteractionRow>> rows = co_await context_.read(
      [no, open_only](Store& store) { return store.list_interactions(no, open_only, kListMax); });
  if (!rows.has_value()) co_return problem(rows.error());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().key("interactions").begin_array();
  for (const InteractionRow& row : *rows) writer.raw(interaction_json(row));
  writer.end_array().end_object();
  co_return json_response(200, std::move(body));
}

/// The answers go to the agents at once; who answered is told so when no crash can take it back.
Task<Result<std::vector<InteractionRow>>> Api::give_answers(
    Session* session, std::vector<AnswerRequest> requests,
    std::optional<io::HttpResponse>* refused) {
  Result<std::vector<InteractionRow>> closed = session->questions().answer(requests, "user");
  Result<void> committed = co_await context_.journal.committed();
  if (closed.has_value()) {
    if (!committed.has_value()) co_return fail(std::move(committed.error()));
    co_return closed;
  }
  if (std::string_view(closed.error().code) != "interaction_not_found") co_return closed;
  // Closed, or never there: the row says, also one of a moment ago.
  const SessionNo no = session->session_no();
  const std::string id = closed.error().message;
  Result<std::optional<InteractionRow>> stored =
      co_await context_.read([no, id](Store& store) { return store.find_interaction(no, id); });
  if (!stored.has_value()) co_return fail(std::move(stored.error()));
  if (!stored->has_value()) {
    co_return fail(ErrorKind::not_found, "interaction_not_found", "no interaction " + id);
  }
  *refused = closed_problem(**stored);
  co_return fail(ErrorKind::conflict, "already_answered", id);
}

Api::Answer Api::answer_interaction(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body =
      Body::parse(call->request->body, {"option_id", "kind", "outcome", "action", "content"});
  if (!body.has_value()) co_return problem(body.error());
  Result<AnswerRequest> request = read_answer(call->arguments[1], body->root());
  if (!request.has_value()) co_return problem(request.error());
  std::vector<AnswerRequest> requests;
  requests.push_back(std::move(*request));
  std::optional<io::HttpResponse> refused;
  Result<std::vector<InteractionRow>> closed =
      co_await give_answers(*session, std::move(requests), &refused);
  if (refused.has_value()) co_return std::move(*refused);
  if (!closed.has_value()) co_return problem(closed.error());
  co_return json_response(200, interaction_json(closed->front()));
}

Api::Answer Api::answer_interactions(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body = Body::parse(call->request->body, {"answers"});
  if (!body.has_value()) co_return problem(body.error());
  Result<std::vector<AnswerRequest>> requests = read_answers(*body);
  if (!requests.has_value()) co_return problem(requests.error());
  std::optional<io::HttpResponse> refused;
  Result<std::vector<InteractionRow>> closed =
      co_await give_answers(*session, std::move(*requests), &refused);
  if (refused.has_value()) co_return std::move(*refused);
  if (!closed.has_value()) co_return problem(closed.error());
  std::string answer;
  JsonWriter writer(answer);
  writer.begin_object().key("interactions").begin_array();
  for (const InteractionRow& row : *closed) writer.raw(interaction_json(row));
  writer.end_array().end_object();
  co_return json_response(200, std::move(answer));
}

Api::Answer Api::put_permission(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body = Body::parse(call->request->body, {"permission", "rules"});
  if (!body.has_value()) co_return problem(body.error());
  const SessionRow& row = (*session)->row();
  Result<std::string> permission = body->text("permission", row.permission);
  if (!permission.has_value()) co_return problem(permission.error());
  std::string rules = body->root().find("rules").present() ? body->raw("rules") : row.rules;
  Result<void> set = (*session)->set_policy(std::move(*permission), std::move(rules));
  if (!set.has_value()) co_return problem(set.error());
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return problem(committed.error());
  co_return json_response(200, session_view_json(**session));
}

}  // namespace berth::server
