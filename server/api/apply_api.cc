// What a person does with a session's change: apply it, discard it, go back to a turn.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/changes_json.h>

#include <utility>

namespace berth::server {

namespace {

Error bad_field(const std::string& text) {
  return make_error(ErrorKind::invalid, "bad_field", text);
}

Result<std::vector<std::string>> paths_of(const Body& body) {
  std::vector<std::string> paths;
  const JsonView field = body.root().find("paths");
  if (!field.present() || field.is_null()) return paths;
  if (!field.is_array()) return fail(bad_field("paths: must be an array of strings"));
  for (const JsonView& entry : field.elements()) {
    const std::optional<std::string_view> path = entry.as_string();
    if (!path || path->empty()) return fail(bad_field("paths: must be an array of strings"));
    paths.emplace_back(*path);
  }
  // None is not all: whoever chooses files and chooses none wants nothing to happen.
  if (paths.empty()) return fail(bad_field("paths: names no file; leave it out for all"));
  return paths;
}

Result<void> read_words(const Body& body, CommitWords& words) {
  Result<std::string> message = body.text("message");
  if (!message.has_value()) return fail(std::move(message.error()));
  words.message = std::move(*message);
  const JsonView author = body.root().find("author");
  if (author.present() && !author.is_null()) {
    if (!author.is_object()) return fail(bad_field("author: must be {\"name\",\"email\"}"));
    if (Result<void> ok = check_members(author, "author.", {"name", "email"}); !ok.has_value()) {
      return ok;
    }
    for (const char* name : {"name", "email"}) {
      if (author.find(name).present() && !author.get_string(name).has_value()) {
        return fail(bad_field("author." + std::string(name) + ": must be a string"));
      }
    }
    words.author_name = author.get_string("name").value_or("");
    words.author_email = author.get_string("email").value_or("");
  }
  const JsonView trailers = body.root().find("trailers");
  if (!trailers.present() || trailers.is_null()) return {};
  if (!trailers.is_object()) return fail(bad_field("trailers: must be an object of strings"));
  for (const auto& member : trailers.members()) {
    const std::optional<std::string_view> value = member.second.as_string();
    if (!value) return fail(bad_field("trailers: must be an object of strings"));
    words.trailers.emplace_back(member.first, *value);
  }
  return {};
}

/// A ref is a file below the repository, and so is its lock.
bool is_too_long(std::string_view branch) {
  constexpr std::size_t kBranchMax = 1024;
  constexpr std::size_t kPartMax = 240;
  std::size_t part = 0;
  for (const char c : branch) {
    part = c == '/' ? 0 : part + 1;
    if (part > kPartMax) return true;
  }
  return branch.size() > kBranchMax;
}

Result<ApplyRequest> read_apply(std::string_view text, const SessionRow& row) {
  const Result<Body> body = Body::parse(
      text, {"to", "branch", "checkout", "paths", "message", "author", "trailers", "dry_run"});
  if (!body.has_value()) return fail(body.error());
  ApplyRequest request;
  Result<std::string> to = body->text("to");
  Result<std::string> branch = body->text("branch");
  Result<std::string> checkout = body->text("checkout");
  for (const Result<std::string>* field : {&to, &branch, &checkout}) {
    if (!field->has_value()) return fail(field->error());
  }
  if (to->empty()) *to = branch->empty() ? "working_files" : "branch";
  if (*to != "branch" && *to != "working_files") {
    return fail(bad_field("to: must be branch or working_files"));
  }
  if ((*to == "branch") == branch->empty()) {
    return fail(bad_field("branch: is needed for to = branch, and only then"));
  }
  if (is_too_long(*branch)) return fail(bad_field("branch: is too long"));
  if (!checkout->empty() && (*to == "branch" || checkout->front() != '/')) {
    return fail(bad_field("checkout: an absolute path, for to = working_files"));
  }
  Result<std::vector<std::string>> paths = paths_of(*body);
  if (!paths.has_value()) return fail(std::move(paths.error()));
  Result<bool> dry_run = body->flag("dry_run");
  if (!dry_run.has_value()) return fail(std::move(dry_run.error()));
  Result<void> words = read_words(*body, request.commit);
  if (!words.has_value()) return fail(std::move(words.error()));
  request.branch = std::move(*branch);
  request.checkout = std::move(*checkout);
  request.paths = std::move(*paths);
  request.dry_run = *dry_run;
  fill_in_words(request.commit, row);
  return request;
}

}  // namespace

void fill_in_words(CommitWords& words, const SessionRow& row) {
  if (words.author_name.empty()) words.author_name = "berth";
  if (words.author_email.empty()) words.author_email = "berth@localhost";
  if (words.message.empty()) words.message = row.title;
  if (words.message.empty()) words.message = "Changes of session " + row.id;
}

Api::Answer Api::apply_change(ApiCall* call) {
  Result<SessionUse> session = co_await with_worktree(call);
  if (!session.has_value()) co_return problem(session.error());
  Result<ApplyRequest> request = read_apply(call->request->body, (*session)->row());
  if (!request.has_value()) co_return problem(request.error());
  ApplyOrder order;  // for the answer
  order.branch = request->branch;
  order.dry_run = request->dry_run;
  Result<AppliedChange> applied = co_await (*session)->changes().apply(std::move(*request));
  if (!applied.has_value()) co_return problem(applied.error());
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return problem(committed.error());
  std::string body = applied_json(order, *applied);
  if (applied->conflicts.empty()) co_return json_response(200, std::move(body));
  const std::string first = applied->conflicts.front().path;
  co_return problem(
      make_error(ErrorKind::conflict, "apply_conflicts",
                 applied->applied ? first + " was changed meanwhile and left alone"
                                  : "nothing was changed: " + first + " and " +
                                        std::to_string(applied->conflicts.size() - 1) +
                                        " others do not go together with the change"),
      body);
}

Api::Answer Api::discard_change(ApiCall* call) {
  Result<SessionUse> session = co_await with_worktree(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body = Body::parse(call->request->body, {"paths", "dry_run"});
  if (!body.has_value()) co_return problem(body.error());
  RestoreRequest request;
  request.to = (*session)->row().base_tree;
  Result<std::vector<std::string>> paths = paths_of(*body);
  if (!paths.has_value()) co_return problem(paths.error());
  request.paths = std::move(*paths);
  Result<bool> dry_run = body->flag("dry_run");
  if (!dry_run.has_value()) co_return problem(dry_run.error());
  request.dry_run = *dry_run;
  co_return co_await restore_files(*session, std::move(request));
}

Api::Answer Api::restore_change(ApiCall* call) {
  Result<SessionUse> session = co_await with_worktree(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body = Body::parse(call->request->body, {"turn", "paths", "dry_run"});
  if (!body.has_value()) co_return problem(body.error());
  RestoreRequest request;
  const std::optional<std::int64_t> turn = body->root().get_int64("turn");
  if (!turn || *turn < 0) co_return problem(bad_field("turn: must be the number of a turn"));
  request.turn = *turn;
  Result<std::string> to = co_await revision_of(*session, "turn", "turn:" + std::to_string(*turn));
  if (!to.has_value()) co_return problem(to.error());
  request.to = std::move(*to);
  Result<std::vector<std::string>> paths = paths_of(*body);
  if (!paths.has_value()) co_return problem(paths.error());
  request.paths = std::move(*paths);
  Result<bool> dry_run = body->flag("dry_run");
  if (!dry_run.has_value()) co_return problem(dry_run.error());
  request.dry_run = *dry_run;
  co_return co_await restore_files(*session, std::move(request));
}

Api::Answer Api::restore_files(Session* session, RestoreRequest request) {
  const std::optional<std::int64_t> turn = request.turn;
  const bool dry_run = request.dry_run;
  Result<RestoredFiles> restored = co_await session->changes().restore(std::move(request));
  if (!restored.has_value()) co_return problem(restored.error());
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return problem(committed.error());
  co_return json_response(200, restored_json(turn, dry_run, *restored));
}

}  // namespace berth::server
