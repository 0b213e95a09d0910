#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/core/version.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/rows_json.h>

#include <utility>

namespace berth::server {

Api::Api(SessionContext& context, Directory& directory, NamedAgents& named, std::string token,
         NodeInfo info)
    : context_(context),
      directory_(directory),
      named_(named),
      token_(std::move(token)),
      info_(std::move(info)) {}

// The one list of what exists; a path that matches with another method answers 405.
const std::vector<Api::Route>& Api::routes() {
  static const std::vector<Route> table = {
      {"GET", "/healthz", &Api::healthz},
      {"GET", "/readyz", &Api::readyz},
      {"GET", "/v1/info", &Api::info},
      {"GET", "/v1/limits", &Api::get_limits},
      {"POST", "/v1/sessions", &Api::open_session},
      {"GET", "/v1/sessions", &Api::list_sessions},
      {"GET", "/v1/sessions/{}", &Api::get_session},
      {"DELETE", "/v1/sessions/{}", &Api::delete_session},
      {"POST", "/v1/sessions/{}/close", &Api::close_session},
      {"POST", "/v1/sessions/{}/revive", &Api::revive_session},
      {"POST", "/v1/sessions/{}/archive", &Api::archive_session},
      {"POST", "/v1/sessions/{}/unarchive", &Api::unarchive_session},
      {"GET", "/v1/sessions/{}/worktree", &Api::get_worktree},
      {"POST", "/v1/sessions/{}/turns", &Api::post_turn},
      {"GET", "/v1/sessions/{}/turns", &Api::list_turns},
      {"GET", "/v1/sessions/{}/turns/{}", &Api::get_turn},
      {"POST", "/v1/sessions/{}/turns/{}/cancel", &Api::cancel_turn},
      {"POST", "/v1/sessions/{}/cancel", &Api::cancel_running},
      {"POST", "/v1/sessions/{}/resume-queue", &Api::resume_queue},
      {"GET", "/v1/sessions/{}/inputs", &Api::list_inputs},
      {"PUT", "/v1/sessions/{}/inputs", &Api::order_inputs},
      {"PATCH", "/v1/sessions/{}/inputs/{}", &Api::edit_input},
      {"DELETE", "/v1/sessions/{}/inputs/{}", &Api::remove_input},
      {"POST", "/v1/sessions/{}/inputs/{}/send", &Api::send_input},
      {"GET", "/v1/sessions/{}/events", nullptr},  // answers by itself, see handle()
      {"GET", "/v1/sessions/{}/interactions", &Api::list_interactions},
      {"POST", "/v1/sessions/{}/interactions", &Api::answer_interactions},
      {"POST", "/v1/sessions/{}/interactions/{}", &Api::answer_interaction},
      {"PUT", "/v1/sessions/{}/permission", &Api::put_permission},
      {"GET", "/v1/sessions/{}/usage", &Api::get_usage},
      {"GET", "/v1/sessions/{}/agents", &Api::list_agents},
      {"POST", "/v1/sessions/{}/agents/{}/kill", &Api::kill_agent},
      {"POST", "/v1/sessions/{}/agents/{}/decision", &Api::decide_agent},
      {"PUT", "/v1/sessions/{}/agents/{}/config", &Api::put_config},
      {"POST", "/v1/agents/{}/probe", &Api::probe_agent},
      {"GET", "/v1/agents", &Api::list_named},
      {"GET", "/v1/agents/{}", &Api::get_named},
      {"DELETE", "/v1/agents/{}", &Api::delete_named},
      {"POST", "/v1/agents/{}/start", &Api::start_named},
      {"POST", "/v1/agents/{}/stop", &Api::stop_named},
      {"POST", "/v1/agents/{}/restart", &Api::restart_named},
      {"POST", "/v1/agents/{}/reset", &Api::reset_named},
      {"GET", "/v1/sessions/{}/changes", &Api::get_change},
      {"GET", "/v1/sessions/{}/changes/patch", &Api::get_patch},
      {"GET", "/v1/sessions/{}/changes/mail", &Api::get_mail},
      {"POST", "/v1/sessions/{}/changes/apply", &Api::apply_change},
      {"POST", "/v1/sessions/{}/changes/discard", &Api::discard_change},
      {"POST", "/v1/sessions/{}/changes/restore", &Api::restore_change},
      {"POST", "/v1/reap", &Api::reap},
      {"POST", "/v1/backup", &Api::backup},
  };
  return table;
}

namespace {

/// Matches decoded segments against a pattern; `{}` takes any one segment.
bool matches(std::string_view pattern, const std::vector<std::string>& path,
             std::vector<std::string>& arguments) {
  arguments.clear();
  for (const std::string& segment : path) {
    if (pattern.empty()) return false;
    pattern.remove_prefix(1);  // the slash
    const std::string_view part = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(part.size());
    if (part == "{}") {
      arguments.push_back(segment);
    } else if (part != segment) {
      return false;
    }
  }
  return pattern.empty();
}

/// Compares without telling by its duration where the first difference is.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0U : 1U;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference |= static_cast<unsigned>(static_cast<unsigned char>(a[i] ^ other));
  }
  return difference == 0;
}

