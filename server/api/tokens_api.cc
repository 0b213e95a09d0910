// Who may come in: tokens, and tickets for one request.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/json_members.h>

#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kNameMax = 128;
constexpr double kLifetimeMax = 100.0 * 365 * 24 * 3600;

void put_scopes(JsonWriter& writer, AuthScopes scopes) {
  writer.key("scopes").begin_array();
  for (const AuthScope scope : {AuthScope::sessions_view, AuthScope::sessions_edit,
                                AuthScope::sessions_run, AuthScope::admin}) {
    if (scopes.has(scope)) writer.string(to_string(scope));
  }
  writer.end_array();
}

/// Everything but the secret, of which there is only a hash.
void put_token(JsonWriter& writer, const TokenRow& row, std::int64_t now_ms) {
  const bool late = row.expires_ms != 0 && row.expires_ms <= now_ms;
  writer.member("id", row.id).member("name", row.name);
  put_text(writer, "project", row.project);
  put_scopes(writer, read_scopes(row.scopes));
  writer.member("state", row.revoked_ms != 0 ? "revoked" : late ? "expired" : "good");
  put_time(writer, "created_at", row.created_ms);
  put_time(writer, "expires_at", row.expires_ms);
  put_time(writer, "last_used_at", row.last_used_ms);
  put_time(writer, "revoked_at", row.revoked_ms);
}

Error bad_field(std::string text) {
  return make_error(ErrorKind::invalid, "bad_field", std::move(text));
}

Result<AuthScopes> scopes_in(const JsonView& json) {
  AuthScopes scopes;
  if (!json.is_array() || json.elements().empty()) {
    return fail(bad_field("scopes: must be an array with at least one scope"));
  }
  std::size_t index = 0;
  for (const JsonView& element : json.elements()) {
    const auto scope = parse_auth_scope(element.as_string().value_or(""));
    if (!scope.has_value()) {
      return fail(bad_field("scopes[" + std::to_string(index) +
                            "]: must be sessions:view, sessions:edit, sessions:run or admin"));
    }
    scopes.add(*scope);
    ++index;
  }
  return scopes;
}

Result<TokenRequest> read_token_request(std::string_view text) {
  const Result<Body> body = Body::parse(text, {"name", "scopes", "project", "expires_in"});
  if (!body.has_value()) return fail(body.error());
  TokenRequest request;
  Result<std::string> name = body->text("name");
  if (!name.has_value()) return fail(std::move(name.error()));
  if (name->empty() || name->size() > kNameMax) {
    return fail(bad_field("name: must have 1 to 128 bytes"));
  }
  request.name = std::move(*name);
  Result<AuthScopes> scopes = scopes_in(body->root().find("scopes"));
  if (!scopes.has_value()) return fail(std::move(scopes.error()));
  request.scopes = *scopes;
  Result<std::string> project = body->text("project", kDefaultProject);
  if (!project.has_value()) return fail(std::move(project.error()));
  if (!is_project_name(*project)) {
    return fail(bad_field("project: must match [a-z0-9][a-z0-9._-]{0,63}"));
  }
  if (request.scopes.has(AuthScope::admin) && !body->raw("project").empty()) {
    return fail(bad_field("project: the scope admin is for every project, leave it out"));
  }
  request.project = std::move(*project);
  if (!body->raw("expires_in").empty()) {
    const auto seconds = number_in(body->root().find("expires_in"));
    if (!seconds.has_value() || *seconds < 1 || *seconds > kLifetimeMax) {
      return fail(bad_field("expires_in: must be seconds from 1 to 100 years"));
    }
    request.lifetime =
        std::chrono::duration_cast<Duration>(std::chrono::duration<double>(*seconds));
  }
  return request;
}

}  // namespace

Api::Answer Api::get_caller(ApiCall* call) {
  std::string body;
  JsonWriter writer(body);
  writer.begin_object();
  put_text(writer, "id", call->caller.token_id);
  writer.member("name", call->caller.name)
      .member("project", call->caller.project)
      .member_bool("every_project", call->caller.every_project);
  put_scopes(writer, call->caller.scopes);
  writer.end_object();
  co_return json_response(200, std::move(body));
}

Api::Answer Api::list_tokens(ApiCall*) {
  Result<void> in_log = co_await context_.journal.committed_or_refused();
  if (!in_log.has_value()) co_return problem(in_log.error());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().key("tokens").begin_array();
  gate_.tokens().for_each([&writer, now = context_.now_ms()](const TokenRow& row) {
    writer.begin_object();
    put_token(writer, row, now);
    writer.end_object();
  });
  writer.end_array().end_object();
  co_return json_response(200, std::move(body));
}

Api::Answer Api::create_token(ApiCall* call) {
  Result<TokenRequest> request = read_token_request(call->request->body);
  if (!request.has_value()) co_return problem(request.error());
  const Result<void> takes = context_.takes_work();
  if (!takes.has_value()) co_return problem(takes.error());
  Result<Tokens::Made> made = gate_.tokens().create(*request);
  if (!made.has_value()) co_return problem(made.error());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object();
  put_token(writer, made->row, context_.now_ms());
  writer.member("token", made->text).end_object();
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  io::HttpResponse response = json_response(201, std::move(body));
  response.headers.emplace_back("Location", "/v1/tokens/" + made->row.id);
  response.headers.emplace_back("Cache-Control", "no-store");
  co_return response;
}

Api::Answer Api::revoke_token(ApiCall* call) {
  Result<void> revoked = gate_.tokens().revoke(call->arguments[0]);
  if (!revoked.has_value()) co_return problem(revoked.error());
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  io::HttpResponse response;
  response.status = 204;
  co_return response;
}

Api::Answer Api::create_ticket(ApiCall* call) {
  const Result<Body> body = Body::parse(call->request->body, {"path"});
  if (!body.has_value()) co_return problem(body.error());
  Result<std::string> path = body->text("path");
  if (!path.has_value()) co_return problem(path.error());
  io::HttpRequest wanted;
  wanted.method = "GET";
  ApiCall use;
  use.request = &wanted;
  Result<Target> target = parse_target(*path);
  if (target.has_value() && path->find('?') == std::string::npos) {
    use.target = std::move(*target);
    find_route(use);
  }
  if (use.route == nullptr || use.route->scope != AuthScope::sessions_view) {
    co_return problem(
        bad_field("path: must be one that is read with sessions:view, without a query"));
  }
  const Duration life = gate_.tickets().life();
  Result<std::string> ticket = gate_.tickets().issue(call->caller, *path);
  if (!ticket.has_value()) co_return problem(ticket.error());
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member("ticket", *ticket).member("path", *path);
  put_time(writer, "expires_at",
           context_.now_ms() + std::chrono::duration_cast<std::chrono::milliseconds>(life).count());
  writer.end_object();
  io::HttpResponse response = json_response(201, std::move(out));
  response.headers.emplace_back("Cache-Control", "no-store");
  co_return response;
}

}  // namespace berth::server
