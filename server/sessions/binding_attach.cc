// How an agent comes back: the ladder, its retries, and what a person decides.
#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/sessions/binding.h>
#include <berth/server/sessions/continuation.h>
#include <berth/server/sessions/json_members.h>
#include <berth/server/sessions/session.h>
#include <berth/server/sessions/spans.h>

#include <utility>

namespace berth::server {

namespace {

/// A process that two sessions are to share may take longer to prepare than the way to it.
constexpr Duration kSeekAgain = std::chrono::milliseconds(20);

std::vector<std::string> strings_in(std::string_view json) {
  std::vector<std::string> strings;
  const Result<JsonDoc> doc = JsonDoc::parse(json.empty() ? std::string_view("[]") : json);
  if (!doc.has_value()) return strings;
  for (const JsonView& element : doc->root().elements()) {
    strings.emplace_back(element.as_string().value_or(""));
  }
  return strings;
}

/// What the session asked for when it was opened.
LaunchMode least_launch_of(const SessionRow& row) {
  const Result<JsonDoc> options = JsonDoc::parse(row.options.empty() ? "{}" : row.options);
  if (!options.has_value()) return LaunchMode::none;
  return launch_mode_named(options->root().get_string("launch").value_or(""))
      .value_or(LaunchMode::none);
}

}  // namespace

void Binding::attach() {
  if (needs_decision()) return session_.on_decision_needed(*this);
  if (retry_.started() || waits_to_start()) return;
  if (!gone_.is_set()) {
    // A one-shot agent is on its way out by itself.
    attach_when_gone_ = ending_ || !(attaching_ || live());
    return;
  }
  since_ = context_.reactor().clock().now();
  context_.pool.want(*this);
}

void Binding::on_start_granted(bool joins) {
  if (port_ == nullptr) {
    Result<std::unique_ptr<AgentPort>> made = context_.agents.make(row_.agent, *this);
    if (!made.has_value()) {
      leave_pool();
      session_.on_agent_lost(*this, made.error().message);
      return;
    }
    port_ = std::move(*made);
  }
  attaching_ = true;
  joins_ = joins;
  attach_began_ = context_.reactor().clock().now();
  gone_.reset();
  ++row_.attach_epoch;
  save();
  AttachSpec spec;
  spec.attach_epoch = row_.attach_epoch;
  spec.may_start = !joins;
  spec.profile = row_.agent;
  spec.session_key = session_.row().key;
  spec.project = session_.row().project;
  spec.directory = session_.row().directory;
  spec.native_session_id = row_.native_session_id;
  spec.mode = row_.mode;
  spec.config = row_.config;
  McpServers servers = resolve_mcp_servers(session_.row().mcp_servers, context_.secrets,
                                           context_.platform.environment());
  spec.mcp_servers = std::move(servers.json);
  left_out_ = std::move(servers.left_out);
  spec.additional_directories = strings_in(session_.row().additional_directories);
  spec.launch = least_launch_of(session_.row());
  if (!session_.row().branch.empty()) {
    spec.git_folders = [&workspaces = context_.workspaces,
                        workspace = workspace_of(session_.row())] {
      return workspaces.git_folders(workspace);
    };
  }
  spec.last_said = [this] { return read_last_said(context_, session_.session_no(), row_.agent); };
  port_->attach(std::move(spec));
}

/// The native session stays known by its name, with the turns that it holds.
void Binding::give_back_native_session() {
  if (row_.native_session_id.empty()) return;
  row_.native_history =
      add_native_session(row_.native_history, row_.native_session_id, row_.told_turn);
  row_.native_session_id.clear();
}

std::optional<LaunchChoice> Binding::launch_choice() const {
  const AgentProfile* profile = context_.agents.find(row_.agent);
  if (context_.launches == nullptr || profile == nullptr) return std::nullopt;
  Result<LaunchChoice> choice =
      context_.launches->choose(*profile, least_launch_of(session_.row()));
  if (!choice.has_value()) return std::nullopt;
  return std::move(*choice);
}

void Binding::on_attached(std::int64_t attach_epoch, const Attached& attached) {
  if (is_late(attach_epoch)) return;
  attaching_ = false;
  context_.pool.started(*this);
  failures_ = timeouts_ = 0;
  // A new native session in a session that has a past (or replaces one that the agent forgot) owes
  // it the story.
  const bool fresh = attached.rung == Rung::new_session || attached.rung == Rung::history;
  Rung rung = attached.rung;
  if (fresh) {
    rung = session_.has_past() ? Rung::history : Rung::new_session;
    if (attached.native_session_id != row_.native_session_id) give_back_native_session();
    row_.told_turn = 0;
    row_.continuation_owed = session_.has_past();
    usage_.forget_native_session();
  }
  row_.state = BindingState::live;
  row_.failure.clear();
  row_.native_session_id = attached.native_session_id;
  row_.agent_info = attached.agent_info;
  heard_ = worked_ = pinged_ = context_.reactor().clock().now();
  stopped_since_.reset();
  row_.pid = attached.process.pid;
  row_.start_time = attached.process.start_time;
  save();

  std::string data;
  JsonWriter writer(data);
  writer.begin_object()
      .member("rung", to_string(rung))
      .member("native_session_id", attached.native_session_id)
      .member_int64("pid", attached.process.pid)
      .member_int64("attach_epoch", attach_epoch)
      .member_int64("protocol_version", attached.protocol_version);
  put_json(writer, "agent_info", attached.agent_info);
  put_json(writer, "capabilities", attached.capabilities);
  put_json(writer, "agent_error", attached.agent_error);
  put_text(writer, "reason", attached.reason);
  writer.member_bool("continuation_owed", row_.continuation_owed);
  if (const std::optional<LaunchChoice> launch = launch_choice()) {
    writer.member("launch", to_string(launch->mode)).member("launch_reason", launch->reason);
  }
  writer.key("config_failures").begin_array();
  for (const std::string& what : left_out_) writer.string(what);
  for (const std::string& what : attached.config_failures) writer.string(what);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      context_.reactor().clock().now() - attach_began_);
  writer.end_array().member_int64("attach_ms", took.count()).end_object();
  tell_start(to_string(rung), {});
  session_.append("agent.attached", row_.agent, data);
  session_.on_agent_ready(*this);
  if (!session_.needs(row_.agent)) rest();
}

