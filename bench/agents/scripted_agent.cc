#include "scripted_agent.h"

#include <berth/core/json_doc.h>
#include <berth/core/json_rpc.h>
#include <berth/core/json_scan.h>
#include <berth/core/json_writer.h>
#include <berth/core/ndjson.h>
#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/io/awaitables.h>

#include "scripted_session.h"

#include <charconv>
#include <map>
#include <utility>

namespace berth::bench {

namespace {

std::string_view first_word(std::string_view& rest) {
  const std::size_t space = rest.find(' ');
  const std::string_view word = rest.substr(0, space);
  rest = space == std::string_view::npos ? std::string_view() : rest.substr(space + 1);
  return word;
}

long number_of(std::string_view text, long fallback) {
  long value = fallback;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// Serialises what is written: one line after the other, whoever writes it.
class LineWriter {
 public:
  explicit LineWriter(io::ByteStream& stream, Executor& executor)
      : stream_(stream), free_(executor) {
    free_.set();
  }
  Task<bool> write(std::string line) {
    while (busy_) co_await free_.wait();
    busy_ = true;
    free_.reset();
    line += '\n';
    Result<void> written = co_await stream_.write(line);
    busy_ = false;
    free_.set();
    co_return written.has_value();
  }

 private:
  io::ByteStream& stream_;
  Event free_;
  bool busy_ = false;
};

class Agent final : private LineSink {
 public:
  Agent(ScriptedWorld world, ScriptedOptions options)
      : world_(std::move(world)),
        options_(std::move(options)),
        out_(*world_.stream, *world_.reactor),
        scope_(*world_.reactor, world_.stop),
        framer_(*this) {}

  Task<int> run();

 private:
  struct Prompt {
    std::string id;  // raw JSON
    ScriptedSession* session = nullptr;
    std::string context;
    std::string text;
    std::string meta;  // `_meta`, raw JSON
    StopSource cancel;
    bool cancelled = false;
  };

  void on_line(Line& line) override;
  void on_overlong(std::uint64_t, std::string_view) override {}
  void handle_request(const RoutedLine& line);
  void handle_notification(const RoutedLine& line);
  void handle_response(const RoutedLine& line);
  Task<void> send(std::string line);
  void reply(std::string_view id, std::string_view result);
  void reply_error(std::string_view id, int code, std::string_view message, std::string_view data);
  void unknown_session(std::string_view id, std::string_view session);
  void initialize(std::string_view id);
  void new_session(std::string_view id, const JsonView& params);
  void restore(std::string_view id, const JsonView& params, bool replay);
  Task<void> replay(std::string id, ScriptedSession* session);
  Task<void> run_prompt(std::unique_ptr<Prompt> prompt);
  Task<std::string> obey(Prompt* prompt, std::string directive);
  Task<std::string> obey_stream(Prompt* prompt, std::string arguments);
  Task<std::string> obey_write(Prompt* prompt, std::string arguments, bool ask, bool append);
  Task<std::string> obey_plan(Prompt* prompt, std::string arguments);
  Task<std::string> obey_oddity(Prompt* prompt, std::string word, std::string arguments);
  Task<bool> ask_permission(Prompt* prompt, std::string call_json);
  Task<std::string> ask_host(std::string method, std::string params);
  Task<std::string> obey_elicit(Prompt* prompt, std::string arguments);
  Task<void> update(Prompt* prompt, std::string update_json);
  Task<void> message(Prompt* prompt, std::string_view kind, std::string_view text);
  Task<bool> pause(Prompt* prompt, Duration time);
  Task<void> silence();

  ScriptedWorld world_;
  ScriptedOptions options_;
  LineWriter out_;
  Scope scope_;
  LineFramer framer_;
  JsonScanner scanner_;
  std::map<std::string, std::unique_ptr<ScriptedSession>, std::less<>> sessions_;
  std::map<std::string, Prompt*, std::less<>> running_;  // by session id
  std::map<std::int64_t, OneShot<std::string>*> asked_;  // our requests: raw results
  std::int64_t next_request_ = 1;
  int next_call_ = 1;
  bool wedged_ = false;
};

Task<void> Agent::send(std::string line) {
  if (wedged_) co_return;
  const bool written = co_await out_.write(std::move(line));
  static_cast<void>(written);  // a host that is gone ends us by the end of stdin
}

void Agent::reply(std::string_view id, std::string_view result) {
  scope_.spawn(send(rpc_result(id, result)));
}

void Agent::reply_error(std::string_view id, int code, std::string_view message,
                        std::string_view data) {
  scope_.spawn(send(rpc_error(id, code, message, data)));
}

void Agent::on_line(Line& line) {
  if (wedged_) return;
  const ScanResult scanned = scanner_.scan_line(line.text());
  if (!scanned.has_value()) return;
  switch (scanned->kind) {
    case MessageKind::request:
      handle_request(*scanned);
      return;
    case MessageKind::notification:
      handle_notification(*scanned);
      return;
    case MessageKind::response:
    case MessageKind::error_response:
      handle_response(*scanned);
      return;
  }
}

void Agent::handle_request(const RoutedLine& line) {
  const Result<JsonDoc> doc = JsonDoc::parse(line.params.empty() ? "{}" : line.params);
  if (!doc.has_value()) return reply_error(line.id.json, kRpcInvalidParams, "bad params", {});
  const JsonView params = doc->root();
  const std::string session_id(line.session_id);
  if (line.method == "initialize") return initialize(line.id.json);
  if (line.method == "session/new") return new_session(line.id.json, params);
  if (line.method == "session/load" && options_.can_load)
    return restore(line.id.json, params, true);
  if (line.method == "session/resume" && options_.can_resume)
    return restore(line.id.json, params, false);
  const auto found = sessions_.find(session_id);
  if (line.method == "session/set_mode" || line.method == "session/set_config_option") {
    if (found == sessions_.end()) return unknown_session(line.id.json, session_id);
    return reply(line.id.json,
                 line.method == "session/set_mode" ? "{}" : R"({"configOptions":[]})");
  }
  if (line.method != "session/prompt")
    return reply_error(line.id.json, kRpcMethodNotFound, "method not found", {});
  if (found == sessions_.end()) return unknown_session(line.id.json, session_id);
  if (running_.contains(session_id))
    return reply_error(line.id.json, kRpcInvalidRequest, "a turn is running", {});
  auto prompt = std::make_unique<Prompt>();
  prompt->id = line.id.json;
  prompt->session = found->second.get();
  // What stands in front of the last block is told, not ordered: a continuation, say.
  for (const JsonView& block : params.elements("prompt")) {
    prompt->context += prompt->text;
    prompt->text = block.get_string("text").value_or("");
    prompt->text += '\n';
  }
  prompt->meta = params.find("_meta").raw();
  running_.emplace(session_id, prompt.get());
  if (world_.on_turns) world_.on_turns(running_.size());
  scope_.spawn(run_prompt(std::move(prompt)));
}

void Agent::handle_notification(const RoutedLine& line) {
  if (line.method != "session/cancel") return;
  const auto found = running_.find(line.session_id);
  if (found == running_.end()) return;
  found->second->cancelled = true;
  found->second->cancel.request_stop();
}

void Agent::handle_response(const RoutedLine& line) {
  const auto found = asked_.find(line.id.integer);
  if (found == asked_.end()) return;
  found->second->give(std::string(line.result));
}

void Agent::initialize(std::string_view id) {
  if (options_.hang_in_initialize) return;
  std::string result;
  JsonWriter writer(result);
  writer.begin_object()
      .member_int64("protocolVersion", options_.protocol_version)
      .key("agentCapabilities")
      .begin_object()
      .member_bool("loadSession", options_.can_load)
      .key("sessionCapabilities")
      .begin_object();
  if (options_.can_resume) writer.member_raw("resume", "{}");
  writer.end_object()
      .end_object()
      .member_raw("authMethods", "[]")
      .member_raw("agentInfo", R"({"name":"scripted-agent","version":"1"})")
      .end_object();
  reply(id, result);
}

void Agent::new_session(std::string_view id, const JsonView& params) {
  const std::string session_id =
      "scripted-" + make_ulid(world_.reactor->clock().wall().count(), *world_.random);
  auto session =
      std::make_unique<ScriptedSession>(*world_.files, options_.sessions_directory, session_id,
                                        std::string(params.get_string("cwd").value_or("/")));
  session->save();
  sessions_.emplace(session_id, std::move(session));
  std::string result;
  JsonWriter(result).begin_object().member("sessionId", session_id).end_object();
  reply(id, result);
}

void Agent::unknown_session(std::string_view id, std::string_view session) {
  std::string data;
  if (options_.unknown_session == "opencode") {
    reply_error(id, kRpcInternalError, "Internal error", R"({"details":"NotFoundError"})");
  } else if (options_.unknown_session == "params") {
    reply_error(id, kRpcInvalidParams, "Unknown session", {});
  } else if (options_.unknown_session == "null") {
    reply_error(id, kRpcInternalError, "Internal error", {});
  } else {
    JsonWriter(data).begin_object().member("sessionId", session).end_object();
    reply_error(id, -32002, "Session not found", data);
  }
}

void Agent::restore(std::string_view id, const JsonView& params, bool with_replay) {
  const std::string session_id(params.get_string("sessionId").value_or(""));
  auto session =
      std::make_unique<ScriptedSession>(*world_.files, options_.sessions_directory, session_id,
                                        std::string(params.get_string("cwd").value_or("/")));
  if (!session->load() && options_.unknown_session != "success")
    return unknown_session(id, session_id);
  ScriptedSession* known = session.get();
  sessions_.insert_or_assign(session_id, std::move(session));
  if (!with_replay) return reply(id, options_.unknown_session == "success" ? "null" : "{}");
  scope_.spawn(replay(std::string(id), known));
}

Task<void> Agent::replay(std::string id, ScriptedSession* session) {
  Prompt prompt;
  prompt.session = session;
  for (const ScriptedSession::Entry& entry : session->history()) {
    co_await message(&prompt, "user_message_chunk", entry.prompt);
    co_await message(&prompt, "agent_message_chunk", entry.answer);
  }
  reply(id, "{}");
}

// --- a turn ---

Task<void> Agent::update(Prompt* prompt, std::string update_json) {
  std::string params;
  JsonWriter(params)
      .begin_object()
      .member("sessionId", prompt->session->id())
      .member_raw("update", update_json)
      .end_object();
  co_await send(rpc_notification("session/update", params));
}

Task<void> Agent::message(Prompt* prompt, std::string_view kind, std::string_view text) {
  std::string json;
  JsonWriter(json)
      .begin_object()
      .member("sessionUpdate", kind)
      .key("content")
      .begin_object()
      .member("type", "text")
      .member("text", text)
      .end_object()
      .end_object();
  co_await update(prompt, std::move(json));
}

/// False when the turn was cancelled meanwhile.
Task<bool> Agent::pause(Prompt* prompt, Duration time) {
  const TimePoint until = world_.reactor->clock().now() + time;
  co_return co_await io::Sleep(*world_.reactor, until, prompt->cancel.token());
}

/// Until the process ends.
Task<void> Agent::silence() {
  bool on = true;
  while (on) {
    on = co_await io::Sleep(*world_.reactor, world_.reactor->clock().now() + std::chrono::hours(1),
                            scope_.stop_token());
  }
}

Task<void> Agent::run_prompt(std::unique_ptr<Prompt> prompt) {
  std::string stop_reason;
  std::string_view rest = prompt->text;
  if (!prompt->context.empty()) {
    co_await message(prompt.get(), "agent_message_chunk", "You told me: " + prompt->context);
  }
  while (!rest.empty() && !prompt->cancelled && stop_reason.empty() && !scope_.stop_requested()) {
    std::size_t end = rest.find('\n');
    std::size_t skip = 1;
    if (const std::size_t semicolon = rest.find(" ; "); semicolon < end) {
      end = semicolon;
      skip = 3;
    }
    std::string directive(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + skip);
    if (directive.empty()) continue;
    stop_reason = co_await obey(prompt.get(), std::move(directive));
  }
  if (prompt->cancelled) stop_reason = "cancelled";
  if (stop_reason.empty()) stop_reason = "end_turn";
  if (stop_reason != "gone") {
    prompt->session->add(prompt->text, "(" + stop_reason + ")");
    prompt->session->save();
  }
  running_.erase(prompt->session->id());
  if (world_.on_turns) world_.on_turns(running_.size());
  if (stop_reason == "error") {
    reply_error(prompt->id, kRpcInternalError, "scripted error", {});
  } else if (stop_reason != "gone") {
    std::string result;
    JsonWriter(result)
        .begin_object()
        .member("stopReason", stop_reason)
        .member_raw("usage", R"({"inputTokens":1,"outputTokens":1,"totalTokens":2})")
        .end_object();
    reply(prompt->id, result);
  }
}

/// Does one directive; the stop reason if it ends the turn, "gone" if nothing shall be answered.
Task<std::string> Agent::obey(Prompt* prompt, std::string directive) {
  std::string_view rest = directive;
  const std::string word(first_word(rest));
  std::string arguments(rest);
  if (word == "say") {
    co_await message(prompt, "agent_message_chunk", arguments);
  } else if (word == "think") {
    co_await message(prompt, "agent_thought_chunk", arguments);
  } else if (word == "stream") {
    co_return co_await obey_stream(prompt, std::move(arguments));
  } else if (word == "write" || word == "append") {
    co_return co_await obey_write(prompt, std::move(arguments), false, word == "append");
  } else if (word == "ask" && arguments.starts_with("write ")) {
    co_return co_await obey_write(prompt, arguments.substr(6), true, false);
  } else if (word == "plan") {
    co_return co_await obey_plan(prompt, std::move(arguments));
  } else if (word == "sleep") {
    const bool slept = co_await pause(prompt, std::chrono::milliseconds(number_of(arguments, 0)));
    static_cast<void>(slept);
  } else if (word == "remember") {
    prompt->session->remember(arguments);
    co_await message(prompt, "agent_message_chunk", "I will remember " + arguments + ".");
  } else if (word == "forget") {
    prompt->session->forget();
  } else if (word == "elicit") {
    co_return co_await obey_elicit(prompt, std::move(arguments));
  } else if (word == "recall") {
    co_await message(prompt, "agent_message_chunk", prompt->session->recall());
  } else if (word == "meta") {
    co_await message(prompt, "agent_message_chunk", prompt->meta);
  } else if (word == "error") {
    co_return "error";
  } else if (word == "refuse") {
    co_return "refusal";
  } else if (word == "crash" || word == "exit") {
    world_.exit_now(word == "crash" ? -1 : static_cast<int>(number_of(arguments, 0)));
    co_await silence();
    co_return "gone";
  } else if (word == "hang" || word == "wedge") {
    wedged_ = wedged_ || word == "wedge";
    co_await silence();
    co_return "gone";
  } else if (word == "spawn") {
    world_.spawn_sleeper(static_cast<int>(number_of(arguments, 1000)));
  } else {
    co_return co_await obey_oddity(prompt, word, std::move(arguments));
  }
  co_return "";
}

Task<std::string> Agent::obey_stream(Prompt* prompt, std::string arguments) {
  std::string_view rest = arguments;
  const long count = number_of(first_word(rest), 1);
  const auto bytes = static_cast<std::size_t>(number_of(first_word(rest), 300));
  const long per_second = number_of(first_word(rest), 0);
  const TimePoint start = world_.reactor->clock().now();
  std::string text;
  for (long i = 1; i <= count && !prompt->cancelled && !scope_.stop_requested(); ++i) {
    text = "[" + std::to_string(i) + "] ";
    while (text.size() < bytes) text += "the quick brown fox jumps over the lazy dog ";
    text.resize(bytes < 12 ? 12 : bytes);
    co_await message(prompt, "agent_message_chunk", text);
    if (per_second > 0) {
      const TimePoint due = start + std::chrono::nanoseconds(1'000'000'000 / per_second) * i;
      const bool on = co_await io::Sleep(*world_.reactor, due, prompt->cancel.token());
      if (!on) break;
    }
  }
  co_return "";
}

Task<std::string> Agent::obey_write(Prompt* prompt, std::string arguments, bool ask, bool append) {
  std::string_view rest = arguments;
  const std::string name(first_word(rest));
  std::string content = std::string(rest) + "\n";
  const std::string path = name.starts_with("/") ? name : prompt->session->directory() + "/" + name;
  const std::string call_id = "call_" + std::to_string(next_call_++);
  std::string call;
  JsonWriter(call)
      .begin_object()
      .member("sessionUpdate", "tool_call")
      .member("toolCallId", call_id)
      .member("title", "write " + name)
      .member("kind", "edit")
      .member("status", "pending")
      .key("locations")
      .begin_array()
      .begin_object()
      .member("path", path)
      .end_object()
      .end_array()
      .end_object();
  co_await update(prompt, call);
  bool allowed = true;
  if (ask) allowed = co_await ask_permission(prompt, call);
  bool written = false;
  if (allowed && !prompt->cancelled) {
    if (append) {
      Result<std::string> before = world_.files->read(path, std::size_t{64} << 20);
      if (before.has_value()) content = *before + content;
    }
    const std::size_t slash = path.rfind('/');
    Result<void> made = world_.files->make_directories(path.substr(0, slash), 0755);
    if (made.has_value()) written = world_.files->write_atomic(path, content, 0644).has_value();
  }
  std::string done;
  JsonWriter(done)
      .begin_object()
      .member("sessionUpdate", "tool_call_update")
      .member("toolCallId", call_id)
      .member("status", written ? "completed" : "failed")
      .end_object();
  co_await update(prompt, std::move(done));
  co_return "";
}

/// A request to the host; its result, empty when it answers with an error or we end.
Task<std::string> Agent::ask_host(std::string method, std::string params) {
  const std::int64_t id = next_request_++;
  OneShot<std::string> answer(*world_.reactor);
  asked_.emplace(id, &answer);
  co_await send(rpc_request(id, method, params));
  // A host answers `cancelled` when the turn is cancelled; the end of the process ends the wait
  // too.
  struct GiveUp final : StopListener {
    OneShot<std::string>* answer = nullptr;
    void on_stop() override { answer->give(""); }
  } give_up;
  give_up.answer = &answer;
  scope_.stop_token().listen(give_up);
  co_await answer.wait();
  asked_.erase(id);
  co_return answer.take();
}

Task<bool> Agent::ask_permission(Prompt* prompt, std::string call_json) {
  std::string params;
  JsonWriter(params)
      .begin_object()
      .member("sessionId", prompt->session->id())
      .member_raw("toolCall", call_json)
      .member_raw("options", R"([{"optionId":"yes","name":"Allow once","kind":"allow_once"},)"
                             R"({"optionId":"no","name":"Reject once","kind":"reject_once"}])")
      .end_object();
  const std::string result = co_await ask_host("session/request_permission", std::move(params));
  const Result<JsonDoc> doc = JsonDoc::parse(result.empty() ? "{}" : result);
  co_return doc.has_value() && doc->root().get_string("outcome.optionId") == "yes";
}

Task<std::string> Agent::obey_elicit(Prompt* prompt, std::string arguments) {
  std::string params;
  JsonWriter(params)
      .begin_object()
      .member("sessionId", prompt->session->id())
      .member("mode", "form")
      .member("message", arguments)
      .member_raw("requestedSchema", R"({"type":"object","properties":{"color":{"type":"string",)"
                                     R"("enum":["red","blue"]}},"required":["color"]})")
      .end_object();
  const std::string result = co_await ask_host("elicitation/create", std::move(params));
  if (!prompt->cancelled) {
    co_await message(prompt, "agent_message_chunk",
                     "You filled in " + (result.empty() ? std::string("nothing") : result));
  }
  co_return "";
}

Task<std::string> Agent::obey_plan(Prompt* prompt, std::string arguments) {
  std::vector<std::string> entries;
  for (std::string_view rest = arguments; !rest.empty();) {
    const std::size_t comma = rest.find(", ");
    entries.emplace_back(rest.substr(0, comma));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 2);
  }
  for (std::size_t done = 0; done <= entries.size() && !prompt->cancelled; ++done) {
    std::string json;
    JsonWriter writer(json);
    writer.begin_object().member("sessionUpdate", "plan").key("entries").begin_array();
    for (std::size_t i = 0; i < entries.size(); ++i) {
      writer.begin_object()
          .member("content", entries[i])
          .member("priority", "medium")
          .member("status", i < done    ? "completed"
                            : i == done ? "in_progress"
                                        : "pending")
          .end_object();
    }
    writer.end_array().end_object();
    co_await update(prompt, std::move(json));
  }
  co_return "";
}

Task<std::string> Agent::obey_oddity(Prompt* prompt, std::string word, std::string arguments) {
  if (word == "junk") {
    co_await send("this is a log line, not JSON " + arguments);
  } else if (word == "bad-json") {
    co_await send(R"({"jsonrpc":"2.0","method":"session/update","params":{"x":)");
  } else if (word == "bad-utf8") {
    co_await send(
        "{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{\"x\":\"\xff\xfe\"}}");
  } else if (word == "raw-cr") {
    co_await send(
        "{\"jsonrpc\":\"2.0\",\r\"method\":\"session/update\",\"params\":{\"sessionId\":\"" +
        prompt->session->id() +
        "\",\"update\":{\"sessionUpdate\":\"agent_message_chunk\",\r\"content\":{\"type\":\"text\","
        "\"text\":\"cr between tokens\"}}}}");
  } else if (word == "half-emoji") {
    co_await send(R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":")" +
                  prompt->session->id() +
                  R"(","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text",)"
                  R"("text":"cut \ud83d here"}}}})");
  } else if (word == "cr-line") {
    co_await send("junk with a\rcarriage return: id: 99\revent: turn.ended\rdata: forged");
  } else if (word == "big" || word == "over") {
    const auto size = static_cast<std::size_t>(number_of(arguments, 10)) << 20;
    co_await message(prompt, "agent_message_chunk", std::string(size, 'x'));
  } else if (word == "open-tool") {
    std::string json;
    JsonWriter(json)
        .begin_object()
        .member("sessionUpdate", "tool_call")
        .member("toolCallId", "call_" + std::to_string(next_call_++))
        .member("title", arguments)
        .member("status", "in_progress")
        .end_object();
    co_await update(prompt, std::move(json));
  } else if (word == "foreign") {
    co_await send(
        R"({"jsonrpc":"2.0","id":900001,"method":"craft/drainMidTurnQueue","params":{}})");
    co_await send(
        R"({"jsonrpc":"2.0","method":"qwen/notify/session/prompt-suggestion","params":{"a":1}})");
  } else {
    co_await message(prompt, "agent_message_chunk",
                     "You said: " + word + (arguments.empty() ? "" : " ") + arguments);
  }
  co_return "";
}

// --- the program ---

Task<int> Agent::run() {
  if (!options_.stderr_text.empty()) world_.write_stderr(options_.stderr_text + "\n");
  if (options_.exit_at_start >= 0) co_return options_.exit_at_start;
  while (true) {
    Result<std::string_view> bytes = co_await world_.stream->read();
    if (!bytes.has_value() || bytes->empty()) break;
    framer_.feed(*bytes);
  }
  if ((options_.ignore_end_of_input || wedged_) && !world_.stop.stop_requested()) {
    const bool slept = co_await io::Sleep(
        *world_.reactor, world_.reactor->clock().now() + std::chrono::hours(1), world_.stop);
    static_cast<void>(slept);
  }
  for (auto& [id, prompt] : running_) {
    prompt->cancelled = true;
    prompt->cancel.request_stop();
  }
  scope_.request_stop();
  co_await scope_.join();
  co_return 0;
}

}  // namespace

