// Sessions: open, list, show, and what of them can be changed at any time.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/conditional.h>
#include <berth/server/api/problem.h>
#include <berth/server/api/waiting.h>
#include <berth/server/sessions/json_members.h>
#include <berth/server/sessions/rows_json.h>

#include <utility>

namespace berth::server {

std::string session_view_json(const Session& session) {
  return session_json(
      session.row(),
      {session.first_seq(), session.visible_seq(), session.current_turn(), session.queue().size(),
       session.stalled(), session.questions().open_count(), session.kept()});
}

Result<OpenRequest> read_open_request(std::string_view text) {
  const Result<Body> body = Body::parse(
      text, {"id", "agent", "repository", "base", "fetch", "directory", "workspace", "title",
             "permission", "rules", "mcp_servers", "additional_directories", "launch"});
  if (!body.has_value()) return fail(body.error());
  OpenRequest request;
  const std::pair<const char*, std::string*> fields[] = {{"id", &request.id},
                                                         {"agent", &request.agent},
                                                         {"repository", &request.repository},
                                                         {"base", &request.base},
                                                         {"fetch", &request.fetch},
                                                         {"title", &request.title},
                                                         {"directory", &request.directory},
                                                         {"workspace", &request.workspace},
                                                         {"launch", &request.launch},
                                                         {"permission", &request.permission}};
  for (const auto& [name, value] : fields) {
    Result<std::string> text_value = body->text(name);
    if (!text_value.has_value()) return fail(std::move(text_value.error()));
    *value = std::move(*text_value);
  }
  request.rules = body->raw("rules");
  request.mcp_servers = body->raw("mcp_servers");
  request.additional_directories = body->raw("additional_directories");
  if (request.agent.empty()) request.agent = "scripted";
  const JsonView id = body->root().find("id");
  if (id.present() && !id.is_null() && request.id.empty()) {
    return fail(ErrorKind::invalid, "bad_field", "id: must match [A-Za-z0-9._:-]{1,128}");
  }
  return request;
}

Api::Answer Api::open_session(ApiCall* call) {
  if (draining_) {
    co_return problem(draining());
  }
  Result<OpenRequest> request = read_open_request(call->request->body);
  if (!request.has_value()) co_return problem(request.error());
  Result<RequestKey> key = request_key_of(*call->request);
  if (!key.has_value()) co_return problem(key.error());
  request->idempotency_key = std::move(key->key);
  request->body_hash = std::move(key->body_hash);
  request->project = call->caller.project;
  Result<OpenedSession> opened = co_await directory_.open(std::move(*request));
  if (!opened.has_value()) co_return problem(opened.error());
  if (const Duration wait = wait_of(*call->request); wait.count() > 0) {
    const auto up = [](const Session& session) { return !session.starting(); };
    co_await wait_until(context_.reactor(), &*opened->session, up, wait, call->exchange->gone());
    Result<void> in_log = co_await context_.journal.committed_or_refused();
    if (!in_log.has_value()) co_return problem(in_log.error());
  }
  io::HttpResponse response =
      json_response(opened->created ? 201 : 200, session_view_json(*opened->session));
  response.headers.emplace_back("Location", "/v1/sessions/" + opened->session->row().id);
  if (opened->replayed) response.headers.emplace_back("Idempotent-Replayed", "true");
  co_return response;
}

namespace {

Result<SessionQuery> read_session_query(const ApiCall& call) {
  SessionQuery query;
  query.project = call.caller.project;
  Result<std::uint64_t> limit = number_of("limit", call.query("limit"), 100, 1000);
  if (!limit.has_value()) return fail(std::move(limit.error()));
  query.limit = static_cast<int>(*limit);
  Result<std::uint64_t> after = number_of("after", call.query("after"), 0, 1ULL << 62);
  if (!after.has_value()) return fail(std::move(after.error()));
  query.before_no = static_cast<SessionNo>(*after);
  Result<std::int64_t> since = time_of("updated_since", call.query("updated_since"));
  if (!since.has_value()) return fail(std::move(since.error()));
  query.updated_since_ms = *since;
  query.include_archived = is_yes(call.query("archived"));
  query.repository = call.query("repository");
  query.title = call.query("q");
  const std::string_view state = call.query("state");
  for (const SessionState one :
       {SessionState::open, SessionState::archived, SessionState::closed}) {
    if (state == to_string(one)) query.state = one;
  }
  if (!state.empty() && !query.state) {
    return fail(ErrorKind::invalid, "bad_field", "state: must be open, archived or closed");
  }
  return query;
}

}  // namespace

Api::Answer Api::list_sessions(ApiCall* call) {
  Result<SessionQuery> wanted = read_session_query(*call);
  if (!wanted.has_value()) co_return problem(wanted.error());
  const SessionQuery query = std::move(*wanted);
  Result<std::vector<SessionRow>> rows =
      co_await context_.read([query](Store& store) { return store.list_sessions(query); });
  if (!rows.has_value()) co_return problem(rows.error());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().key("sessions").begin_array();
  for (const SessionRow& row : *rows) {
    const Session* live = directory_.loaded(row.no);
    writer.raw(live != nullptr ? session_view_json(*live) : session_json(row, {}));
  }
  writer.end_array();
  const bool more = !rows->empty() && rows->size() >= static_cast<std::size_t>(query.limit);
  put_text(writer, "next", more ? std::to_string(rows->back().no) : std::string());
  writer.end_object();
  // Nothing is shown before it is in the log.
  Result<void> in_log = co_await context_.journal.committed_or_refused();
  if (!in_log.has_value()) co_return problem(in_log.error());
  co_return json_response(200, std::move(body));
}

Api::Answer Api::get_session(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  Result<void> in_log = co_await context_.journal.committed_or_refused();
  if (!in_log.has_value()) co_return problem(in_log.error());
  co_return json_if_changed(*call->request, session_view_json(**session));
}

Api::Answer Api::patch_session(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body = Body::parse(call->request->body, {"title"});
  if (!body.has_value()) co_return problem(body.error());
  const auto title = body->root().get_string("title");
  if (!title.has_value() || title->size() > kTitleMax) {
    co_return problem(make_error(ErrorKind::invalid, "bad_field",
                                 "title: must be a string of at most 1024 bytes"));
  }
  Result<void> fits = check_preconditions(*call->request, etag_of(session_view_json(**session)));
  if (!fits.has_value()) co_return problem(fits.error());
  (*session)->set_title(std::string(*title));
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return problem(committed.error());
  std::string view = session_view_json(**session);
  const std::string etag = etag_of(view);
  io::HttpResponse response = json_response(200, std::move(view));
  response.headers.emplace_back("ETag", etag);
  co_return response;
}

// --- what clients keep in a session ---

namespace {

std::string state_etag(const Session& session) {
  return '"' + std::to_string(session.row().client_state_version) + '"';
}

std::string client_state_of(const Session& session) {
  return session.row().client_state.empty() ? "null" : session.row().client_state;
}

}  // namespace

Api::Answer Api::get_client_state(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  std::string state = client_state_of(**session);
  const std::string etag = state_etag(**session);
  Result<void> in_log = co_await context_.journal.committed_or_refused();
  if (!in_log.has_value()) co_return problem(in_log.error());
  co_return json_if_changed(*call->request, std::move(state), etag);
}

Api::Answer Api::put_client_state(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const std::string& text = call->request->body;
  if (text.size() > context_.limits.client_state_bytes_max) {
    co_return problem(make_error(ErrorKind::invalid, "state_too_big",
                                 "the state is above the limit client_state_bytes_max"));
  }
  const Result<JsonDoc> doc = JsonDoc::parse(text);
  if (!doc.has_value()) {
    co_return problem(make_error(ErrorKind::invalid, "bad_json",
                                 "the body is not valid JSON: " + doc.error().message));
  }
  Result<void> fits = check_preconditions(*call->request, state_etag(**session),
                                          !(*session)->row().client_state.empty());
  if (!fits.has_value()) co_return problem(fits.error());
  (*session)->set_client_state(doc->root().is_null() ? std::string() : doc->root().raw());
  io::HttpResponse response = json_response(200, client_state_of(**session));
  response.headers.emplace_back("ETag", state_etag(**session));
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return problem(committed.error());
  co_return response;
}

}  // namespace berth::server