void Binding::tell_start(std::string_view rung, std::string_view error) {
  const TurnRow* turn = session_.current_turn();
  const bool its = turn != nullptr && turn->agent == row_.agent;
  on_start_over(context_, session_.row(), its ? turn : nullptr,
                {row_.agent, rung, attach_began_, error});
}

void Binding::forget() {
  give_back_native_session();
  row_.told_turn = 0;
  row_.continuation_owed = false;
  row_.failure.clear();
  if (needs_decision()) row_.state = BindingState::sleeping;
  save();
  session_.append_to({}, "agent.forgot", row_.agent, "{}");
}

// --- failures ---

/// A turn waits for this agent to come up.
bool Binding::wanted() const {
  const TurnRow* turn = session_.current_turn();
  return turn != nullptr && turn->agent == row_.agent && turn->state == TurnState::starting;
}

void Binding::note_failure(const AttachFailure& failure) {
  row_.failure.clear();
  JsonWriter(row_.failure)
      .begin_object()
      .member("code", failure.error.code)
      .member("message", failure.error.message)
      .member_raw("agent_error", failure.agent_error.empty() ? "null" : failure.agent_error)
      .member_int64("attempts", failures_)
      .member_raw("choices", R"(["retry","history","fail"])")
      .end_object();
}

void Binding::tell_failure(std::string_view type, const AttachFailure& failure, Duration retry_in) {
  std::string data;
  JsonWriter writer(data);
  writer.begin_object()
      .member("code", failure.error.code)
      .member("message", failure.error.message)
      .member_raw("agent_error", failure.agent_error.empty() ? "null" : failure.agent_error)
      .member_int64("attempt", failures_)
      .member_bool("needs_decision", needs_decision());
  if (retry_in.count() > 0) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(retry_in);
    writer.member_int64("retry_in_ms", ms.count());
  }
  if (needs_decision()) writer.member_raw("choices", R"(["retry","history","fail"])");
  writer.member_raw("auth_methods", failure.auth_methods.empty() ? "null" : failure.auth_methods);
  writer.member("stderr_tail", failure.stderr_tail).end_object();
  session_.append(type, row_.agent, data);
}