bool is_public(std::string_view path) {
  return path == "/healthz" || path == "/readyz";
}

}  // namespace

std::string_view ApiCall::query(std::string_view name) const {
  const std::string* value = target.find(name);
  return value == nullptr ? std::string_view() : std::string_view(*value);
}

bool Api::authorized(const io::HttpRequest& request) const {
  constexpr std::string_view kBearer = "Bearer ";
  const std::string_view header = request.header("authorization");
  return header.starts_with(kBearer) &&
         equal_in_constant_time(header.substr(kBearer.size()), token_);
}

const Api::Route* Api::find_route(ApiCall& call, std::string* allowed) const {
  for (const Route& route : routes()) {
    if (!matches(route.pattern, call.target.path, call.arguments)) continue;
    if (route.method == call.request->method ||
        (route.method == "GET" && call.request->method == "HEAD")) {
      return &route;
    }
    if (!allowed->empty()) *allowed += ", ";
    *allowed += route.method;
  }
  return nullptr;
}

io::HttpResponse Api::refuse(int status, const Error& error) {
  return problem(status, error);
}

namespace {

io::HttpResponse unauthorized() {
  return problem(make_error(ErrorKind::denied, "unauthorized",
                            "Authorization: Bearer <token> is missing or wrong"));
}

}  // namespace

std::optional<io::HttpResponse> Api::refuse_early(const io::HttpRequest& request) {
  if (is_public(request.target) || authorized(request)) return std::nullopt;
  return unauthorized();
}

Task<void> Api::handle(io::HttpExchange& exchange) {
  ApiCall call;
  call.exchange = &exchange;
  call.request = &exchange.request();
  io::HttpResponse response;
  Result<Target> target = parse_target(call.request->target);
  if (!target.has_value()) {
    response = problem(400, target.error());
  } else {
    call.target = std::move(*target);
    std::string path;
    for (const std::string& segment : call.target.path) path += "/" + segment;
    std::string allowed;
    if (!is_public(path) && !authorized(*call.request)) {
      response = unauthorized();
    } else if (const Route* route = find_route(call, &allowed); route == nullptr) {
      if (allowed.empty()) {
        response =
            problem(make_error(ErrorKind::not_found, "no_such_route", "no such path: " + path));
      } else {
        response = problem(
            make_error(ErrorKind::invalid, "method_not_allowed", "this path takes " + allowed));
        response.headers.emplace_back("Allow", allowed);
      }
    } else if (route->handler == nullptr) {
      co_await events(&call);
      co_return;
    } else {
      response = co_await (this->*route->handler)(&call);
    }
  }
  // The client may be gone; then nobody needs the answer.
  Result<void> sent = co_await exchange.respond(std::move(response));
  static_cast<void>(sent);
}

// --- health ---

Api::Answer Api::healthz(ApiCall*) {
  co_return json_response(200, R"({"status":"ok"})");
}

Api::Answer Api::readyz(ApiCall*) {
  if (draining_) {
    co_return problem(draining());
  }
  if (context_.journal.failing() || context_.journal.stopped()) {
    co_return problem(context_.journal.refusal());
  }
  co_return json_response(200, R"({"status":"ready"})");
}

Api::Answer Api::info(ApiCall*) {
  const io::ProcessTable::Usage usage = context_.platform.process_table().self();
  const JournalStats& journal = context_.journal.stats();
  std::string body;
  JsonWriter writer(body);
  writer.begin_object()
      .member("name", "berth")
      .member("version", kVersion)
      .member("engine", context_.reactor().engine_name())
      .member_int64("pid", info_.pid)
      .member("state_dir", info_.state_directory)
      .key("agents")
      .begin_array();
  for (const std::string& agent : info_.agents) writer.string(agent);
  writer.end_array()
      .member("process_kill", context_.platform.processes().describe())
      .member_uint64("sessions_loaded", directory_.loaded_count())
      .member_uint64("sse_clients", streams_.open)
      .key("sse_closed")
      .begin_object()
      .member_uint64("client_gone", streams_.client_gone)
      .member_uint64("stalled", streams_.stalled)
      .member_uint64("finished", streams_.finished)
      .member_uint64("failed", streams_.failed)
      .end_object()
      .key("journal")
      .begin_object()
      .member_uint64("commits", journal.commits)
      .member_uint64("events", journal.events)
      .member_uint64("event_bytes", journal.event_bytes)
      .member_uint64("retries", journal.retries)
      .end_object()
      .member_uint64("rss_bytes", usage.resident_bytes)
      .member_uint64("cpu_microseconds", usage.cpu_microseconds)
      .end_object();
  co_return json_response(200, std::move(body));
}

}  // namespace berth::server
