// server/api/api.h — HTTP API v1: the route table and what each route does.
#pragma once

#include <berth/core/histogram.h>
#include <berth/core/prng.h>
#include <berth/core/trace.h>
#include <berth/core/uri.h>
#include <berth/io/folder_tree.h>
#include <berth/io/http_server.h>
#include <berth/server/auth/caller.h>
#include <berth/server/auth/gate.h>
#include <berth/server/named/named_agents.h>
#include <berth/server/ops/limits_table.h>
#include <berth/server/sessions/directory.h>
#include <berth/server/sessions/sse_writer.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// What `GET /v1/info` tells besides the counters.
struct NodeInfo {
  std::string state_directory;
  std::vector<std::string> agents;
  int pid = 0;
  std::string base_path;  ///< What clients see before "/v1", behind a proxy; "/x" or empty.
  std::vector<LimitValue> limits;
  std::size_t metric_projects_max = 0;  ///< Config has it.
};

class Api;
struct ApiCall;
struct Followed;  // streams_api.cc

/// One row of the table of what exists.
struct ApiRoute {
  std::string_view method;
  std::string_view pattern;  ///< "/v1/sessions/{}/turns": `{}` takes any one segment.
  AuthScope scope;           ///< What the caller needs; docs/security.md says why.
  Task<io::HttpResponse> (Api::*handler)(ApiCall*);
  Task<void> (Api::*stream)(ApiCall*) = nullptr;  ///< In its place: it answers on its own.
};

/// One request on its way through a route.
struct ApiCall {
  io::HttpExchange* exchange = nullptr;
  const io::HttpRequest* request = nullptr;
  const ApiRoute* route = nullptr;
  std::string allowed;  ///< Without a route: the methods of others with this path.
  Client client;
  Caller caller;
  TraceContext trace;  ///< Its own span.
  std::string asker;   ///< Id of the span that it is a child of; empty without.
  TimePoint began{};
  Target target;                       ///< Path segments and query, decoded.
  std::vector<std::string> arguments;  ///< What stood at the route's `{}`.

  std::string_view query(std::string_view name) const;
};

/// Serves requests by awaiting the directory and its sessions. Outlived by everything it is given.
class Api final : public io::HttpHandler {
 public:
  Api(SessionContext& context, Directory& directory, NamedAgents& named, AuthGate& gate,
      NodeInfo info);

  Task<void> handle(io::HttpExchange& exchange) override;
  io::HttpResponse refuse(int status, const Error& error) override;
  /// A stranger's body is not even read.
  std::optional<io::HttpResponse> refuse_early(const io::HttpRequest& request) override;

  /// From now on intake answers 503 `draining` and /readyz is red.
  void drain() { draining_ = true; }
  const StreamStats& stream_stats() const { return streams_; }

  static const std::vector<ApiRoute>& routes();

 private:
  using Answer = Task<io::HttpResponse>;
  /// Who asks, in which trace.
  ApiCall begin_call(const io::HttpRequest& request);
  /// It is answered with `status`: counts it, and tells the tracer.
  void end_call(const ApiCall& call, int status);
  static void find_route(ApiCall& call);
  /// Finds the route and lets the caller in, or not: then the error says why. `early`: the body is
  /// not there yet, and this is asked again when it is.
  Result<void> admit(ApiCall* call, bool early);
  io::HttpResponse refusal(const ApiCall& call, const Error& error);
  void count_refusal(const io::HttpResponse& response);
  /// The session that a route's first `{}` names, in the caller's project: a foreign one is as one
  /// that does not exist.
  Task<Result<SessionUse>> find_session(ApiCall* call);
  /// Also one that was deleted, as long as its log is there.
  Task<Result<SessionUse>> find_log(ApiCall* call);

  Answer get_page(ApiCall* call);
  Answer healthz(ApiCall* call);
  Answer readyz(ApiCall* call);
  Answer contract(ApiCall* call);
  Answer info(ApiCall* call);
  Answer get_limits(ApiCall* call);
  Answer metrics(ApiCall* call);

  Answer list_tokens(ApiCall* call);
  Answer create_token(ApiCall* call);
  Answer revoke_token(ApiCall* call);
  Answer create_ticket(ApiCall* call);
  Answer get_caller(ApiCall* call);

  Answer open_session(ApiCall* call);
  Answer list_sessions(ApiCall* call);
  Answer get_session(ApiCall* call);
  Answer patch_session(ApiCall* call);
  Answer get_client_state(ApiCall* call);
  Answer put_client_state(ApiCall* call);
  Answer change_state(ApiCall* call, Task<Result<void>> (Session::*verb)());
  Answer close_session(ApiCall* call);
  Answer revive_session(ApiCall* call);
  Answer archive_session(ApiCall* call);
  Answer unarchive_session(ApiCall* call);
  Answer delete_session(ApiCall* call);
  Answer get_worktree(ApiCall* call);
  Answer reap(ApiCall* call);
  Answer backup(ApiCall* call);
  Task<Result<void>> copy_store(std::string file, StopToken gone);

