// berth acp: an agent on stdio for editors, whose sessions live in the server.
#include <berth/core/json_writer.h>
#include <berth/core/uri.h>
#include <berth/core/version.h>
#include <berth/server/cli/acp_session.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/fresh_id.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <utility>

namespace berth::server {

namespace {

constexpr int kProtocolVersion = 1;
constexpr int kListLimit = 100;

/// What an editor may rely on, whatever agent stands behind a session.
constexpr std::string_view kCapabilities =
    R"({"loadSession":true,)"
    R"("promptCapabilities":{"image":true,"audio":false,"embeddedContext":true},)"
    R"("mcpCapabilities":{"http":true,"sse":true},)"
    R"("sessionCapabilities":{"list":{},"resume":{},"close":{},"additionalDirectories":{}}})";

int rpc_code_of(int status) {
  if (status == 404) return kAcpResourceNotFound;
  if (status == 400 || status == 409 || status == 422) return kRpcInvalidParams;
  return kRpcInternalError;
}

/// Where the editor is to believe that a session works.
std::string_view folder_of(const JsonView& session) {
  const auto repository = session.get_string("workspace.repository");
  if (session.get_string("workspace.mode") != "directory" && repository &&
      repository->starts_with('/')) {
    return *repository;
  }
  return session.get_string("workspace.directory").value_or("");
}

/// Takes what the editor says, a coroutine for each request that needs the server.
class Bridge final : public AcpHandler {
 public:
  Bridge(Remote& remote, AcpWire& wire, const AcpOptions& options)
      : remote_(remote),
        wire_(wire),
        options_(options),
        stop_(remote.interrupted()),
        scope_(remote.reactor()) {}

  Task<void> run() { return wire_.serve(this, stop_.token()); }

 private:
  Task<void> on_end() override;
  void on_request(std::string id, std::string_view method, const JsonView& params) override;
  void on_notification(std::string_view method, const JsonView& params) override;
  void initialize(const std::string& id, const JsonView& params);
  void with_session_of(std::string id, std::string_view method, const JsonView& params);
  void set_config_option(AcpSession& session, std::string id, const JsonView& params);

  Task<void> open_session(std::string id, std::string body);
  struct Taking {
    std::string session;
    std::string cwd;
    bool replay = false;
  };
  Task<void> take_session(std::string id, Taking taking);
  Task<void> list_sessions(std::string id, std::string cwd, std::string cursor);
  Task<void> let_go(std::string id, std::string session);
  /// Nothing after the request was refused.
  Task<std::optional<RemoteAnswer>> ask(std::string id, PatientClient::Request request);
  Task<std::shared_ptr<AcpSession>> fresh_session(const JsonView* json);