Result<ScriptedOptions> parse_scripted_options(const std::vector<std::string>& arguments) {
  ScriptedOptions options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    const bool has_value = i + 1 < arguments.size();
    const std::string value = has_value ? arguments[i + 1] : std::string();
    if (name == "--no-load") {
      options.can_load = false;
    } else if (name == "--no-resume") {
      options.can_resume = false;
    } else if (name == "--ignore-eof") {
      options.ignore_end_of_input = true;
    } else if (!has_value) {
      return fail(ErrorKind::invalid, "bad_option", name + ": unknown, or its value is missing");
    } else {
      ++i;
      if (name == "--sessions") {
        options.sessions_directory = value;
      } else if (name == "--protocol") {
        options.protocol_version = static_cast<int>(number_of(value, 1));
      } else if (name == "--exit-at-start") {
        options.exit_at_start = static_cast<int>(number_of(value, 1));
      } else if (name == "--hang" && value == "initialize") {
        options.hang_in_initialize = true;
      } else if (name == "--unknown") {
        options.unknown_session = value;
      } else if (name == "--stderr") {
        options.stderr_text = value;
      } else {
        return fail(ErrorKind::invalid, "bad_option", name + ": unknown option or value");
      }
    }
  }
  return options;
}

Task<int> run_scripted_agent(ScriptedWorld world, ScriptedOptions options) {
  Agent agent(std::move(world), std::move(options));
  co_return co_await agent.run();
}

}  // namespace berth::bench
