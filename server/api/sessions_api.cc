// Sessions: open, list, show.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/json_members.h>
#include <berth/server/sessions/rows_json.h>

#include <utility>

namespace berth::server {

std::string session_view_json(const Session& session) {
  return session_json(session.row(), {session.visible_seq(), session.current_turn(),
                                      session.queue().size(), session.stalled(), session.kept()});
}

namespace {

Result<OpenRequest> read_open_request(std::string_view text) {
  const Result<Body> body =
      Body::parse(text, {"id", "agent", "repository", "base", "fetch", "directory", "workspace",
                         "title", "permission", "rules", "mcp_servers", "additional_directories"});
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

}  // namespace

Api::Answer Api::open_session(ApiCall* call) {
  if (draining_) {
    co_return problem(draining());
  }
  Result<OpenRequest> request = read_open_request(call->request->body);
  if (!request.has_value()) co_return problem(request.error());
  request->project = call->caller.project;
  Result<OpenedSession> opened = co_await directory_.open(std::move(*request));
  if (!opened.has_value()) co_return problem(opened.error());
  io::HttpResponse response =
      json_response(opened->created ? 201 : 200, session_view_json(*opened->session));
  response.headers.emplace_back("Location", "/v1/sessions/" + opened->session->row().id);
  co_return response;
}

Api::Answer Api::list_sessions(ApiCall* call) {
  Result<std::uint64_t> limit = number_of("limit", call->query("limit"), 100, 1000);
  if (!limit.has_value()) co_return problem(limit.error());
  Result<std::uint64_t> after = number_of("after", call->query("after"), 0, 1ULL << 62);
  if (!after.has_value()) co_return problem(after.error());
  SessionQuery query;
  query.project = call->caller.project;
  query.limit = static_cast<int>(*limit);
  query.include_archived = call->query("archived") == "1" || call->query("archived") == "true";
  query.before_no = static_cast<SessionNo>(*after);
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
  const bool more = !rows->empty() && rows->size() >= *limit;
  put_text(writer, "next", more ? std::to_string(rows->back().no) : std::string());
  writer.end_object();
  co_return json_response(200, std::move(body));
}

Api::Answer Api::get_session(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  Result<void> in_log = co_await context_.journal.committed_or_refused();
  if (!in_log.has_value()) co_return problem(in_log.error());
  co_return json_response(200, session_view_json(**session));
}

}  // namespace berth::server
