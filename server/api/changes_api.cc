// What a session's worktree differs in from its base.
#include <berth/server/api/api.h>

#include <berth/core/clock.h>
#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>

#include <utility>

namespace berth::server {

Api::Answer Api::get_change(ApiCall* call) {
  Result<Session*> session = co_await directory_.find(call->arguments[0]);
  if (!session.has_value()) co_return problem(session.error());
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  const SessionRow& row = (*session)->row();
  if (row.workspace_mode != "worktree") {
    co_return problem(
        make_error(ErrorKind::not_found, "no_worktree", "this session has no git worktree"));
  }
  const std::optional<ChangeRow>& change = (*session)->change();
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().member("base", change ? change->base : row.base_tree);
  if (!change) {
    writer.member_int64("turn_number", 0)
        .member("outcome", "recorded")
        .member_raw("files", "[]")
        .member_int64("additions", 0)
        .member_int64("deletions", 0)
        .key("recorded_at")
        .null()
        .end_object();
    co_return json_response(200, std::move(body));
  }
  std::int64_t additions = 0;
  std::int64_t deletions = 0;
  const std::string files = change->summary.empty() ? "[]" : change->summary;
  if (const Result<JsonDoc> doc = JsonDoc::parse(files); doc.has_value()) {
    for (const JsonView& file : doc->root().elements()) {
      additions += file.get_int64("additions").value_or(0);
      deletions += file.get_int64("deletions").value_or(0);
    }
  }
  std::string recorded_at;
  append_rfc3339(recorded_at, WallTime(change->recorded_ms));
  writer.member("tree", change->tree)
      .member_int64("turn_number", change->turn_number)
      .member("outcome", change->outcome)
      .member_raw("files", files)
      .member_int64("additions", additions)
      .member_int64("deletions", deletions)
      .member("recorded_at", recorded_at)
      .end_object();
  co_return json_response(200, std::move(body));
}

/// The commit id of a turn's snapshot; turn 0 is the base.
Task<Result<std::string>> Api::tree_of_turn(Session* session, std::int64_t number) {
  if (number == 0) co_return session->row().base_tree;
  const SessionNo no = session->session_no();
  Result<std::vector<TurnRow>> turns = co_await context_.read(
      [no, number](Store& store) { return store.list_turns(no, number + 1, 1); });
  if (!turns.has_value()) co_return fail(std::move(turns.error()));
  if (turns->empty() || turns->front().number != number || turns->front().snapshot.empty()) {
    co_return fail(ErrorKind::not_found, "snapshot_not_found",
                   "turn " + std::to_string(number) + " has no snapshot");
  }
  co_return turns->front().snapshot;
}

Api::Answer Api::get_patch(ApiCall* call) {
  Result<Session*> session = co_await directory_.find(call->arguments[0]);
  if (!session.has_value()) co_return problem(session.error());
  const SessionRow& row = (*session)->row();
  if (row.workspace_mode != "worktree") {
    co_return problem(
        make_error(ErrorKind::not_found, "no_worktree", "this session has no git worktree"));
  }
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  const std::optional<ChangeRow>& change = (*session)->change();
  const std::uint64_t latest = change ? static_cast<std::uint64_t>(change->turn_number) : 0;
  Result<std::uint64_t> from = number_of("from", call->query("from"), 0, 1ULL << 31);
  if (!from.has_value()) co_return problem(from.error());
  Result<std::uint64_t> to = number_of("to", call->query("to"), latest, 1ULL << 31);
  if (!to.has_value()) co_return problem(to.error());
  Result<std::string> old_tree = co_await tree_of_turn(*session, static_cast<std::int64_t>(*from));
  if (!old_tree.has_value()) co_return problem(old_tree.error());
  Result<std::string> new_tree = co_await tree_of_turn(*session, static_cast<std::int64_t>(*to));
  if (!new_tree.has_value()) co_return problem(new_tree.error());
  Result<Workspaces::Patch> patch = co_await context_.workspaces.patch(
      workspace_of(row), *old_tree, *new_tree, std::string(call->query("path")));
  if (!patch.has_value()) co_return problem(patch.error());
  io::HttpResponse response;
  response.content_type = "text/x-diff; charset=utf-8";
  response.body = std::move(patch->text);
  if (patch->truncated) response.headers.emplace_back("X-Berth-Truncated", "1");
  co_return response;
}

}  // namespace berth::server
