#include <berth/server/agents/opencode/agent.h>

#include <berth/core/json_writer.h>
#include <berth/io/awaitables.h>
#include <berth/server/agents/reports.h>

#include <utility>

namespace berth::server::opencode {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kPostTimeout = seconds(60);  // a cold directory takes seconds
constexpr Duration kProbeTimeout = seconds(15);
constexpr int kAnswerAttempts = 4;
constexpr const char* kProbeMessages = "&limit=40";
constexpr const char* kReconcileMessages = "&limit=200";

}  // namespace

Agent::Agent(io::Platform& platform, Servers& servers, const AgentProfile& profile, AgentSink& sink)
    : platform_(platform),
      reactor_(platform.reactor()),
      servers_(servers),
      profile_(profile),
      sink_(sink),
      ids_(platform.random()),
      scope_(platform.reactor()),
      prompting_(platform.reactor()) {}

Agent::~Agent() {
  BERTH_ASSERT(state_ == State::none);
}

void Agent::attach(AttachSpec spec) {
  BERTH_ASSERT(state_ == State::none);
  state_ = State::attaching;
  attach_epoch_ = spec.attach_epoch;
  expected_end_ = false;
  scope_.spawn(run(std::move(spec)));
}

// --- commands ---

void Agent::prompt(std::string turn, std::string blocks, std::string meta) {
  BERTH_ASSERT(state_ == State::live && !tracker_->running());
  std::string message_id = ids_.mint(platform_.clock().wall());
  tracker_->begin_turn(std::move(turn), message_id, now());
  requests_->spawn(post_prompt(std::move(message_id), std::move(blocks), trace_in(meta)));
  arm_probe();
}

bool Agent::steer(std::string_view turn, std::string_view blocks) {
  if (state_ != State::live || tracker_->turn() != turn || turn.empty()) return false;
  // opencode lets a prompt join the running loop at its next step.
  std::string message_id = ids_.mint(platform_.clock().wall());
  tracker_->add_prompt(message_id);
  requests_->spawn(post_prompt(std::move(message_id), std::string(blocks), {}));
  return true;
}

void Agent::cancel(std::string_view turn) {
  if (state_ != State::live || tracker_->turn() != turn) return;
  tracker_->request_cancel(now());
  abort_if_wanted();
  arm_probe();
}

void Agent::abort_if_wanted() {
  if (state_ != State::live || !tracker_->wants_abort(now())) return;
  tracker_->abort_sent(now());
  requests_->spawn(post_abort());
}

void Agent::answer(std::uint64_t reply_id, const AgentAnswer& answer) {
  const auto found = questions_.find(reply_id);
  if (found == questions_.end() || state_ != State::live) return;
  Question question = std::move(found->second);
  questions_.erase(found);
  requests_->spawn(post_answer(std::move(question), answer));
}

void Agent::set_mode(std::string_view mode) {
  if (state_ == State::live) requests_->spawn(change_mode(std::string(mode)));
}

void Agent::set_config_option(std::string_view id, std::string_view json_value) {
  if (state_ != State::live) return;
  const Result<JsonDoc> value = JsonDoc::parse(json_value);
  if (value.has_value() && choose(id, value->root())) return;
  refuse_config(id, "opencode takes model (PROVIDER/MODEL) and effort");
}

/// Takes a model or an effort; false when it is neither.
bool Agent::choose(std::string_view id, JsonView value) {
  const auto text = value.as_string();
  if (!text) return false;
  if (id == "effort" || id == "variant") {
    choice_.variant = *text;
    return true;
  }
  const std::size_t slash = text->find('/');
  if (id != "model" || slash == std::string_view::npos) return false;
  choice_.provider = text->substr(0, slash);
  choice_.model = text->substr(slash + 1);
  return true;
}

void Agent::refuse_config(std::string_view what, std::string_view why) {
  if (silent_) return;
  sink_.on_foreign_message(attach_epoch_, "berth/config_refused",
                           config_refused_because(what, why));
}

