// Named agents: start, stop, reset, remove, show.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/rows_json.h>

#include <utility>

namespace berth::server {

namespace {

/// What it does now, in a word.
std::string_view state_of(const NamedAgent& agent) {
  const Binding* bound = agent.binding();
  if (bound != nullptr && bound->needs_decision()) return "needs_decision";
  const bool live = bound != nullptr && bound->live();
  if (!agent.running()) return bound != nullptr && bound->up() ? "stopping" : "stopped";
  if (live) return agent.session().current_turn() == nullptr ? "idle" : "working";
  return bound != nullptr && bound->up() ? "starting" : "crashed";
}

std::string named_json(const NamedAgent& agent) {
  const NamedSpec& spec = agent.spec();
  const Session& session = agent.session();
  const Binding* bound = agent.binding();
  std::string json;
  JsonWriter writer(json);
  writer.begin_object()
      .member("name", spec.name)
      .member("state", state_of(agent))
      .member_bool("wanted", spec.wanted)
      .member("session", session.row().id)
      .member("profile", spec.profile)
      .member("provider", spec.provider)
      .member("model", spec.model)
      .key("args")
      .begin_array();
  for (const std::string& argument : spec.arguments) writer.string(argument);
  writer.end_array().key("pid");
  if (bound == nullptr || bound->row().pid == 0) {
    writer.null();
  } else {
    writer.int64(bound->row().pid);
  }
  writer.key("turn");
  if (session.current_turn() == nullptr) {
    writer.null();
  } else {
    writer.raw(turn_json(*session.current_turn(), session.row().id));
  }
  writer.member_uint64("queued", session.queue().size())
      .member_bool("held", session.row().held)
      .member("directory", session.row().directory)
      .member("folder", agent.agent_folder())
      .member("output", agent.agent_folder() + "/output.jsonl")
      .member("fifo", agent.fifo_path())
      .member_raw("usage", bound == nullptr ? "{}" : bound->usage().sums().json())
      .member("stderr_tail", bound == nullptr ? std::string() : bound->stderr_tail())
      .end_object();
  return json;
}

/// {"now": true}: without waiting for the running turn.
Result<bool> read_now(std::string_view text) {
  const Result<Body> body = Body::parse(text, {"now"});
  if (!body.has_value()) return fail(body.error());
  return body->flag("now");
}

Result<NamedSpec> read_named_spec(std::string_view text) {
  const Result<Body> body = Body::parse(text, {"profile", "provider", "model", "args", "directory",
                                               "repository", "base", "workspace", "permission"});
  if (!body.has_value()) return fail(body.error());
  NamedSpec spec;
  const std::pair<const char*, std::string*> fields[] = {
      {"profile", &spec.profile},     {"provider", &spec.provider},     {"model", &spec.model},
      {"directory", &spec.directory}, {"repository", &spec.repository}, {"base", &spec.base},
      {"workspace", &spec.workspace}, {"permission", &spec.permission}};
  for (const auto& [name, value] : fields) {
    Result<std::string> given = body->text(name);
    if (!given.has_value()) return fail(std::move(given.error()));
    *value = std::move(*given);
  }
  const JsonView arguments = body->root().find("args");
  for (const JsonView& argument : arguments.elements()) {
    if (!argument.as_string().has_value()) {
      return fail(ErrorKind::invalid, "bad_field", "args: must be an array of strings");
    }
    spec.arguments.emplace_back(*argument.as_string());
  }
  if (arguments.present() && !arguments.is_array()) {
    return fail(ErrorKind::invalid, "bad_field", "args: must be an array of strings");
  }
  return spec;
}

AgentName agent_name(const ApiCall* call) {
  return {call->caller.project, call->arguments[0]};
}

}  // namespace

Api::Answer Api::list_named(ApiCall* call) {
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().key("agents").begin_array();
  for (const NamedAgent* agent : named_.list(call->caller.project)) writer.raw(named_json(*agent));
  writer.end_array().end_object();
  co_return json_response(200, std::move(body));
}

Api::Answer Api::get_named(ApiCall* call) {
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  Result<const NamedAgent*> agent = named_.find(agent_name(call));
  if (!agent.has_value()) co_return problem(agent.error());
  co_return json_response(200, named_json(**agent));
}

Api::Answer Api::start_named(ApiCall* call) {
  if (draining_) {
    co_return problem(draining());
  }
  Result<NamedSpec> spec = read_named_spec(call->request->body);
  if (!spec.has_value()) co_return problem(spec.error());
  spec->project = call->caller.project;
  spec->name = call->arguments[0];
  Result<const NamedAgent*> agent = co_await named_.start(std::move(*spec));
  if (!agent.has_value()) co_return problem(agent.error());
  co_return json_response(200, named_json(**agent));
}

Api::Answer Api::change_named(ApiCall* call, NamedVerb verb) {
  const Result<bool> now = read_now(call->request->body);
  if (!now.has_value()) co_return problem(now.error());
  Result<const NamedAgent*> agent = co_await (named_.*verb)(agent_name(call), *now);
  if (!agent.has_value()) co_return problem(agent.error());
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  co_return json_response(200, named_json(**agent));
}

Api::Answer Api::stop_named(ApiCall* call) {
  return change_named(call, &NamedAgents::stop);
}

Api::Answer Api::restart_named(ApiCall* call) {
  return change_named(call, &NamedAgents::restart);
}

Api::Answer Api::reset_named(ApiCall* call) {
  return change_named(call, &NamedAgents::reset);
}

Api::Answer Api::delete_named(ApiCall* call) {
  NamedAgents::Removal order;
  order.force = is_yes(call->query("force"));
  order.purge = is_yes(call->query("purge"));
  Result<void> removed = co_await named_.remove(agent_name(call), order);
  if (!removed.has_value()) co_return problem(removed.error());
  io::HttpResponse response;
  response.status = 204;
  co_return response;
}

}  // namespace berth::server
