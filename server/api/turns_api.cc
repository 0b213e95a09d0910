// Turns: take, show, list, wait for, cancel.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/conditional.h>
#include <berth/server/api/problem.h>
#include <berth/server/api/waiting.h>
#include <berth/server/sessions/rows_json.h>
#include <berth/server/sessions/turn_time.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

io::HttpResponse turn_response(int status, const TurnRow& turn, const Session& session) {
  io::HttpResponse response = json_response(status, turn_json(turn, session.row().id));
  response.headers.emplace_back("Location",
                                "/v1/sessions/" + session.row().id + "/turns/" + turn.id);
  return response;
}

/// Milliseconds of "timeout", 0 without.
Result<std::int64_t> timeout_of(const JsonView& timeout) {
  if (!timeout.present() || timeout.is_null()) return 0;
  const double seconds = timeout.as_double().value_or(0);
  if (seconds >= kTurnTimeoutMin && seconds <= kTurnTimeoutMax) {
    return static_cast<std::int64_t>(seconds * 1000);
  }
  return fail(ErrorKind::invalid, "bad_field",
              "timeout: must be a number of seconds between 0.001 and 366 days");
}

Result<TurnRequest> read_turn_request(const io::HttpRequest& request, const TraceContext& trace,
                                      const Body* body) {
  TurnRequest turn;
  Result<std::string> blocks = prompt_blocks(body->root().find("prompt"));
  if (!blocks.has_value()) return fail(std::move(blocks.error()));
  turn.blocks = std::move(*blocks);
  Result<std::string> agent = body->text("agent");
  if (!agent.has_value()) return fail(std::move(agent.error()));
  turn.agent = std::move(*agent);
  Result<std::string> on_busy = body->text("on_busy", "queue");
  if (!on_busy.has_value()) return fail(std::move(on_busy.error()));
  if (*on_busy != "queue" && *on_busy != "reject" && *on_busy != "steer") {
    return fail(ErrorKind::invalid, "bad_field", "on_busy: must be queue, steer or reject");
  }
  turn.on_busy = *on_busy == "queue"   ? OnBusy::queue
                 : *on_busy == "steer" ? OnBusy::steer
                                       : OnBusy::reject;
  Result<std::int64_t> timeout = timeout_of(body->root().find("timeout"));
  if (!timeout.has_value()) return fail(std::move(timeout.error()));
  turn.timeout_ms = *timeout;
  Result<RequestKey> key = request_key_of(request);
  if (!key.has_value()) return fail(std::move(key.error()));
  turn.idempotency_key = std::move(key->key);
  turn.body_hash = std::move(key->body_hash);
  turn.trace = trace;
  return turn;
}

}  // namespace

Api::Answer Api::post_turn(ApiCall* call) {
  if (draining_) {
    co_return problem(draining());
  }
  Result<SessionUse> found = co_await find_session(call);
  if (!found.has_value()) co_return problem(found.error());
  const Result<Body> body =
      Body::parse(call->request->body, {"prompt", "agent", "on_busy", "timeout"});
  if (!body.has_value()) co_return problem(body.error());
  Result<TurnRequest> request = read_turn_request(*call->request, call->trace, &*body);
  if (!request.has_value()) co_return problem(request.error());
  co_return co_await take_turn(call, *found, std::move(*request));
}

/// A turn and, unless an earlier request with its key has, the session that it is in.
Api::Answer Api::post_turn_in_new_session(ApiCall* call) {
  if (draining_) co_return problem(draining());
  const Result<Body> body =
      Body::parse(call->request->body, {"session", "prompt", "agent", "on_busy", "timeout"});
  if (!body.has_value()) co_return problem(body.error());
  // Before anything is made.
  Result<TurnRequest> request = read_turn_request(*call->request, call->trace, &*body);
  if (!request.has_value()) co_return problem(request.error());
  if (!request->agent.empty() &&
      context_.find_profile(request->agent, call->caller.project) == nullptr) {
    co_return problem(make_error(ErrorKind::invalid, "bad_field",
                                 "agent: no profile \"" + request->agent + "\""));
  }
  Result<OpenRequest> wanted = read_open_request(body->raw("session"));
  if (!wanted.has_value()) co_return problem(std::move(wanted.error()).with_context("session"));
  if (body->root().get_string("session.agent").value_or("").empty() && !request->agent.empty()) {
    wanted->agent = request->agent;
  }
  wanted->project = call->caller.project;
  wanted->idempotency_key = request->idempotency_key;
  wanted->body_hash = request->body_hash;
  Result<OpenedSession> opened = co_await directory_.open(std::move(*wanted));
  if (!opened.has_value()) co_return problem(opened.error());
  co_return co_await take_turn(call, opened->session, std::move(*request));
}

