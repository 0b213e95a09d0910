#include <berth/server/cli/acp_session.h>

#include <berth/core/uri.h>
#include <berth/server/cli/fresh_id.h>

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace berth::server {

namespace {

/// Events that wait for an editor which does not read; above it the stream is read later.
constexpr std::size_t kEventBytesMax = std::size_t{16} << 20;

std::string_view stop_reason_of(std::string_view reason) {
  for (const std::string_view known : {"max_tokens", "max_turn_requests", "refusal"}) {
    if (reason == known) return known;
  }
  return "end_turn";
}

}  // namespace

void AcpSession::begin(std::uint64_t after, std::uint64_t replay_until) {
  received_ = after;
  replay_until_ = replay_until;
  if (after >= replay_until) replayed_.set();
  scope_.spawn(follow());
  scope_.spawn(pump());
}

Task<bool> AcpSession::replayed() {
  const bool done = co_await replayed_.wait(stop_.token());
  co_return done;
}

Task<void> AcpSession::close(Leaving leaving) {
  stop_.request_stop();
  for (auto& [id, asked] : asked_) asked.request_stop();
  co_await scope_.join();
  co_await client_.close();
  for (const auto& [turn, rpc_id] : ours_) {
    if (leaving == Leaving::cancelled) {
      wire_.answer(rpc_id, R"({"stopReason":"cancelled"})");
    } else {
      wire_.refuse(rpc_id, kRpcInternalError, "the session was let go; its turn goes on");
    }
  }
  ours_.clear();
}

// --- the log ---

Task<void> AcpSession::follow() {
  const std::unique_ptr<io::HttpClient> client = remote_.connect();
  while (!stop_.stop_requested()) {
    StopSource connection(stop_.token());
    connection_ = &connection;
    io::HttpClientRequest request;
    request.target = session_target(options_.id, fmt::format("/events?after={}", received_));
    remote_.authorize(request.headers);
    Result<io::SseFollowEnd> end = co_await io::follow_events(
        &remote_.reactor(), client.get(), std::move(request), {}, this, connection.token());
    connection_ = nullptr;
    if (stop_.stop_requested()) break;
    const bool refused = end.has_value() && end->reason == io::SseFollowEnd::Reason::refused;
    if (!end.has_value() || refused) {
      const std::string why = refused ? refusal_text(end->answer) : end.error().message;
      for (const auto& [turn, rpc_id] : ours_) wire_.refuse(rpc_id, kRpcInternalError, why);
      ours_.clear();
      if (refused) {
        replayed_.set();
        break;
      }
    }
    // The editor reads slowly: go on when it has what is here.
    if (!events_.empty()) co_await drained_.wait(stop_.token());
  }
  co_await client->close();
}

void AcpSession::on_event(const SseEvent& frame) {
  std::uint64_t seq = 0;
  std::from_chars(frame.id.data(), frame.id.data() + frame.id.size(), seq);
  Result<JsonDoc> event = JsonDoc::parse(frame.data);
  if (!event.has_value() || seq <= received_) return;
  received_ = seq;
  event_bytes_ += frame.data.size();
  events_.push_back(std::move(*event));
  if (event_bytes_ > kEventBytesMax && connection_ != nullptr) connection_->request_stop();
  drained_.reset();
  wake_.set();
}

Task<void> AcpSession::pump() {
  for (;;) {
    const bool woken = co_await wake_.wait(stop_.token());
    if (!woken) co_return;
    wake_.reset();
    while (!events_.empty() && !must_wait(events_.front().root())) {
      const JsonDoc event = std::move(events_.front());
      events_.pop_front();
      handle(event.root());
      if (wire_.congested()) co_await wire_.relief(stop_.token());
      if (stop_.stop_requested()) co_return;
    }
    if (events_.empty()) {
      event_bytes_ = 0;
      drained_.set();
    }
  }
}

/// The log may be quicker than the answer that says which turn is the one of our prompt.
bool AcpSession::must_wait(const JsonView& event) const {
  if (posting_ == 0) return false;
  const std::string turn(event.get_string("turn").value_or(""));
  return !turn.empty() && !ours_.contains(turn) && !others_.contains(turn);
}

void AcpSession::handle(const JsonView& event) {
  const std::string_view type = event.get_string("type").value_or("");
  const std::string turn(event.get_string("turn").value_or(""));
  const JsonView data = event.find("data");
  const auto seq = static_cast<std::uint64_t>(event.get_int64("seq").value_or(0));
  const bool is_ours = ours_.contains(turn);
  if (type == "update") {
    update(data);
  } else if ((type == "turn.queued" || type == "turn.edited") && !is_ours) {
    if (data.find("prompt").is_array()) others_[turn] = data.raw("prompt");
  } else if (type == "turn.started" && !is_ours) {
    say_prompt(others_[turn]);
  } else if (type == "turn.steered") {
    const std::string steered(data.get_string("turn").value_or(""));
    if (!ours_.contains(steered)) say_prompt(data.raw("prompt"));
  } else if (type == "turn.ended") {
    turn_ended(turn, data);
  } else if (type == "interaction.opened" && seq > replay_until_) {
    opened(data);
  } else if (type == "interaction.closed") {
    const auto asked = asked_.find(std::string(data.get_string("id").value_or("")));
    if (asked != asked_.end()) asked->second.request_stop();
  }
  if (seq >= replay_until_) replayed_.set();
}

void AcpSession::update(const JsonView& data) {
  const std::string_view kind = data.get_string("sessionUpdate").value_or("");
  if (kind == "current_mode_update") {
    mode_ = data.get_string("currentModeId").value_or("");
    for (const auto& [name, value] : data.find("_meta").members()) {
      if (name == "berth/availableModes") available_modes_ = value.raw();
    }
  } else if (kind == "config_option_update") {
    config_options_ = data.raw("configOptions");
  }
  std::string params;
  JsonWriter(params)
      .begin_object()
      .member("sessionId", options_.id)
      .member_raw("update", data.raw())
      .end_object();
  wire_.notify("session/update", params);
}

void AcpSession::say(std::string_view kind, std::string_view content) {
  std::string params;
  JsonWriter(params)
      .begin_object()
      .member("sessionId", options_.id)
      .key("update")
      .begin_object()
      .member("sessionUpdate", kind)
      .member_raw("content", content)
      .end_object()
      .end_object();
  wire_.notify("session/update", params);
}

/// What somebody else asked, or the editor in an earlier life.
void AcpSession::say_prompt(std::string_view blocks) {
  if (blocks.empty()) return;
  const Result<JsonDoc> document = JsonDoc::parse(blocks);
  if (!document.has_value()) return;
  for (const JsonView& block : document->root().elements()) say("user_message_chunk", block.raw());
}

void AcpSession::turn_ended(const std::string& turn, const JsonView& data) {
  others_.erase(turn);
  const auto found = ours_.find(turn);
  if (found == ours_.end()) return;
  const std::string rpc_id = std::move(found->second);
  ours_.erase(found);
  const std::string_view state = data.get_string("state").value_or("failed");
  const std::string_view reason = data.get_string("reason").value_or("");
  std::string_view stop_reason;
  if (state == "completed") stop_reason = stop_reason_of(reason);
  if (state == "refused") stop_reason = "refusal";
  if (state == "cancelled") stop_reason = "cancelled";
  if (stop_reason.empty()) {
    return wire_.refuse(rpc_id, kRpcInternalError, fmt::format("{}: {}", state, reason));
  }
  std::string result;
  JsonWriter(result).begin_object().member("stopReason", stop_reason).end_object();
  wire_.answer(rpc_id, result);
}

// --- prompts ---

void AcpSession::prompt(std::string rpc_id, std::string blocks) {
  ++posting_;
  posted_.reset();
  scope_.spawn(post(std::move(rpc_id), std::move(blocks)));
}

Task<void> AcpSession::post(std::string rpc_id, std::string blocks) {
  PatientClient client(remote_, {});
  PatientClient::Request request;
  request.method = "POST";
  request.target = session_target(options_.id, "/turns");
  JsonWriter(request.body).begin_object().member_raw("prompt", blocks).end_object();
  request.headers.emplace_back("Idempotency-Key", "acp-" + fresh_id());
  Result<RemoteAnswer> answer = co_await client.ask(std::move(request), stop_.token());
  co_await client.close();
  --posting_;
  wake_.set();
  if (!answer.has_value()) {
    wire_.refuse(rpc_id, kRpcInternalError, answer.error().message);
  } else if (answer->response.status >= 400) {
    wire_.refuse(rpc_id, kRpcInternalError, refusal_text(answer->response));
  } else {
    std::string turn(answer->json().get_string("id").value_or(""));
    ours_[turn] = std::move(rpc_id);
    if (cancel_posting_) scope_.spawn(cancel_turn(std::move(turn)));
  }
  if (posting_ > 0) co_return;
  cancel_posting_ = false;
  posted_.set();
}

void AcpSession::cancel() {
  cancel_posting_ = posting_ > 0;
  for (const auto& [turn, rpc_id] : ours_) scope_.spawn(cancel_turn(turn));
}

Task<void> AcpSession::cancel_all() {
  if (posting_ > 0) co_await posted_.wait(stop_.token());
  Scope cancels(remote_.reactor());
  for (const auto& [turn, rpc_id] : ours_) cancels.spawn(cancel_turn(turn));
  co_await cancels.join();
}

Task<void> AcpSession::cancel_turn(std::string turn) {
  PatientClient client(remote_, {});
  PatientClient::Request request;
  request.method = "POST";
  request.target = session_target(options_.id, "/turns/" + turn + "/cancel");
  // The prompt is answered when the log says how its turn ended.
  const Result<RemoteAnswer> answer = co_await client.ask(std::move(request), stop_.token());
  static_cast<void>(answer);
  co_await client.close();
}

// --- modes and options ---

void AcpSession::set_mode(std::string rpc_id, std::string mode) {
  std::string body;
  JsonWriter(body).begin_object().member("mode", mode).end_object();
  scope_.spawn(put_config(std::move(rpc_id), std::move(body), "{}"));
}

void AcpSession::set_config_option(std::string rpc_id, std::string option, std::string value) {
  std::string body;
  JsonWriter(body)
      .begin_object()
      .key("config")
      .begin_object()
      .member_raw(option, value)
      .end_object()
      .end_object();
  std::string answer = "{\"configOptions\":" + config_options_with(option, value) + "}";
  scope_.spawn(put_config(std::move(rpc_id), std::move(body), std::move(answer)));
}

Task<void> AcpSession::put_config(std::string rpc_id, std::string body, std::string answer) {
  PatientClient client(remote_, {});
  PatientClient::Request request;
  request.method = "PUT";
  std::string rest = "/agents/";
  append_percent_encoded(rest, options_.agent);
  request.target = session_target(options_.id, rest + "/config");
  request.body = std::move(body);
  Result<RemoteAnswer> done = co_await client.ask(std::move(request), stop_.token());
  co_await client.close();
  if (!done.has_value()) {
    wire_.refuse(rpc_id, kRpcInternalError, done.error().message);
  } else if (done->response.status >= 400) {
    wire_.refuse(rpc_id, kRpcInvalidParams, refusal_text(done->response));
  } else {
    wire_.answer(rpc_id, answer);
  }
}

/// The list as the agent said it last, with one value changed.
std::string AcpSession::config_options_with(const std::string& option,
                                            const std::string& value) const {
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  const Result<JsonDoc> options = JsonDoc::parse(config_options_.empty() ? "[]" : config_options_);
  if (options.has_value()) {
    for (const JsonView& each : options->root().elements()) {
      const bool changed = each.get_string("id") == option;
      writer.begin_object();
      for (const auto& [name, member] : each.members()) {
        writer.member_raw(name, changed && name == "currentValue" ? value : member.raw());
      }
      writer.end_object();
    }
  }
  writer.end_array();
  return out;
}

void AcpSession::write_state(JsonWriter& writer) const {
  if (!mode_.empty() && !available_modes_.empty()) {
    writer.key("modes")
        .begin_object()
        .member("currentModeId", mode_)
        .member_raw("availableModes", available_modes_)
        .end_object();
  }
  if (!config_options_.empty()) writer.member_raw("configOptions", config_options_);
}

// --- questions ---

Task<void> AcpSession::ask_what_is_open() {
  PatientClient::Request request;
  request.target = session_target(options_.id, "/interactions?state=open");
  const Result<RemoteAnswer> answer = co_await client_.ask(std::move(request), stop_.token());
  if (!answer.has_value() || answer->response.status != 200) co_return;
  for (const JsonView& interaction : answer->json().elements("interactions")) opened(interaction);
}

void AcpSession::opened(const JsonView& interaction) {
  std::string id(interaction.get_string("id").value_or(""));
  if (id.empty() || asked_.contains(id)) return;
  const std::string_view kind = interaction.get_string("kind").value_or("");
  const JsonView request = interaction.find("request");
  if (kind == "permission" || (kind == "elicitation" && options_.can_fill_forms)) {
    asked_.try_emplace(id);
    scope_.spawn(
        put_question(std::move(id), std::string(kind), with_session(request, options_.id)));
    return;
  }
  // The editor cannot be asked this; somebody else can answer.
  std::string content;
  JsonWriter(content)
      .begin_object()
      .member("type", "text")
      .member("text", fmt::format("\n[berth] a question waits for an answer: berth permit {} {}\n",
                                  options_.id, id))
      .end_object();
  say("agent_message_chunk", content);
}

Task<void> AcpSession::put_question(std::string id, std::string kind, std::string params) {
  const bool permission = kind == "permission";
  Result<JsonDoc> said =
      co_await wire_.ask(permission ? "session/request_permission" : "elicitation/create",
                         std::move(params), asked_[id].token());
  asked_.erase(id);
  // It was answered elsewhere, or nobody is there: then it stays open.
  if (!said.has_value()) co_return;
  const JsonView result = said->root().find("result");
  PatientClient::Request request;
  request.method = "POST";
  std::string rest = "/interactions/";
  append_percent_encoded(rest, id);
  request.target = session_target(options_.id, rest);
  JsonWriter writer(request.body);
  writer.begin_object();
  const std::string_view action = result.get_string("action").value_or("");
  if (permission && result.get_string("outcome.outcome") == "selected") {
    writer.member("option_id", result.get_string("outcome.optionId").value_or(""));
  } else if (!permission && (action == "accept" || action == "decline")) {
    writer.member("action", action);
    if (action == "accept" && result.is_object("content")) {
      writer.member_raw("content", result.raw("content"));
    }
  } else {
    writer.member("outcome", "cancelled");
  }
  writer.end_object();
  PatientClient client(remote_, {});
  // Refused when somebody else was quicker: the log says so.
  const Result<RemoteAnswer> answer = co_await client.ask(std::move(request), stop_.token());
  static_cast<void>(answer);
  co_await client.close();
}

}  // namespace berth::server