void Binding::on_attach_failed(std::int64_t attach_epoch, AttachFailure failure) {
  if (is_late(attach_epoch)) return;
  attaching_ = false;
  row_.pid = 0;
  if (std::string_view(failure.error.code) == kNoSeat && !ending_) return seek_place_again();
  row_.state = BindingState::crashed;
  ++failures_;
  if (failure.error.kind == ErrorKind::timed_out) ++timeouts_;
  tell_start({}, failure.error.code);
  AttachPlan plan = plan_after_failure(failure, failures_, timeouts_,
                                       !row_.native_session_id.empty(), context_.limits.retries);
  // Nobody waits for a start that was ended on purpose, or whose turn is gone.
  if (ending_ || (plan.step == AttachStep::retry && !wanted())) plan.step = AttachStep::fail;
  switch (plan.step) {
    case AttachStep::retry:
      save();
      tell_failure("agent.retrying", failure, plan.wait);
      leave_pool();
      context_.reactor().arm(retry_, context_.reactor().clock().now() + plan.wait);
      return;
    case AttachStep::decide:
      row_.state = BindingState::needs_decision;
      note_failure(failure);
      break;
    case AttachStep::fail:
      break;
  }
  save();
  tell_failure("agent.failed", failure, {});
  failures_ = timeouts_ = 0;
  if (needs_decision()) {
    leave_pool();
    attach_when_gone_ = false;
    session_.on_decision_needed(*this);
    return;
  }
  after_end(failure.error.message);
}

/// The process that it was to join takes nobody any more. No start has failed: none was made.
void Binding::seek_place_again() {
  leave_pool();
  if (std::exchange(attach_when_gone_, false) || wanted()) {
    context_.reactor().arm(retry_, context_.reactor().clock().now() + kSeekAgain);
  }
}

void Binding::on_retry() {
  if (wanted()) attach();
}

Result<void> Binding::decide(Choice choice) {
  if (!needs_decision()) {
    return fail(ErrorKind::conflict, "no_decision", row_.agent + ": nothing is to be decided");
  }
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member("choice", to_string(choice))
      .member("by", "user")
      .member_raw("failure", row_.failure.empty() ? "null" : row_.failure)
      .end_object();
  session_.append("agent.decided", row_.agent, data);
  row_.failure.clear();
  row_.state = choice == Choice::fail ? BindingState::crashed : BindingState::sleeping;
  if (choice == Choice::history) {
    give_back_native_session();
    row_.told_turn = 0;
  }
  save();
  if (choice == Choice::fail) {
    session_.on_agent_lost(*this, "a person decided to give it up");
  } else {
    session_.on_decided(*this);
  }
  return {};
}

void Binding::on_exited(std::int64_t attach_epoch, AgentExit exit) {
  if (is_late(attach_epoch)) return;
  row_.state = exit.expected ? BindingState::sleeping : BindingState::crashed;
  row_.pid = 0;
  save();
  const std::string status =
      exit.process_goes_on ? "left: its process serves other sessions" : io::describe(exit.status);
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member_int64("pid", exit.process.pid)
      .member("status", status)
      .member_bool("expected", exit.expected)
      .member("stderr_tail", exit.stderr_tail)
      .end_object();
  session_.append("agent.exited", row_.agent, data);
  if (!exit.expected) {
    note_crash();
    last_trouble_ = "it ended: " + io::describe(exit.status);
  }
  session_.questions().cancel_of(*this, "agent exit");
  if (!exit.expected && session_.take_back_prompt(*this, exit.prompt_untouched)) {
    attach_when_gone_ = true;
  }
  after_end("the agent ended: " + status);
}

/// A turn that came while the process was being ended gets a new one, as does one that was not sent
/// to the old.
void Binding::after_end(std::string_view why) {
  diagnosis_ = {};
  last_signs_ = {};
  unanswered_looks_ = 0;
  const bool replace = std::exchange(replace_, false);
  ending_ = false;
  leave_pool();
  if (std::exchange(attach_when_gone_, false) && wanted()) {
    attach();
  } else {
    session_.on_agent_lost(*this, why);
  }
  if (replace && session_.open() && !context_.draining) attach();
}

}  // namespace berth::server
