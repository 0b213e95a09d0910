// server/sessions/directory.h — finds, opens and makes sessions; settles what a crash left open.
#pragma once

#include <berth/core/sync.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/session.h>

#include <compare>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// How clients name a session.
struct SessionName {
  std::string project;
  std::string id;
  friend auto operator<=>(const SessionName&, const SessionName&) = default;
};

struct OpenRequest {
  std::string project = "default";
  std::string id;  ///< Empty = generate.
  std::string agent;
  std::string repository;  ///< Absolute path or URL.
  std::string base;
  std::string fetch;  ///< "auto", "always", "never" or empty; only with a URL.
  std::string directory;
  std::string workspace;  ///< "overlay", "worktree" or empty; needs a repository.
  std::string launch;     ///< The least that is asked for; empty: what the agent's profile says.
  std::string title;
  std::string permission;  ///< Empty = "ask".
  std::string rules;       ///< As in SessionRow; so are the next two.
  std::string mcp_servers;
  std::string additional_directories;
  std::string idempotency_key;  ///< Empty without one; unique in the project.
  std::string body_hash;        ///< Of the request, to tell a retry from a reuse of the key.
};

struct OpenedSession {
  SessionUse session;
  bool created = false;
  bool replayed = false;  ///< An earlier request with the same key made it.
};

/// Bytes of a session's title.
inline constexpr std::size_t kTitleMax = 1024;

/// True for [A-Za-z0-9._:-]{1,128}.
bool is_session_id(std::string_view id);

/// A session is in memory from its first use until nothing has gone on in it for a while (see
/// Session::may_unload); one that rests costs nothing. Single-threaded.
class Directory {
 public:
  Directory(SessionContext& context, std::string state_directory);
  ~Directory();

  /// Gives endings to everything that a crash left open. Before anything is served.
  Task<Result<void>> recover();

  /// Error `not_found` ("session_not_found"), also for deleted ones; the same words for all.
  Task<Result<SessionUse>> find(SessionName name);
  /// For whoever reads or erases a log: one that was deleted is found too, unless it was purged.
  Task<Result<SessionUse>> find_log(SessionName name);
  /// Idempotent by project and id, and by key; two callers at once make one session. Errors:
  /// `conflict` ("session_conflict"), `invalid` naming the field (or "idempotency_mismatch"), those
  /// of the workspace.
  Task<Result<OpenedSession>> open(OpenRequest request);

  /// Takes away what no session needs any more: worktrees, registrations, empty folders,
  /// expired refs, trash. The sessions that exist are filled in here.
  Task<Result<std::vector<ReapedItem>>> reap(ReapOrder order);

  /// The session's actor if it is in memory.
  Session* loaded(SessionNo no);
  /// The highest number that a session has.
  SessionNo last_no() const { return last_no_; }
  std::size_t loaded_count() const { return by_no_.size(); }
  template <typename Fn>
  void for_each_loaded(Fn fn) {
    for (auto& [no, session] : by_no_) fn(*session);
  }
  /// Lets go of sessions that rest, once all that they wrote is in the log; how many.
  Task<std::size_t> unload();
  /// Ends all agents; nothing is written to the log any more.
  Task<void> shutdown();

 private:
  Task<Result<Session*>> load(SessionNo no);
  Task<Result<Session*>> find_any(SessionName name);
  Task<Result<OpenedSession>> open_by_key(OpenRequest request);
  Task<Result<OpenedSession>> open_by_id(OpenRequest request);
  Task<Result<OpenedSession>> when_in_log(OpenedSession opened);
  Task<Result<SessionRow>> make_row(const OpenRequest* request, std::string* fallback);
  Task<std::vector<ReapedItem>> reap_folders(const ReapOrder* order, std::set<std::string> own);
  Task<void> take_name(SessionName name);
  void give_back_name(const SessionName& name);

  SessionContext& context_;
  std::string state_directory_;
  SessionNo last_no_ = 0;
  std::map<SessionNo, std::unique_ptr<Session>> by_no_;
  std::map<SessionName, Session*> by_name_;
  /// Names that somebody loads or makes right now; the others wait.
  std::map<SessionName, std::unique_ptr<Event>> taken_;
};

}  // namespace berth::server