  Answer post_turn(ApiCall* call);
  Answer post_turn_in_new_session(ApiCall* call);
  Answer take_turn(ApiCall* call, Session* session, TurnRequest request);
  Answer list_turns(ApiCall* call);
  Answer get_turn(ApiCall* call);
  Answer cancel_turn(ApiCall* call);
  Answer cancel_running(ApiCall* call);
  Answer resume_queue(ApiCall* call);
  Answer list_inputs(ApiCall* call);
  Answer order_inputs(ApiCall* call);
  Answer edit_input(ApiCall* call);
  Answer remove_input(ApiCall* call);
  Answer send_input(ApiCall* call);
  Answer answer_inputs(Session* session);
  Answer answer_input(Session* session, std::string id, Result<TurnRow> done);
  Task<Result<TurnRow>> look_up_turn(Session* session, std::string id);

  Answer list_interactions(ApiCall* call);
  Answer answer_interaction(ApiCall* call);
  Answer answer_interactions(ApiCall* call);
  Answer put_permission(ApiCall* call);
  Task<Result<std::vector<InteractionRow>>> give_answers(Session* session,
                                                         std::vector<AnswerRequest> requests,
                                                         std::optional<io::HttpResponse>* refused);

  Answer list_agents(ApiCall* call);
  Answer kill_agent(ApiCall* call);
  Answer decide_agent(ApiCall* call);
  Answer get_usage(ApiCall* call);
  Answer put_config(ApiCall* call);
  Answer probe_agent(ApiCall* call);

  Answer list_named(ApiCall* call);
  Answer get_named(ApiCall* call);
  Answer start_named(ApiCall* call);
  Answer stop_named(ApiCall* call);
  Answer restart_named(ApiCall* call);
  Answer reset_named(ApiCall* call);
  Answer delete_named(ApiCall* call);
  using NamedVerb = Task<Result<const NamedAgent*>> (NamedAgents::*)(AgentName name, bool now);
  Answer change_named(ApiCall* call, NamedVerb verb);

  Answer get_change(ApiCall* call);
  Answer get_patch(ApiCall* call);
  Answer get_mail(ApiCall* call);
  Answer apply_change(ApiCall* call);
  Answer discard_change(ApiCall* call);
  Answer restore_change(ApiCall* call);
  Answer restore_files(Session* session, RestoreRequest request);
  struct Span {
    std::string from;  // commit or tree id
    std::string to;
  };
  Task<Result<SessionUse>> with_worktree(ApiCall* call);
  Task<Result<std::string>> revision_of(Session* session, std::string name, std::string text);
  Task<Result<Span>> span_of(Session* session, ApiCall* call);
  Task<Result<PatchOrder>> patch_order(Session* session, ApiCall* call);

  Answer list_files(ApiCall* call);
  Answer put_file(ApiCall* call);
  Answer delete_file(ApiCall* call);
  Answer make_folder(ApiCall* call);
  /// These write pieces on their own: what they send may be larger than the memory.
  Task<void> get_file(ApiCall* call);
  Task<void> get_archive(ApiCall* call);
  Task<void> get_transcript(ApiCall* call);
  struct OpenTree {
    SessionUse session;
    std::shared_ptr<io::FolderTree> tree;  // jobs of the files lane hold it, too
  };
  Task<Result<OpenTree>> open_tree(ApiCall* call);
  struct WriteTree : OpenTree {
    io::TreeCondition condition;
    Semaphore::Permits turn;  // nobody else changes files meanwhile
  };
  Task<Result<WriteTree>> open_tree_to_write(ApiCall* call);
  Task<void> send_file(ApiCall* call, io::TreeFile* file);

  /// Events are not an Answer: a stream writes on its own.
  Task<void> events(ApiCall* call);
  Task<void> multi_events(ApiCall* call);
  Task<void> watch(ApiCall* call);
  Task<Result<void>> follow_named(ApiCall* call, Followed* followed);
  Task<Result<void>> follow_all(ApiCall* call, Followed* followed);
  Task<Result<void>> follow_places(ApiCall* call, Followed* followed);
  Task<Result<void>> follow(ApiCall* call, Followed* followed, std::string id);
  Answer events_page(ApiCall* call, Session* session, std::uint64_t after);
  Task<void> events_ndjson(ApiCall* call, Session* session, std::uint64_t after);

  SessionContext& context_;
  Directory& directory_;
  NamedAgents& named_;
  AuthGate& gate_;
  NodeInfo info_;
  StreamStats streams_;
  std::vector<Histogram> times_;                        // of routes(), and of what names none
  std::map<std::string_view, std::uint64_t> refusals_;  // by the name of the limit
  StoreSizes store_sizes_;                              // as last seen
  Prng trace_ids_;
  bool draining_ = false;
  bool backing_up_ = false;
};

/// `heartbeat`, `types` and `until` of a stream's query; error `bad_field` naming one.
Result<StreamOptions> read_stream_options(const ApiCall& call);
/// The head of every event stream.
io::HttpResponse event_stream_head();

/// The fields of POST /v1/sessions.
Result<OpenRequest> read_open_request(std::string_view text);

/// The answer to everything that is not a stream.
std::string session_view_json(const Session& session);

/// Gives a commit of a session's change an author and a message where it has none.
void fill_in_words(CommitWords& words, const SessionRow& row);

}  // namespace berth::server
