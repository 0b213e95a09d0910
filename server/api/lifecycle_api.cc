// The ends of sessions and the ways back, and what their worktrees hold.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/conditional.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/changes_json.h>

#include <utility>

namespace berth::server {

Api::Answer Api::change_state(ApiCall* call, Task<Result<void>> (Session::*verb)()) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  Result<void> done = co_await ((*session)->*verb)();
  if (!done.has_value()) co_return problem(done.error());
  co_return json_response(200, session_view_json(**session));
}

Api::Answer Api::close_session(ApiCall* call) {
  return change_state(call, &Session::close);
}

Api::Answer Api::revive_session(ApiCall* call) {
  return change_state(call, &Session::revive);
}

Api::Answer Api::archive_session(ApiCall* call) {
  return change_state(call, &Session::archive);
}

Api::Answer Api::unarchive_session(ApiCall* call) {
  return change_state(call, &Session::unarchive);
}

Api::Answer Api::delete_session(ApiCall* call) {
  const bool purge = is_yes(call->query("purge"));
  const auto find = purge ? &Api::find_log : &Api::find_session;
  Result<SessionUse> found = co_await (this->*find)(call);
  if (!found.has_value()) co_return problem(found.error());
  Session* session = *found;
  Result<void> fits = check_preconditions(*call->request, etag_of(session_view_json(*session)));
  if (!fits.has_value()) co_return problem(fits.error());
  RemoveOrder order;
  order.discard_nested = call->query("force") == "nested";
  order.force = order.discard_nested || is_yes(call->query("force"));
  Result<void> removed = co_await session->remove(order, purge);
  if (!removed.has_value()) {
    std::string body;
    const std::string_view code = removed.error().code;
    if (code == "worktree_has_work" || code == "nested_repository") {
      Result<WorkspaceReport> report =
          co_await context_.workspaces.report(workspace_of(session->row()));
      if (report.has_value()) {
        const WorkspaceGaps gaps = co_await context_.workspaces.gaps(workspace_of(session->row()));
        body = worktree_json(*report, gaps, session->row(), session->change(),
                             session->current_turn() != nullptr);
      }
    }
    co_return problem(removed.error(), body);
  }
  io::HttpResponse response;
  response.status = 204;
  co_return response;
}

Api::Answer Api::get_worktree(ApiCall* call) {
  Result<SessionUse> found = co_await with_worktree(call);
  if (!found.has_value()) co_return problem(found.error());
  Session* session = *found;
  Result<WorkspaceReport> report =
      co_await context_.workspaces.report(workspace_of(session->row()));
  if (!report.has_value()) {
    // What cannot be found out may be work.
    WorkspaceReport unknown;
    unknown.unknown = true;
    unknown.reason = report.error().message;
    report = std::move(unknown);
  }
  const WorkspaceGaps gaps = co_await context_.workspaces.gaps(workspace_of(session->row()));
  co_return json_response(200, worktree_json(*report, gaps, session->row(), session->change(),
                                             session->current_turn() != nullptr));
}

Api::Answer Api::reap(ApiCall* call) {
  const Result<Body> body = Body::parse(call->request->body, {"dry_run", "age_min_s"});
  if (!body.has_value()) co_return problem(body.error());
  ReapOrder order;
  Result<bool> only_told = body->flag("dry_run", true);
  if (!only_told.has_value()) co_return problem(only_told.error());
  order.dry_run = *only_told;
  const JsonView age = body->root().find("age_min_s");
  if (age.present() && !age.is_null()) order.age_min_s = age.as_int64().value_or(-1);
  if (order.age_min_s < 0) {
    co_return problem(
        make_error(ErrorKind::invalid, "bad_field", "age_min_s: must be a number of seconds"));
  }
  const bool dry_run = order.dry_run;
  Result<std::vector<ReapedItem>> items = co_await directory_.reap(std::move(order));
  if (!items.has_value()) co_return problem(items.error());
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member_bool("dry_run", dry_run).key("items").begin_array();
  for (const ReapedItem& item : *items) {
    writer.begin_object()
        .member("kind", item.kind)
        .member("name", item.name)
        .member("key", item.key)
        .member("verdict", item.verdict)
        .member("reason", item.reason)
        .member_int64("age_s", item.age_s)
        .member_uint64("bytes", item.bytes)
        .end_object();
  }
  writer.end_array().end_object();
  co_return json_response(200, std::move(out));
}

}  // namespace berth::server