  Remote& remote_;
  AcpWire& wire_;
  const AcpOptions& options_;
  StopSource stop_;
  Scope scope_;
  std::map<std::string, std::shared_ptr<AcpSession>> sessions_;
  bool initialized_ = false;
  bool can_fill_forms_ = false;
};

Task<void> Bridge::on_end() {
  stop_.request_stop();
  // One may still be opened by what was under way.
  while (!sessions_.empty() || scope_.size() > 0) {
    const auto leaving = std::exchange(sessions_, {});
    for (const auto& each : leaving) co_await each.second->close(AcpSession::Leaving::behind);
    co_await scope_.join();
  }
}

void Bridge::on_request(std::string id, std::string_view method, const JsonView& params) {
  if (method == "initialize") return initialize(id, params);
  if (!initialized_) return wire_.refuse(id, kRpcInvalidRequest, "initialize comes first");
  if (method == "session/new") {
    const std::optional<std::string_view> cwd = params.get_string("cwd");
    if (!cwd || !cwd->starts_with('/')) {
      return wire_.refuse(id, kRpcInvalidParams, "cwd: must be an absolute path");
    }
    std::string body;
    JsonWriter writer(body);
    writer.begin_object().member(options_.worktree ? "repository" : "directory", *cwd);
    if (!options_.agent.empty()) writer.member("agent", options_.agent);
    if (!options_.permission.empty()) writer.member("permission", options_.permission);
    if (!params.elements("mcpServers").empty()) {
      writer.member_raw("mcp_servers", params.raw("mcpServers"));
    }
    if (!params.elements("additionalDirectories").empty()) {
      writer.member_raw("additional_directories", params.raw("additionalDirectories"));
    }
    writer.end_object();
    return scope_.spawn(open_session(std::move(id), std::move(body)));
  }
  if (method == "session/list") {
    return scope_.spawn(list_sessions(std::move(id),
                                      std::string(params.get_string("cwd").value_or("")),
                                      std::string(params.get_string("cursor").value_or(""))));
  }
  with_session_of(std::move(id), method, params);
}

void Bridge::initialize(const std::string& id, const JsonView& params) {
  initialized_ = true;
  can_fill_forms_ = params.is_object("clientCapabilities.elicitation.form");
  std::string result;
  JsonWriter(result)
      .begin_object()
      .member_int64("protocolVersion", kProtocolVersion)
      .member_raw("agentCapabilities", kCapabilities)
      .key("agentInfo")
      .begin_object()
      .member("name", "berth")
      .member("title", "berth")
      .member("version", kVersion)
      .end_object()
      .key("authMethods")
      .begin_array()
      .end_array()
      .end_object();
  wire_.answer(id, result);
}

/// The requests that name a session.
void Bridge::with_session_of(std::string id, std::string_view method, const JsonView& params) {
  const bool loads = method == "session/load";
  const bool takes = loads || method == "session/resume";
  const bool known = takes || method == "session/prompt" || method == "session/close" ||
                     method == "session/set_mode" || method == "session/set_config_option";
  if (!known) {
    return wire_.refuse(id, kRpcMethodNotFound, "no method " + printable(method));
  }
  std::string session(params.get_string("sessionId").value_or(""));
  if (session.empty()) return wire_.refuse(id, kRpcInvalidParams, "sessionId: is missing");
  if (takes) {
    Taking taking;
    taking.session = std::move(session);
    taking.cwd = params.get_string("cwd").value_or("");
    taking.replay = loads;
    return scope_.spawn(take_session(std::move(id), std::move(taking)));
  }
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) {
    return wire_.refuse(id, kAcpResourceNotFound,
                        "session " + printable(session) + " is not open here: load it first");
  }
  if (method == "session/close") return scope_.spawn(let_go(std::move(id), std::move(session)));
  if (method == "session/set_config_option") {
    return set_config_option(*found->second, std::move(id), params);
  }
  if (method == "session/set_mode") {
    return found->second->set_mode(std::move(id),
                                   std::string(params.get_string("modeId").value_or("")));
  }
  if (params.elements("prompt").empty()) {
    return wire_.refuse(id, kRpcInvalidParams, "prompt: must be an array of content blocks");
  }
  found->second->prompt(std::move(id), params.raw("prompt"));
}

void Bridge::set_config_option(AcpSession& session, std::string id, const JsonView& params) {
  std::string option(params.get_string("configId").value_or(""));
  const JsonView value = params.find("value");
  if (option.empty() || (!value.as_string() && !value.as_bool())) {
    return wire_.refuse(id, kRpcInvalidParams, "configId and value are needed");
  }
  session.set_config_option(std::move(id), std::move(option), value.raw());
}

void Bridge::on_notification(std::string_view method, const JsonView& params) {
  if (method != "session/cancel") return;
  const auto found = sessions_.find(std::string(params.get_string("sessionId").value_or("")));
  if (found != sessions_.end()) found->second->cancel();
}

Task<std::optional<RemoteAnswer>> Bridge::ask(std::string id, PatientClient::Request request) {
  PatientClient client(remote_, {});
  Result<RemoteAnswer> answer = co_await client.ask(std::move(request), stop_.token());
  co_await client.close();
  if (!answer.has_value()) {
    wire_.refuse(id, kRpcInternalError, answer.error().message);
    co_return std::nullopt;
  }
  if (answer->response.status >= 400) {
    wire_.refuse(id, rpc_code_of(answer->response.status), refusal_text(answer->response));
    co_return std::nullopt;
  }
  co_return std::move(*answer);
}

/// The session of a JSON object of the server's; one of the same id is let go.
Task<std::shared_ptr<AcpSession>> Bridge::fresh_session(const JsonView* json) {
  AcpSession::Options options;
  options.id = json->get_string("id").value_or("");
  options.agent = json->get_string("agent").value_or("");
  options.can_fill_forms = can_fill_forms_;
  const auto old = sessions_.find(options.id);
  if (old != sessions_.end()) {
    const std::shared_ptr<AcpSession> leaving = std::move(old->second);
    sessions_.erase(old);
    co_await leaving->close(AcpSession::Leaving::behind);
  }
  std::string id = options.id;
  auto made = std::make_shared<AcpSession>(remote_, wire_, std::move(options));
  sessions_[std::move(id)] = made;
  co_return made;
}

Task<void> Bridge::open_session(std::string id, std::string body) {
  PatientClient::Request request;
  request.method = "POST";
  request.target = "/v1/sessions";
  request.body = std::move(body);
  // Made again, it would be another session: the name makes it one.
  request.body.pop_back();
  request.body += ",\"id\":\"acp-" + fresh_id() + "\"}";
  const std::optional<RemoteAnswer> answer = co_await ask(id, std::move(request));
  if (!answer) co_return;
  const JsonView json = answer->json();
  const std::shared_ptr<AcpSession> session = co_await fresh_session(&json);
  const auto last = static_cast<std::uint64_t>(json.get_int64("last_seq").value_or(0));
  session->begin(last, last);
  std::string result;
  JsonWriter(result).begin_object().member("sessionId", session->id()).end_object();
  wire_.answer(id, result);
}

Task<void> Bridge::take_session(std::string id, Taking taking) {
  PatientClient::Request request;
  request.target = session_target(taking.session);
  const std::optional<RemoteAnswer> answer = co_await ask(id, std::move(request));
  if (!answer) co_return;
  const JsonView json = answer->json();
  const std::string_view folder = folder_of(json);
  const std::string_view works_in = json.get_string("workspace.directory").value_or("");
  if (!taking.cwd.empty() && taking.cwd != folder && taking.cwd != works_in) {
    co_return wire_.refuse(id, kRpcInvalidParams,
                           fmt::format("cwd: this session works in {}", printable(folder)));
  }
  const std::shared_ptr<AcpSession> session = co_await fresh_session(&json);
  const auto last = static_cast<std::uint64_t>(json.get_int64("last_seq").value_or(0));
  session->begin(taking.replay ? 0 : last, last);
  const bool whole = co_await session->replayed();
  // Let go while it was being told: then another one answers.
  if (!whole) co_return wire_.refuse(id, kRpcInternalError, "the session was taken anew");
  std::string result;
  JsonWriter writer(result);
  writer.begin_object();
  session->write_state(writer);
  writer.end_object();
  wire_.answer(id, result);
  co_await session->ask_what_is_open();
}

Task<void> Bridge::list_sessions(std::string id, std::string cwd, std::string cursor) {
  PatientClient::Request request;
  request.target = fmt::format("/v1/sessions?limit={}", kListLimit);
  if (!cursor.empty()) {
    request.target += "&after=";
    append_percent_encoded(request.target, cursor);
  }
  const std::optional<RemoteAnswer> answer = co_await ask(id, std::move(request));
  if (!answer) co_return;
  std::string result;
  JsonWriter writer(result);
  writer.begin_object().key("sessions").begin_array();
  for (const JsonView& session : answer->json().elements("sessions")) {
    const std::string_view folder = folder_of(session);
    if (folder.empty() || (!cwd.empty() && folder != cwd)) continue;
    writer.begin_object()
        .member("sessionId", session.get_string("id").value_or(""))
        .member("cwd", folder)
        .member("updatedAt", session.get_string("updated_at").value_or(""));
    const std::string_view title = session.get_string("title").value_or("");
    if (!title.empty()) writer.member("title", title);
    writer.end_object();
  }
  writer.end_array();
  if (const auto next = answer->json().get_string("next")) writer.member("nextCursor", *next);
  writer.end_object();
  wire_.answer(id, result);
}

/// Ends what this editor asked for; the session itself stays.
Task<void> Bridge::let_go(std::string id, std::string session) {
  const auto found = sessions_.find(session);
  if (found != sessions_.end()) {
    const std::shared_ptr<AcpSession> leaving = std::move(found->second);
    sessions_.erase(found);
    co_await leaving->cancel_all();
    co_await leaving->close(AcpSession::Leaving::cancelled);
  }
  wire_.answer(id, "{}");
}

/// The standard streams, which are as they were before when it goes.
class StandardStreams {
 public:
  StandardStreams()
      : input_(::fcntl(STDIN_FILENO, F_GETFL)), output_(::fcntl(STDOUT_FILENO, F_GETFL)) {}
  StandardStreams(const StandardStreams&) = delete;
  StandardStreams& operator=(const StandardStreams&) = delete;
  ~StandardStreams() {
    ::fcntl(STDIN_FILENO, F_SETFL, input_);
    ::fcntl(STDOUT_FILENO, F_SETFL, output_);
  }
  static Result<std::unique_ptr<io::ByteStream>> open(io::Reactor& reactor) {
    Result<io::Handle> input = reactor.adopt(STDIN_FILENO);
    if (!input.has_value()) return fail(std::move(input.error()));
    Result<io::Handle> output = reactor.adopt(STDOUT_FILENO);
    if (!output.has_value()) return fail(std::move(output.error()));
    return io::make_duplex_stream(reactor, *input, *output);
  }

 private:
  int input_;
  int output_;
};

}  // namespace

int acp_command(const GlobalOptions& global, const AcpOptions& options) {
  Terminal terminal(global.no_color);
  std::signal(SIGPIPE, SIG_IGN);  // an editor that is gone is found out by its stdin
  const std::unique_ptr<Remote> remote = Remote::open(global, terminal);
  if (remote == nullptr) return 1;
  const StandardStreams streams;
  Result<std::unique_ptr<io::ByteStream>> stream = StandardStreams::open(remote->reactor());
  if (!stream.has_value()) {
    terminal.complain(stream.error().message);
    return 1;
  }
  AcpWire wire(remote->reactor(), std::move(*stream));
  Bridge bridge(*remote, wire, options);
  remote->run_task(bridge.run());
  return remote->interrupted().stop_requested() ? remote->exit_code() : 0;
}

}  // namespace berth::server