void Agent::end(bool) {
  if (state_ == State::none) return;
  expected_end_ = true;
  if (gone_ != nullptr) gone_->set();
  if (state_ == State::attaching && stop_ != nullptr) stop_->request_stop();
}

Task<void> Agent::shutdown() {
  silent_ = true;
  end(true);
  co_await scope_.join();
}

std::string Agent::stderr_tail() const {
  return server_ == nullptr ? std::string() : server_->stderr_tail();
}

/// No pings: its server says something every few seconds (server.cc).
Abilities Agent::abilities() const {
  Abilities can;
  can.resumes = can.stays = can.steers = can.asks = live();
  can.takes_mode = can.takes_options = live();
  return can;
}

// --- requests ---

Task<Result<HttpAnswer>> Agent::call(std::string method, std::string path, std::string body,
                                     HttpHeaders headers) {
  std::string target = target_of(path.substr(0, path.find('&')), directory_);
  if (path.find('&') != std::string::npos) target += path.substr(path.find('&'));
  const Duration timeout = method == "GET" ? kProbeTimeout : kPostTimeout;
  Result<HttpAnswer> answer =
      co_await http_call(&reactor_, server_->endpoint(), std::move(method), std::move(target),
                         std::move(body), timeout, stop_->token(), std::move(headers));
  co_return answer;
}

Task<void> Agent::post_prompt(std::string message_id, std::string blocks, TraceMeta trace) {
  const Mutex::Guard one_at_a_time = co_await prompting_.lock(stop_->token());
  if (stop_->stop_requested()) co_return;
  const Result<JsonDoc> parsed = JsonDoc::parse(blocks);
  if (!parsed.has_value()) {
    tracker_->prompt_refused(message_id, parsed.error(), {});
    co_return;
  }
  HttpHeaders headers;
  if (!trace.parent.empty()) headers.emplace_back("traceparent", std::move(trace.parent));
  if (!trace.state.empty()) headers.emplace_back("tracestate", std::move(trace.state));
  Result<HttpAnswer> answer =
      co_await call("POST", "/session/" + tracker_->session_id() + "/prompt_async",
                    prompt_body(message_id, choice_, parsed->root()), std::move(headers));
  if (stop_->stop_requested()) co_return;
  if (answer.has_value() && answer->ok()) {
    tracker_->prompt_accepted(message_id, now());
  } else if (answer.has_value()) {
    const bool is_json = JsonDoc::parse(answer->body).has_value();
    tracker_->prompt_refused(
        message_id,
        make_error(ErrorKind::invalid, "agent_error",
                   "opencode refused the prompt: HTTP " + std::to_string(answer->status)),
        is_json ? answer->body : std::string());
  } else if (std::string_view(answer.error().code) == "connection_failed") {
    tracker_->prompt_refused(message_id, answer.error(), {});
  }
  // Else it may have come through: what opencode stored decides (Tracker), nothing is sent again.
  arm_probe();
}

Task<void> Agent::post_abort() {
  // Whatever it answers, what it did is seen in the stream, and asked again when it is not.
  const Result<HttpAnswer> answer =
      co_await call("POST", "/session/" + tracker_->session_id() + "/abort", "{}");
  static_cast<void>(answer);
}

Task<void> Agent::post_answer(Question question, AgentAnswer answer) {
  std::string path = "/permission/" + question.request_id + "/reply";
  std::string body;
  if (question.kind == QuestionKind::permission) {
    const bool selected = answer.outcome == AgentAnswer::Outcome::selected;
    body = permission_reply(selected ? std::string_view(answer.option_id) : "reject");
  } else if (answer.outcome == AgentAnswer::Outcome::accepted) {
    const Result<JsonDoc> asked = JsonDoc::parse(question.asked);
    const Result<JsonDoc> content = JsonDoc::parse(answer.content);
    path = "/question/" + question.request_id + "/reply";
    body = "{\"answers\":" +
           question_answers(asked->root(), content.has_value() ? content->root() : JsonView()) +
           "}";
  } else {
    path = "/question/" + question.request_id + "/reject";
    body = "{}";
  }
  Duration pause = milliseconds(100);
  for (int attempt = 0; attempt < kAnswerAttempts; ++attempt) {
    const Result<HttpAnswer> posted = co_await call("POST", path, body);
    // 404: it was answered elsewhere, or its run is over.
    if (posted.has_value() && posted->status < 500) co_return;
    const bool slept = co_await io::Sleep(reactor_, now() + pause, stop_->token());
    if (!slept) co_return;
    pause *= 3;
  }
}

