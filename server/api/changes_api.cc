// What a session's worktree differs in from its base, and from turn to turn.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/changes_json.h>

#include <charconv>
#include <utility>

namespace berth::server {

namespace {

constexpr std::uint64_t kFilesDefault = 1000;
constexpr std::uint64_t kFilesMax = 10'000;

Error no_worktree(const SessionRow& row) {
  return make_error(ErrorKind::not_found, "no_worktree",
                    "this session has no git worktree: its workspace is " + row.workspace_mode);
}

Error bad_revision(std::string_view name, std::string_view text) {
  return make_error(ErrorKind::invalid, "bad_field",
                    std::string(name) + ": \"" + std::string(text) +
                        "\" is not base, latest, turn:N or before:N");
}

std::vector<std::string> paths_of(const ApiCall& call) {
  std::vector<std::string> paths;
  for (const auto& parameter : call.target.query) {
    if (parameter.first == "path" && !parameter.second.empty()) paths.push_back(parameter.second);
  }
  return paths;
}

}  // namespace

/// A session that has a worktree, with everything it knows in the log.
Task<Result<SessionUse>> Api::with_worktree(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return session;
  if (!has_worktree((*session)->row())) co_return fail(no_worktree((*session)->row()));
  Result<void> in_log = co_await context_.journal.committed_or_refused();
  if (!in_log.has_value()) co_return fail(std::move(in_log.error()));
  co_return session;
}

Api::Answer Api::get_change(ApiCall* call) {
  Result<SessionUse> found = co_await with_worktree(call);
  if (!found.has_value()) co_return problem(found.error());
  Session* session = *found;
  Result<std::uint64_t> limit = number_of("limit", call->query("limit"), kFilesDefault, kFilesMax);
  if (!limit.has_value()) co_return problem(limit.error());
  if (is_yes(call->query("refresh"))) {
    Result<void> fresh = co_await session->changes().refresh();
    if (fresh.has_value()) fresh = co_await context_.journal.committed();
    if (!fresh.has_value()) co_return problem(fresh.error());
  }
  if (call->query("from").empty() && call->query("to").empty()) {
    co_return json_response(200,
                            open_change_json(session->change(), session->row().base_tree, *limit));
  }
  Result<Span> span = co_await span_of(session, call);
  if (!span.has_value()) co_return problem(span.error());
  Result<WorkspaceChange> between =
      co_await context_.workspaces.compare(workspace_of(session->row()), span->from, span->to);
  if (!between.has_value()) co_return problem(between.error());
  co_return json_response(
      200, compared_json(span->from, span->to, *between, session->changes().attribution(), *limit));
}

/// The commit or tree that a revision names. Errors: `invalid` ("bad_field"), `not_found`
/// ("snapshot_not_found").
Task<Result<std::string>> Api::revision_of(Session* session, std::string name, std::string text) {
  if (text == "base") co_return session->row().base_tree;
  if (text == "latest") {
    const std::string latest = session->changes().last_snapshot();
    co_return latest.empty() ? session->row().base_tree : latest;
  }
  const bool before = text.starts_with("before:");
  std::string_view digits = text;
  if (before) digits.remove_prefix(7);
  if (text.starts_with("turn:")) digits.remove_prefix(5);
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool whole = end == digits.data() + digits.size();
  if (error != std::errc() || !whole || number < 0 || number >= (std::int64_t{1} << 31)) {
    co_return fail(bad_revision(name, text));
  }
  if (number == 0 && !before) co_return session->row().base_commit;
  const SessionNo no = session->session_no();
  Result<std::vector<TurnRow>> turns = co_await context_.read(
      [no, number](Store& store) { return store.list_turns(no, number + 1, 1); });
  if (!turns.has_value()) co_return fail(std::move(turns.error()));
  std::string id;
  if (!turns->empty() && turns->front().number == number) {
    id = before ? turns->front().snapshot_before : turns->front().snapshot;
  }
  if (id.empty()) {
    co_return fail(ErrorKind::not_found, "snapshot_not_found",
                   name + ": turn " + std::to_string(number) + " has no such snapshot");
  }
  co_return id;
}

Task<Result<Api::Span>> Api::span_of(Session* session, ApiCall* call) {
  std::string from(call->query("from"));
  std::string to(call->query("to"));
  if (from.empty()) from = "base";
  if (to.empty()) to = "latest";
  Span span;
  Result<std::string> old_side = co_await revision_of(session, "from", std::move(from));
  if (!old_side.has_value()) co_return fail(std::move(old_side.error()));
  Result<std::string> new_side = co_await revision_of(session, "to", std::move(to));
  if (!new_side.has_value()) co_return fail(std::move(new_side.error()));
  span.from = std::move(*old_side);
  span.to = std::move(*new_side);
  co_return span;
}

Task<Result<PatchOrder>> Api::patch_order(Session* session, ApiCall* call) {
  PatchOrder order;
  Result<std::uint64_t> file_bytes =
      number_of("file_bytes", call->query("file_bytes"), order.file_bytes_max, 64U << 20);
  if (!file_bytes.has_value()) co_return fail(std::move(file_bytes.error()));
  Result<std::uint64_t> bytes =
      number_of("bytes", call->query("bytes"), order.bytes_max, 64U << 20);
  if (!bytes.has_value()) co_return fail(std::move(bytes.error()));
  Result<Span> span = co_await span_of(session, call);
  if (!span.has_value()) co_return fail(std::move(span.error()));
  order.from = std::move(span->from);
  order.to = std::move(span->to);
  order.paths = paths_of(*call);
  order.binary = is_yes(call->query("binary"));
  order.file_bytes_max = *file_bytes;
  order.bytes_max = *bytes;
  co_return order;
}

Api::Answer Api::get_patch(ApiCall* call) {
  Result<SessionUse> session = co_await with_worktree(call);
  if (!session.has_value()) co_return problem(session.error());
  Result<PatchOrder> order = co_await patch_order(*session, call);
  if (!order.has_value()) co_return problem(order.error());
  Result<Patch> patch =
      co_await context_.workspaces.patch(workspace_of((*session)->row()), std::move(*order));
  if (!patch.has_value()) co_return problem(patch.error());
  io::HttpResponse response;
  response.content_type = "text/x-diff; charset=utf-8";
  response.body = std::move(patch->text);
  if (patch->truncated) response.headers.emplace_back("X-Berth-Truncated", "1");
  co_return response;
}

Api::Answer Api::get_mail(ApiCall* call) {
  Result<SessionUse> found = co_await with_worktree(call);
  if (!found.has_value()) co_return problem(found.error());
  Session* session = *found;
  Result<PatchOrder> order = co_await patch_order(session, call);
  if (!order.has_value()) co_return problem(order.error());
  order->binary = true;  // `git am` shall make the same files
  CommitWords words;
  words.author_name = call->query("author_name");
  words.author_email = call->query("author_email");
  words.message = call->query("message");
  fill_in_words(words, session->row());
  if (session->change()) {
    add_agents(words, *session->change(), order->paths, session->row().id);
  }
  Result<Patch> mail = co_await context_.workspaces.mail(workspace_of(session->row()),
                                                         std::move(*order), std::move(words));
  if (!mail.has_value()) co_return problem(mail.error());
  io::HttpResponse response;
  response.content_type = "application/mbox";
  response.body = std::move(mail->text);
  if (mail->truncated) response.headers.emplace_back("X-Berth-Truncated", "1");
  co_return response;
}

}  // namespace berth::server
