// Agents of a session, their configuration, and the probe of a profile.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/agents/probe.h>
#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/json_members.h>
#include <berth/server/sessions/rows_json.h>

#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kModeMax = 256;
constexpr std::size_t kConfigMax = std::size_t{64} * 1024;  // of one agent of a session

void put_agent(JsonWriter& writer, const Binding& bound, const SessionContext& context) {
  const BindingRow& row = bound.row();
  writer.begin_object().member("agent", row.agent).member("state", to_string(row.state));
  put_text(writer, "native_session_id", row.native_session_id);
  writer.member_raw("native_history", row.native_history.empty() ? "[]" : row.native_history);
  writer.key("pid");
  if (row.pid == 0) {
    writer.null();
  } else {
    writer.int64(row.pid);
  }
  writer.member_int64("attach_epoch", row.attach_epoch);
  put_text(writer, "next", bound.next());
  writer.member_int64("told_turn", row.told_turn)
      .member_bool("continuation_owed", row.continuation_owed);
  if (const std::optional<LaunchChoice> launch = bound.launch_choice()) {
    writer.member("launch", to_string(launch->mode)).member("launch_reason", launch->reason);
  }
  put_json(writer, "decision", row.failure);
  put_json(writer, "agent_info", row.agent_info);
  writer.member("stderr_tail", bound.stderr_tail())
      .member("health", to_string(bound.diagnosis().health));
  put_text(writer, "health_reason", bound.diagnosis().why);
  put_text(writer, "last_trouble", bound.last_trouble());
  if (row.pid != 0) {
    const auto usage = context.platform.process_table().usage({row.pid, row.start_time});
    if (usage.has_value()) writer.member_uint64("rss_bytes", usage->resident_bytes);
  }
  writer.end_object();
}

}  // namespace

Api::Answer Api::list_agents(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  Result<void> in_log = co_await context_.journal.committed_or_refused();
  if (!in_log.has_value()) co_return problem(in_log.error());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().key("agents").begin_array();
  // Nothing was asked of anybody yet: there is nothing to say of a next prompt.
  const bool empty = !(*session)->has_past() && (*session)->current_turn() == nullptr;
  for (auto& [agent, bound] : (*session)->bindings()) {
    if (!empty) put_agent(writer, *bound, context_);
  }
  writer.end_array().end_object();
  co_return json_response(200, std::move(body));
}

Api::Answer Api::kill_agent(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const auto found = (*session)->bindings().find(call->arguments[1]);
  if (found == (*session)->bindings().end()) {
    co_return problem(make_error(ErrorKind::not_found, "agent_not_found",
                                 "this session has no agent " + call->arguments[1]));
  }
  co_await found->second->stop(true);
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  co_return json_response(200, session_view_json(**session));
}

/// What a person chose for an agent that needs a decision; the turn goes on, or fails.
Api::Answer Api::decide_agent(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body = Body::parse(call->request->body, {"choice"});
  if (!body.has_value()) co_return problem(body.error());
  Result<std::string> name = body->text("choice");
  if (!name.has_value()) co_return problem(name.error());
  Result<Choice> choice = choice_named(*name);
  if (!choice.has_value()) co_return problem(choice.error());
  const auto found = (*session)->bindings().find(call->arguments[1]);
  if (found == (*session)->bindings().end()) {
    co_return problem(make_error(ErrorKind::not_found, "agent_not_found",
                                 "this session has no agent " + call->arguments[1]));
  }
  Result<void> decided = found->second->decide(*choice);
  if (!decided.has_value()) co_return problem(decided.error());
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  co_return json_response(200, session_view_json(**session));
}

Api::Answer Api::get_usage(ApiCall* call) {
  Result<SessionUse> found = co_await find_session(call);
  if (!found.has_value()) co_return problem(found.error());
  Session* session = *found;
  Result<std::uint64_t> limit = number_of("limit", call->query("limit"), 100, 1000);
  if (!limit.has_value()) co_return problem(limit.error());
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  const SessionNo no = session->session_no();
  const int count = static_cast<int>(*limit);
  Result<std::vector<TurnRow>> turns =
      co_await context_.read([no, count](Store& store) { return store.list_turns(no, 0, count); });
  if (!turns.has_value()) co_return problem(turns.error());
  Usage sum;
  for (auto& [agent, bound] : session->bindings()) sum.add(bound->usage().sums());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().member_raw("session", sum.json()).key("agents").begin_array();
  for (auto& [agent, bound] : session->bindings()) {
    writer.begin_object().member("agent", agent).member_raw("usage", bound->usage().sums().json());
    put_json(writer, "context", bound->usage().context_json());
    writer.end_object();
  }
  writer.end_array().key("turns").begin_array();
  for (const TurnRow& turn : *turns) {
    writer.begin_object()
        .member("turn", turn.id)
        .member_int64("number", turn.number)
        .member("agent", turn.agent)
        .member("state", to_string(turn.state));
    put_json(writer, "usage", turn.usage);
    writer.end_object();
  }
  writer.end_array().end_object();
  co_return json_response(200, std::move(body));
}

Api::Answer Api::put_config(ApiCall* call) {
  Result<SessionUse> session = co_await find_session(call);
  if (!session.has_value()) co_return problem(session.error());
  const Result<Body> body = Body::parse(call->request->body, {"mode", "config"});
  if (!body.has_value()) co_return problem(body.error());
  Result<std::string> mode = body->text("mode");
  if (!mode.has_value()) co_return problem(mode.error());
  const JsonView config = body->root().find("config");
  if (config.present() && !config.is_object()) {
    co_return problem(make_error(ErrorKind::invalid, "bad_field", "config: must be an object"));
  }
  if (mode->size() > kModeMax) {
    co_return problem(make_error(ErrorKind::invalid, "bad_field", "mode: above 256 bytes"));
  }
  if (mode->empty() && !config.present()) {
    co_return problem(make_error(ErrorKind::invalid, "bad_field", "mode: it or config is needed"));
  }
  Result<Binding*> bound = (*session)->binding(call->arguments[1]);
  if (!bound.has_value()) co_return problem(bound.error());
  if (config.present()) {
    for (const auto& member : config.members()) {
      if (!member.second.as_string().has_value() && !member.second.as_bool().has_value()) {
        co_return problem(
            make_error(ErrorKind::invalid, "bad_field",
                       "config." + std::string(member.first) + ": must be a string or a boolean"));
      }
    }
    if ((*bound)->row().config.size() + config.raw().size() > kConfigMax) {
      co_return problem(make_error(ErrorKind::invalid, "bad_field",
                                   "config: all that is stored of it exceeds 64 KiB"));
    }
    for (const auto& member : config.members())
      (*bound)->set_config(member.first, member.second.raw());
  }
  if (!mode->empty()) (*bound)->set_mode(*mode);
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return problem(in_log.error());
  co_return json_response(200, "{}");
}

Api::Answer Api::probe_agent(ApiCall* call) {
  const AgentProfile* profile = context_.agents.find(call->arguments[0]);
  if (profile == nullptr) {
    co_return problem(
        make_error(ErrorKind::not_found, "unknown_agent", "no profile " + call->arguments[0]));
  }
  ProbeResult result = co_await probe_agent_profile(context_.platform, *context_.launches, *profile,
                                                    info_.state_directory, call->exchange->gone());
  if (!result.error.message.empty()) {
    std::string body;
    JsonWriter(body).begin_object().member("stderr_tail", result.stderr_tail).end_object();
    co_return problem(result.error, body);
  }
  co_return json_response(200, std::move(result.report));
}

}  // namespace berth::server