Task<void> Agent::change_mode(std::string mode) {
  const bool known = co_await has_agent(mode);
  if (stop_->stop_requested()) co_return;
  if (!known) {
    refuse_config("mode", "opencode has no agent " + mode);
    co_return;
  }
  choice_.agent = mode;
  std::string update;
  JsonWriter(update)
      .begin_object()
      .member("sessionUpdate", "current_mode_update")
      .member("currentModeId", mode)
      .end_object();
  on_update(update, "current_mode_update", {});
}

// --- asking what the stream did not say ---

void Agent::arm_probe() {
  if (state_ != State::live) return;
  const std::optional<TimePoint> when = tracker_->next_probe();
  if (!when || probing_) {
    reactor_.disarm(probe_timer_);
  } else {
    reactor_.arm(probe_timer_, *when);
  }
}

void Agent::on_probe_time() {
  abort_if_wanted();
  if (tracker_->next_probe()) requests_->spawn(probe(false));
}

Task<void> Agent::probe(bool after_connect) {
  if (probing_) {
    probe_again_ = probe_again_ || after_connect;
    co_return;
  }
  probing_ = true;
  const TimePoint asked = now();
  tracker_->probe_begun(asked);
  Snapshot snapshot;
  Result<HttpAnswer> status = co_await call("GET", "/session/status", {});
  const Result<HttpAnswer> messages =
      co_await call("GET",
                    "/session/" + tracker_->session_id() + "/message" +
                        (after_connect ? kReconcileMessages : kProbeMessages),
                    {});
  const Result<HttpAnswer> permissions = co_await call("GET", "/permission", {});
  const Result<HttpAnswer> questions = co_await call("GET", "/question", {});
  const Result<HttpAnswer> todos =
      co_await call("GET", "/session/" + tracker_->session_id() + "/todo", {});
  std::vector<JsonDoc> docs;  // what the views point into
  const auto view = [&docs](const Result<HttpAnswer>& answer) {
    if (!answer.has_value() || !answer->ok()) return JsonView();
    Result<JsonDoc> doc = JsonDoc::parse(answer->body);
    if (!doc.has_value()) return JsonView();
    docs.push_back(std::move(*doc));
    return docs.back().root();
  };
  docs.reserve(5);
  const JsonView statuses = view(status);
  if (statuses.is_object()) {
    // Absent means idle; a retry is a kind of busy.
    snapshot.status = Snapshot::Status::idle;
    for (const auto& entry : statuses.members()) {
      const bool idle = entry.second.get_string("type") == "idle";
      if (entry.first == tracker_->session_id() && !idle) snapshot.status = Snapshot::Status::busy;
    }
  }
  snapshot.messages = view(messages);
  snapshot.permissions = view(permissions);
  snapshot.questions = view(questions);
  snapshot.todos = view(todos);
  co_await learn_askers(snapshot.permissions);
  co_await learn_askers(snapshot.questions);
  probing_ = false;
  if (stop_->stop_requested()) co_return;
  snapshot.answered_in = now() - asked;
  const Result<io::ProcessTable::Usage> usage =
      platform_.process_table().usage(server_->process_id());
  if (usage.has_value()) snapshot.cpu_microseconds = usage->cpu_microseconds;
  tracker_->on_snapshot(snapshot, now());
  if (std::exchange(probe_again_, false)) {
    requests_->spawn(probe(true));
    co_return;
  }
  reconciling_ = false;
  drain(false);
  abort_if_wanted();
  arm_probe();
}

