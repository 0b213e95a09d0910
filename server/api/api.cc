#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/core/version.h>
#include <berth/server/api/contract.h>
#include <berth/server/api/problem.h>
#include <berth/server/auth/browser.h>
#include <berth/server/auth/guarded_exchange.h>
#include <berth/server/sessions/rows_json.h>
#include <berth/server/sessions/spans.h>

#include <utility>

namespace berth::server {

Api::Api(SessionContext& context, Directory& directory, NamedAgents& named, AuthGate& gate,
         NodeInfo info)
    : context_(context),
      directory_(directory),
      named_(named),
      gate_(gate),
      info_(std::move(info)),
      times_(routes().size() + 1, Histogram(detail::kMiddleBounds)),
      trace_ids_(context.platform.random().next()) {}

namespace {

constexpr AuthScope kNone = AuthScope::none;
constexpr AuthScope kView = AuthScope::sessions_view;
constexpr AuthScope kEdit = AuthScope::sessions_edit;
constexpr AuthScope kRun = AuthScope::sessions_run;
constexpr AuthScope kAdmin = AuthScope::admin;

}  // namespace

// The one list of what exists, and what each needs; a path that matches with another method answers
// 405.
const std::vector<ApiRoute>& Api::routes() {
  static const std::vector<ApiRoute> table = {
      {"GET", "/", kNone, &Api::get_page},
      {"GET", "/ui/{}", kNone, &Api::get_page},
      {"GET", "/healthz", kNone, &Api::healthz},
      {"GET", "/readyz", kNone, &Api::readyz},
      {"GET", "/openapi.json", kNone, &Api::contract},
      {"GET", "/v1/info", kView, &Api::info},
      {"GET", "/v1/limits", kView, &Api::get_limits},
      {"GET", "/v1/caller", kView, &Api::get_caller},
      {"GET", "/v1/tokens", kAdmin, &Api::list_tokens},
      {"POST", "/v1/tokens", kAdmin, &Api::create_token},
      {"DELETE", "/v1/tokens/{}", kAdmin, &Api::revoke_token},
      {"POST", "/v1/tickets", kView, &Api::create_ticket},
      {"GET", "/metrics", kAdmin, &Api::metrics},
      {"POST", "/v1/sessions", kRun, &Api::open_session},
      {"GET", "/v1/sessions", kView, &Api::list_sessions},
      {"GET", "/v1/sessions/{}", kView, &Api::get_session},
      {"PATCH", "/v1/sessions/{}", kEdit, &Api::patch_session},
      {"GET", "/v1/sessions/{}/state", kView, &Api::get_client_state},
      {"PUT", "/v1/sessions/{}/state", kEdit, &Api::put_client_state},
      {"DELETE", "/v1/sessions/{}", kEdit, &Api::delete_session},
      {"POST", "/v1/sessions/{}/close", kEdit, &Api::close_session},
      {"POST", "/v1/sessions/{}/revive", kEdit, &Api::revive_session},
      {"POST", "/v1/sessions/{}/archive", kEdit, &Api::archive_session},
      {"POST", "/v1/sessions/{}/unarchive", kEdit, &Api::unarchive_session},
      {"GET", "/v1/sessions/{}/worktree", kView, &Api::get_worktree},
      {"POST", "/v1/turns", kRun, &Api::post_turn_in_new_session},
      {"POST", "/v1/sessions/{}/turns", kRun, &Api::post_turn},
      {"GET", "/v1/sessions/{}/turns", kView, &Api::list_turns},
      {"GET", "/v1/sessions/{}/turns/{}", kView, &Api::get_turn},
      {"POST", "/v1/sessions/{}/turns/{}/cancel", kRun, &Api::cancel_turn},
      {"POST", "/v1/sessions/{}/cancel", kRun, &Api::cancel_running},
      {"POST", "/v1/sessions/{}/resume-queue", kRun, &Api::resume_queue},
      {"GET", "/v1/sessions/{}/inputs", kView, &Api::list_inputs},
      {"PUT", "/v1/sessions/{}/inputs", kRun, &Api::order_inputs},
      {"PATCH", "/v1/sessions/{}/inputs/{}", kRun, &Api::edit_input},
      {"DELETE", "/v1/sessions/{}/inputs/{}", kRun, &Api::remove_input},
      {"POST", "/v1/sessions/{}/inputs/{}/send", kRun, &Api::send_input},
      {"GET", "/v1/sessions/{}/events", kView, nullptr, &Api::events},
      {"GET", "/v1/events", kView, nullptr, &Api::multi_events},
      {"GET", "/v1/watch", kView, nullptr, &Api::watch},
      {"GET", "/v1/sessions/{}/transcript", kView, nullptr, &Api::get_transcript},
      {"GET", "/v1/sessions/{}/files", kView, &Api::list_files},
      {"POST", "/v1/sessions/{}/files", kEdit, &Api::make_folder},
      {"GET", "/v1/sessions/{}/files/content", kView, nullptr, &Api::get_file},
      {"PUT", "/v1/sessions/{}/files/content", kEdit, &Api::put_file},
      {"DELETE", "/v1/sessions/{}/files/content", kEdit, &Api::delete_file},
      {"GET", "/v1/sessions/{}/files/archive", kView, nullptr, &Api::get_archive},
      {"GET", "/v1/sessions/{}/interactions", kView, &Api::list_interactions},
      {"POST", "/v1/sessions/{}/interactions", kRun, &Api::answer_interactions},
      {"POST", "/v1/sessions/{}/interactions/{}", kRun, &Api::answer_interaction},
      {"PUT", "/v1/sessions/{}/permission", kRun, &Api::put_permission},
      {"GET", "/v1/sessions/{}/usage", kView, &Api::get_usage},
      {"GET", "/v1/sessions/{}/agents", kView, &Api::list_agents},
      {"POST", "/v1/sessions/{}/agents/{}/kill", kRun, &Api::kill_agent},
      {"POST", "/v1/sessions/{}/agents/{}/decision", kRun, &Api::decide_agent},
      {"PUT", "/v1/sessions/{}/agents/{}/config", kRun, &Api::put_config},
      {"POST", "/v1/agents/{}/probe", kAdmin, &Api::probe_agent},
      {"GET", "/v1/agents", kView, &Api::list_named},
      {"GET", "/v1/agents/{}", kView, &Api::get_named},
      {"DELETE", "/v1/agents/{}", kAdmin, &Api::delete_named},
      {"POST", "/v1/agents/{}/start", kAdmin, &Api::start_named},
      {"POST", "/v1/agents/{}/stop", kRun, &Api::stop_named},
      {"POST", "/v1/agents/{}/restart", kRun, &Api::restart_named},
      {"POST", "/v1/agents/{}/reset", kRun, &Api::reset_named},
      {"GET", "/v1/sessions/{}/changes", kView, &Api::get_change},
      {"GET", "/v1/sessions/{}/changes/patch", kView, &Api::get_patch},
      {"GET", "/v1/sessions/{}/changes/mail", kView, &Api::get_mail},
      {"POST", "/v1/sessions/{}/changes/apply", kEdit, &Api::apply_change},
      {"POST", "/v1/sessions/{}/changes/discard", kEdit, &Api::discard_change},
      {"POST", "/v1/sessions/{}/changes/restore", kEdit, &Api::restore_change},
      {"POST", "/v1/reap", kAdmin, &Api::reap},
      {"POST", "/v1/backup", kAdmin, &Api::backup},
  };
  return table;
}

namespace {

/// Matches decoded segments against a pattern; `{}` takes any one segment.
bool matches(std::string_view pattern, const std::vector<std::string>& path,
             std::vector<std::string>& arguments) {
  arguments.clear();
  if (path.empty()) return pattern == "/";
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

/// As it was sent, without the query.
std::string_view path_of(std::string_view target) {
  return target.substr(0, target.find('?'));
}

constexpr std::size_t kInstanceMax = 1000;

/// What a problem of this call says of it: RFC 9457's `instance`, and where to look for more.
std::string problem_members(const ApiCall& call) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  // The query may hold a ticket.
  const std::string_view path = path_of(call.request->target);
  if (path.starts_with('/') && path.size() <= kInstanceMax) writer.member("instance", path);
  writer.member("trace_id", call.trace.trace_id).end_object();
  return out;
}

}  // namespace

std::string_view ApiCall::query(std::string_view name) const {
  const std::string* value = target.find(name);
  return value == nullptr ? std::string_view() : std::string_view(*value);
}

void Api::find_route(ApiCall& call) {
  for (const ApiRoute& route : routes()) {
    if (!matches(route.pattern, call.target.path, call.arguments)) continue;
    if (route.method == call.request->method ||
        (route.method == "GET" && call.request->method == "HEAD")) {
      call.route = &route;
      return;
    }
    if (!call.allowed.empty()) call.allowed += ", ";
    call.allowed += route.method;
  }
}

io::HttpResponse Api::refuse(int status, const Error& error) {
  io::HttpResponse response = problem(status, error);
  count_refusal(response);
  return response;
}

void Api::count_refusal(const io::HttpResponse& response) {
  if (!response.limit.empty()) ++refusals_[response.limit];
}

std::optional<io::HttpResponse> Api::refuse_early(const io::HttpRequest& request) {
  ApiCall call = begin_call(request);
  const Result<void> admitted = admit(&call, true);
  if (admitted.has_value()) return std::nullopt;
  io::HttpResponse response = refusal(call, admitted.error());
  count_refusal(response);
  add_to_problem(response, problem_members(call));
  if (gate_.cors(request, call.client)) {
    add_cors_headers(response.headers, request.header("origin"));
  }
  end_call(call, response.status);
  return response;
}

ApiCall Api::begin_call(const io::HttpRequest& request) {
  ApiCall call;
  call.request = &request;
  call.client = client_of(request, gate_.config().trusted_proxies, gate_.config().proxy_header);
  call.began = context_.reactor().clock().now();
  const auto asker = parse_trace(request.header("traceparent"), request.header("tracestate"));
  call.trace = asker ? next_span(*asker, trace_ids_) : begin_trace_here(context_, trace_ids_);
  if (asker) call.asker = asker->span_id;
  return call;
}

void Api::end_call(const ApiCall& call, int status) {
  const TimePoint now = context_.reactor().clock().now();
  const std::vector<ApiRoute>& table = routes();
  const auto route =
      call.route == nullptr ? table.size() : static_cast<std::size_t>(call.route - table.data());
  // How long somebody follows a stream says nothing about us.
  if (call.route == nullptr || call.route->stream == nullptr) times_[route].add(now - call.began);
  const auto name = [&call] {
    std::string text = call.request->method;
    if (call.route != nullptr) text += " " + std::string(call.route->pattern);
    return text;
  };
  if (status >= 500 && !draining_) {
    context_.log.write(LogLevel::warning, "api", name() + " was answered " + std::to_string(status),
                       call.trace.trace_id);
  }
  if (context_.tracer == nullptr || !call.trace.sampled()) return;
  server::Span span;  // not that of commits
  span.trace = call.trace;
  span.parent = call.asker;
  span.name = name();
  span.kind = SpanKind::server;
  span.began_ns = context_.tracer->unix_ns(call.began);
  span.ended_ns = context_.tracer->unix_ns(now);
  span.attributes = {{"http.request.method", call.request->method},
                     {"http.response.status_code", std::to_string(status)},
                     {"client.address", call.client.address}};
  if (call.route != nullptr) span.attributes.emplace_back("http.route", call.route->pattern);
  if (status >= 500) span.error = "status " + std::to_string(status);
  context_.tracer->add(std::move(span));
}

// Who may not in is told nothing about what is there: the token comes before the path.
Result<void> Api::admit(ApiCall* call, bool early) {
  // A proxy may have taken the base path off, or not.
  std::string_view text = call->request->target;
  for (const std::string& base : {info_.base_path, call->client.prefix}) {
    if (base.empty() || !text.starts_with(base + "/")) continue;
    text.remove_prefix(base.size());
    break;
  }
  Result<Target> target = parse_target(text);
  if (!target.has_value()) return fail(std::move(target.error()));
  call->target = std::move(*target);
  find_route(*call);
  const ApiRoute* const route = call->route;
  if (Result<void> page = gate_.check_page(*call->request, call->client); !page.has_value())
    return page;
  if (route != nullptr && route->scope == AuthScope::none) return {};
  const std::string_view path = path_of(text);
  const std::string_view ticket =
      call->request->method == "GET" ? call->query("ticket") : std::string_view();
  Result<Caller> caller = gate_.authenticate(*call->request, call->client, path, ticket, early);
  if (!caller.has_value()) return fail(std::move(caller.error()));
  call->caller = std::move(*caller);
  if (route == nullptr && call->allowed.empty()) {
    return fail(ErrorKind::not_found, "no_such_route", "there is no such path");
  }
  if (route == nullptr) {
    return fail(ErrorKind::invalid, "method_not_allowed", "this path takes " + call->allowed);
  }
  if (call->caller.scopes.allow(route->scope)) return {};
  return fail(ErrorKind::denied, "forbidden_scope",
              "this needs the scope " + std::string(to_string(route->scope)));
}

namespace {

AuditEntry audit_entry(const ApiCall& call) {
  AuditEntry entry;
  entry.caller = &call.caller;
  entry.peer = call.client.address;
  entry.method = call.request->method;
  entry.trace_id = call.trace.trace_id;
  if (call.route != nullptr) {
    entry.route = call.route->pattern;
    entry.arguments = &call.arguments;
  }
  return entry;
}

}  // namespace

/// The answer to what is not let in. Noted, but for what only shows a broken client, and for what
/// the rates refuse, so that nobody can wash the log away.
io::HttpResponse Api::refusal(const ApiCall& call, const Error& error) {
  io::HttpResponse response = problem(error);
  if (!call.allowed.empty() && response.status == 405) {
    response.headers.emplace_back("Allow", call.allowed);
  }
  if (error.kind == ErrorKind::denied) {
    AuditEntry entry = audit_entry(call);
    entry.status = response.status;
    entry.code = error.code;
    gate_.audit().add(entry);
  }
  return response;
}

Task<Result<SessionUse>> Api::find_session(ApiCall* call) {
  return directory_.find({call->caller.project, call->arguments[0]});
}

Task<Result<SessionUse>> Api::find_log(ApiCall* call) {
  return directory_.find_log({call->caller.project, call->arguments[0]});
}

Task<void> Api::handle(io::HttpExchange& exchange) {
  GuardedExchange guarded(exchange);
  ApiCall call = begin_call(exchange.request());
  call.exchange = &guarded;
  guarded.on_problem([this, &call](io::HttpResponse& problem_document) {
    count_refusal(problem_document);
    add_to_problem(problem_document, problem_members(call));
  });
  const bool cors = gate_.cors(*call.request, call.client);
  if (cors) {
    HttpHeaders headers;
    add_cors_headers(headers, call.request->header("origin"));
    guarded.add_headers(std::move(headers));
  }
  io::HttpResponse response;
  if (is_preflight(*call.request) && cors) {
    response = preflight_answer();
  } else if (const Result<void> admitted = admit(&call, false); !admitted.has_value()) {
    response = refusal(call, admitted.error());
  } else {
    guarded.end_with(gate_.tokens().ended(call.caller.token_id));
    if (call.route->stream != nullptr) {
      co_await (this->*call.route->stream)(&call);
      end_call(call, guarded.status());
      co_return;
    }
    response = co_await (this->*call.route->handler)(&call);
    for (auto& [name, value] : response.headers) {
      if (name == "Location") {
        value.insert(0, call.client.prefix.empty() ? info_.base_path : call.client.prefix);
      }
    }
    if (call.route->method != "GET") {
      AuditEntry entry = audit_entry(call);
      entry.status = response.status;
      gate_.audit().add(entry);
    }
  }
  end_call(call, response.status);
  // The client may be gone; then nobody needs the answer.
  Result<void> sent = co_await guarded.respond(std::move(response));
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
  if (context_.journal.stopped()) co_return problem(context_.journal.refusal());
  const Result<void> takes = context_.takes_work();
  if (!takes.has_value()) co_return problem(takes.error());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().member("status", "ready").key("store").begin_object();
  writer.member("check", to_string(context_.store_health.check));
  writer.member_uint64("problems", context_.store_health.problems.size());
  writer.end_object().end_object();
  co_return json_response(200, std::move(body));
}

Api::Answer Api::contract(ApiCall*) {
  co_return json_response(200, std::string(kContract));
}

namespace {

/// What agents are kept from that do not say, and what left the sandboxes.
void put_launches(JsonWriter& writer, const LaunchPolicy& launches) {
  const Result<LaunchChoice> usual = launches.choose(AgentProfile(), LaunchMode::none);
  writer.key("launch")
      .begin_object()
      .member("default", usual.has_value() ? to_string(usual->mode) : "none")
      .member("reason", usual.has_value() ? usual->reason : usual.error().message)
      .member_bool("sandbox", launches.support().sandbox)
      .member("sandbox_reason", launches.support().sandbox_reason)
      .end_object();
  const egress::Stats stats =
      launches.egress_stats() == nullptr ? egress::Stats() : *launches.egress_stats();
  writer.key("egress")
      .begin_object()
      .member_uint64("doors", stats.doors)
      .member_uint64("connections", stats.connections)
      .member_uint64("allowed", stats.allowed)
      .member_uint64("denied", stats.denied)
      .member_uint64("failed", stats.failed)
      .member_uint64("overloaded", stats.overloaded)
      .member_uint64("bytes_out", stats.bytes_out)
      .member_uint64("bytes_in", stats.bytes_in)
      .end_object();
}

}  // namespace

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
  writer.end_array().member("process_kill", context_.platform.processes().describe());
  if (context_.launches != nullptr) put_launches(writer, *context_.launches);
  writer.member_uint64("sessions_loaded", directory_.loaded_count())
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
      .key("store")
      .begin_object()
      .member("check", to_string(context_.store_health.check))
      .key("problems")
      .begin_array();
  for (const std::string& what : context_.store_health.problems) writer.string(what);
  writer.end_array().key("left_out").begin_array();
  for (const std::string& what : context_.store_health.left_out) writer.string(what);
  writer.end_array()
      .end_object()
      .member_uint64("rss_bytes", usage.resident_bytes)
      .member_uint64("cpu_microseconds", usage.cpu_microseconds)
      .end_object();
  co_return json_response(200, std::move(body));
}

}  // namespace berth::server