Api::Answer Api::take_turn(ApiCall* call, Session* of, TurnRequest request) {
  Session& session = *of;
  const Duration wait = wait_of(*call->request);
  bool replayed = false;
  std::optional<TurnRow> turn;
  if (!request.idempotency_key.empty()) {
    const SessionNo no = session.session_no();
    const std::string key = request.idempotency_key;
    Result<std::optional<TurnRow>> stored =
        co_await context_.read([no, key](Store& store) { return store.find_turn_by_key(no, key); });
    if (!stored.has_value()) co_return problem(stored.error());
    // Memory knows what the store does not have yet.
    if (const TurnRow* known = session.find_turn_by_key(key)) *stored = *known;
    if (stored->has_value()) {
      turn = **stored;
      replayed = true;
      if (turn->body_hash != request.body_hash) {
        co_return problem(make_error(ErrorKind::invalid, "idempotency_mismatch",
                                     "Idempotency-Key: was used with another body"));
      }
    }
  }
  if (!turn) {
    Result<TurnRow> accepted = session.accept(std::move(request));
    if (!accepted.has_value()) co_return problem(accepted.error());
    turn = std::move(*accepted);
  }
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return problem(committed.error());
  if (wait.count() > 0) {
    const auto ended = [id = turn->id](const Session& one) {
      const TurnRow* known = one.find_turn(id);
      return known == nullptr || is_ended(known->state);
    };
    co_await wait_until(context_.reactor(), &session, ended, wait, call->exchange->gone());
    Result<TurnRow> now = co_await look_up_turn(&session, turn->id);
    if (now.has_value()) turn = std::move(*now);
  }
  io::HttpResponse response =
      turn_response(wait.count() > 0 && is_ended(turn->state) ? 200 : 202, *turn, session);
  if (replayed) response.headers.emplace_back("Idempotent-Replayed", "true");
  co_return response;
}

Task<Result<TurnRow>> Api::look_up_turn(Session* session, std::string id) {
  // What memory says may be newer than the log, and nothing is shown before it is in the log: what
  // it says now will be there then, what it says then need not.
  std::optional<TurnRow> now;
  if (const TurnRow* known = session->find_turn(id)) now = *known;
  Result<void> in_log = co_await context_.journal.committed_or_refused();
  if (!in_log.has_value()) co_return fail(std::move(in_log.error()));
  if (now) co_return std::move(*now);
  const SessionNo no = session->session_no();
  Result<std::optional<TurnRow>> stored =
      co_await context_.read([no, id](Store& store) { return store.find_turn(no, id); });
  if (!stored.has_value()) co_return fail(std::move(stored.error()));
  if (!stored->has_value()) {
    co_return fail(ErrorKind::not_found, "turn_not_found", "no turn " + id + " in this session");
  }
  co_return std::move(**stored);
}

Api::Answer Api::list_turns(ApiCall* call) {
  Result<SessionUse> found = co_await find_session(call);
  if (!found.has_value()) co_return problem(found.error());
  Session* session = *found;
  Result<std::uint64_t> limit = number_of("limit", call->query("limit"), 100, 1000);
  if (!limit.has_value()) co_return problem(limit.error());
  Result<std::uint64_t> before = number_of("before", call->query("before"), 0, 1ULL << 62);
  if (!before.has_value()) co_return problem(before.error());
  const SessionNo no = session->session_no();
  const auto before_number = static_cast<std::int64_t>(*before);
  const int count = static_cast<int>(*limit);
  Result<std::vector<TurnRow>> turns =
      co_await context_.read([no, before_number, count](Store& store) {
        return store.list_turns(no, before_number, count);
      });
  if (!turns.has_value()) co_return problem(turns.error());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().key("turns").begin_array();
  for (const TurnRow& turn : *turns) writer.raw(turn_json(turn, session->row().id));
  writer.end_array().end_object();
  co_return json_response(200, std::move(body));
}

Api::Answer Api::get_turn(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  Result<TurnRow> turn = co_await look_up_turn(*session, call->arguments[1]);
  if (!turn.has_value()) co_return problem(turn.error());
  co_return json_response(200, turn_json(*turn, (*session)->row().id));
}

Api::Answer Api::cancel_turn(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  // Stop goes to the agent first and is recorded after: it waits neither for the prompt nor for the
  // store, so that it works when the disk does not.
  const TurnRow* known = (*session)->find_turn(call->arguments[1]);
  if (known != nullptr && !is_ended(known->state)) {
    Result<TurnRow> cancelled = (*session)->cancel(call->arguments[1], "cancelled by the user");
    if (!cancelled.has_value()) co_return problem(cancelled.error());
    co_return turn_response(202, *cancelled, **session);
  }
  Result<TurnRow> turn = co_await look_up_turn(*session, call->arguments[1]);
  if (!turn.has_value()) co_return problem(turn.error());
  co_return turn_response(200, *turn, **session);
}

Api::Answer Api::cancel_running(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body = Body::parse(call->request->body, {"expected_turn"});
  if (!body.has_value()) co_return problem(body.error());
  Result<std::string> expected = body->text("expected_turn");
  if (!expected.has_value()) co_return problem(expected.error());
  const TurnRow* running = (*session)->current_turn();
  if (!expected->empty() && (running == nullptr || running->id != *expected)) {
    co_return problem(
        make_error(ErrorKind::conflict, "expected_turn", "another turn runs, or none"),
        running == nullptr ? "null" : turn_json(*running, (*session)->row().id));
  }
  std::string answer = R"({"turn":null})";
  if (running != nullptr) {
    const std::string id = running->id;
    Result<TurnRow> turn = (*session)->cancel(id, "cancelled by the user");
    if (!turn.has_value()) co_return problem(turn.error());
    answer.clear();
    JsonWriter(answer)
        .begin_object()
        .member_raw("turn", turn_json(*turn, (*session)->row().id))
        .end_object();
  }
  co_return json_response(200, std::move(answer));
}

Api::Answer Api::resume_queue(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  (*session)->resume_queue();
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return problem(committed.error());
  co_return json_response(200, session_view_json(**session));
}

}  // namespace berth::server