/// Of a session that nobody introduced, because its creation fell into a hole of the stream, we ask
/// whose child it is.
Task<void> Agent::learn_askers(JsonView listed) {
  for (const JsonView& asked : listed.elements()) {
    const std::string session(asked.get_string("sessionID").value_or(""));
    if (session.empty()) continue;
    std::string unknown = session;
    while (!stop_->stop_requested() && unknown != tracker_->session_id() &&
           !server_->knows(unknown)) {
      const Result<HttpAnswer> answer = co_await call("GET", "/session/" + unknown, {});
      if (stop_->stop_requested() || !answer.has_value() || !answer->ok()) break;
      const Result<JsonDoc> info = answer->json();
      if (!info.has_value()) break;
      const std::string parent(info->root().get_string("parentID").value_or(""));
      server_->learn_parent(unknown, parent);
      if (parent.empty()) break;
      unknown = parent;
    }
    if (stop_->stop_requested()) co_return;
    if (session != tracker_->session_id() && server_->root_of(session) == tracker_->session_id()) {
      tracker_->add_child(session);
    }
  }
}

// --- what the server says ---

void Agent::on_frame(const EventFrame& frame, std::string_view raw, std::string_view child) {
  if (silent_ || state_ == State::leaving) return;
  if (reconciling_ || !held_.empty() || !sink_.wants_more()) {
    held_.push_back({std::string(raw), std::string(child)});
    server_->add_held(static_cast<std::ptrdiff_t>(raw.size()));
    return;
  }
  deliver(frame, child);
}

void Agent::deliver(const EventFrame& frame, std::string_view child) {
  tracker_->on_event(frame, child, now());
  abort_if_wanted();
  arm_probe();
}

void Agent::drain(bool all) {
  while (!held_.empty() && (all || (!reconciling_ && sink_.wants_more()))) {
    const HeldFrame held = std::move(held_.front());
    held_.pop_front();
    server_->add_held(-static_cast<std::ptrdiff_t>(held.raw.size()));
    const std::optional<EventFrame> frame = EventFrame::parse(held.raw);
    if (frame) deliver(*frame, held.child);
  }
}

void Agent::resume_reading() {
  if (state_ == State::live) drain(false);
}

void Agent::on_stream_lost() {
  // In its place among the frames: what was held stands before the hole.
  drain(true);
  tracker_->on_stream_lost();
}

void Agent::on_stream_connected() {
  if (silent_ || state_ != State::live || !tracker_->running()) return;
  reconciling_ = true;
  requests_->spawn(probe(true));
}

void Agent::on_server_ended(const AgentExit& exit) {
  server_exit_ = exit;
  if (!silent_) {
    drain(true);
    tracker_->on_server_lost();
  }
  gone_->set();
}

// --- what it comes to ---

void Agent::on_update(std::string_view update, std::string_view kind,
                      std::string_view tool_call_id) {
  if (!silent_) sink_.on_update(attach_epoch_, {update, kind, tool_call_id, false});
}

void Agent::on_question(QuestionKind kind, std::string_view request_id, JsonView asked,
                        std::string_view child) {
  if (silent_) return;
  const std::uint64_t reply_id = next_reply_id_++;
  const bool permission = kind == QuestionKind::permission;
  questions_.emplace(
      reply_id, Question{kind, std::string(request_id), permission ? std::string() : asked.raw()});
  const std::string params = permission ? permission_params(tracker_->session_id(), asked)
                                        : question_params(tracker_->session_id(), asked);
  sink_.on_question(attach_epoch_, {kind, reply_id, params, child});
}

void Agent::on_question_gone(std::string_view request_id) {
  for (auto it = questions_.begin(); it != questions_.end(); ++it) {
    if (it->second.request_id != request_id) continue;
    const std::uint64_t reply_id = it->first;
    questions_.erase(it);
    if (!silent_) sink_.on_question_withdrawn(attach_epoch_, reply_id);
    return;
  }
}

void Agent::on_notice(std::string_view method, std::string_view params) {
  if (!silent_) sink_.on_foreign_message(attach_epoch_, method, params);
}

void Agent::on_turn_ended(std::string_view turn, PromptEnd end) {
  if (!silent_) sink_.on_prompt_ended(attach_epoch_, turn, std::move(end));
}

}  // namespace berth::server::opencode
