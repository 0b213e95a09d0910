// Inputs: the turns that wait. Listed, changed, put in another order, removed, sent now.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/conditional.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/rows_json.h>

#include <utility>

namespace berth::server {

namespace {

std::string inputs_json(const Session& session) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().key("inputs").begin_array();
  for (const TurnRow& turn : session.queue()) writer.raw(input_json(turn, session.row().id));
  writer.end_array().member_bool("held", session.row().held).end_object();
  return out;
}

}  // namespace

Api::Answer Api::list_inputs(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  io::HttpResponse list = co_await answer_inputs(*session);
  if (list.status != 200) co_return list;
  co_return json_if_changed(*call->request, std::move(list.body));
}

/// Nothing is shown before it is in the log.
Api::Answer Api::answer_inputs(Session* session) {
  std::string body = inputs_json(*session);
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return problem(committed.error());
  co_return json_response(200, std::move(body));
}

Api::Answer Api::order_inputs(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body = Body::parse(call->request->body, {"order"});
  if (!body.has_value()) co_return problem(body.error());
  if (!body->root().find("order").is_array()) {
    co_return problem(
        make_error(ErrorKind::invalid, "bad_field", "order: must be an array of ids"));
  }
  Result<void> fits = check_preconditions(*call->request, etag_of(inputs_json(**session)));
  if (!fits.has_value()) co_return problem(fits.error());
  std::vector<std::string> order;
  for (const JsonView& id : body->root().elements("order")) {
    if (!id.as_string().has_value()) {
      co_return problem(
          make_error(ErrorKind::invalid, "bad_field", "order: must be an array of ids"));
    }
    order.emplace_back(*id.as_string());
  }
  Result<void> done = (*session)->reorder_inputs(order);
  if (!done.has_value()) co_return problem(done.error(), inputs_json(**session));
  co_return co_await answer_inputs(*session);
}

Api::Answer Api::edit_input(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body = Body::parse(call->request->body, {"prompt", "agent"});
  if (!body.has_value()) co_return problem(body.error());
  InputEdit edit;
  if (!body->raw("prompt").empty()) {
    Result<std::string> blocks = prompt_blocks(body->root().find("prompt"));
    if (!blocks.has_value()) co_return problem(blocks.error());
    edit.blocks = std::move(*blocks);
  }
  Result<std::string> agent = body->text("agent");
  if (!agent.has_value()) co_return problem(agent.error());
  edit.agent = std::move(*agent);
  if (edit.blocks.empty() && edit.agent.empty()) {
    co_return problem(
        make_error(ErrorKind::invalid, "bad_field", "prompt: or agent, one must be given"));
  }
  const std::string& id = call->arguments[1];
  co_return co_await answer_input(*session, id, (*session)->edit_input(id, std::move(edit)));
}

Api::Answer Api::remove_input(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const std::string& id = call->arguments[1];
  Result<TurnRow> removed = (*session)->remove_input(id);
  co_return co_await answer_input(*session, id, std::move(removed));
}

Api::Answer Api::send_input(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const std::string& id = call->arguments[1];
  co_return co_await answer_input(*session, id, (*session)->send_now(id));
}

Api::Answer Api::answer_input(Session* session, std::string id, Result<TurnRow> done) {
  if (!done.has_value() && done.error().kind == ErrorKind::not_found) {
    // Memory forgets turns that ended long ago, the log does not: these wait no more.
    Result<TurnRow> stored = co_await look_up_turn(session, id);
    if (!stored.has_value()) co_return problem(stored.error());
    done = fail(input_promoted());
  }
  if (!done.has_value()) co_return problem(done.error());
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return problem(committed.error());
  co_return json_response(200, input_json(*done, session->row().id));
}

}  // namespace berth::server
