#include <berth/server/sessions/directory.h>

#include <berth/core/hash.h>
#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/core/prng.h>
#include <berth/server/sessions/mcp_servers.h>
#include <berth/server/sessions/repository_url.h>
#include <berth/server/sessions/session_key.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kIdMax = 128;

/// What must not change between two openings of one id.
std::string options_of(const OpenRequest& request) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("agent", request.agent)
      .member("repository", request.repository)
      .member("base", request.base)
      .member("directory", request.directory)
      .member("permission", request.permission);
  if (!request.workspace.empty()) writer.member("workspace", request.workspace);
  if (!request.launch.empty()) writer.member("launch", request.launch);
  if (!request.rules.empty()) writer.member_raw("rules", request.rules);
  if (!request.mcp_servers.empty()) {
    // They hold secrets, and these options are shown in a conflict.
    writer.member_uint64("mcp_servers_hash", fnv1a(request.mcp_servers));
  }
  if (!request.additional_directories.empty()) {
    writer.member_raw("additional_directories", request.additional_directories);
  }
  writer.end_object();
  return out;
}

Result<void> check_directories(std::string_view json) {
  const Result<JsonDoc> doc = JsonDoc::parse(json.empty() ? std::string_view("[]") : json);
  if (!doc.has_value() || !doc->root().is_array()) {
    return fail(ErrorKind::invalid, "bad_field", "additional_directories: must be an array");
  }
  std::size_t index = 0;
  for (const JsonView& directory : doc->root().elements()) {
    const std::string at = "additional_directories[" + std::to_string(index++) + "]";
    if (!directory.as_string().value_or("").starts_with("/")) {
      return fail(ErrorKind::invalid, "bad_field", at + ": must be an absolute path");
    }
  }
  return {};
}

Result<void> check_repository(const OpenRequest& request) {
  const bool url = is_repository_url(request.repository);
  if (!request.repository.empty() && !url && request.repository.front() != '/') {
    return fail(ErrorKind::invalid, "bad_field",
                "repository: must be an absolute path or a file, https or ssh URL");
  }
  if (url) {
    if (Result<void> ok = check_repository_url(request.repository); !ok.has_value()) return ok;
  }
  if (request.fetch.empty()) return {};
  if (!url) return fail(ErrorKind::invalid, "bad_field", "fetch: needs a URL as repository");
  if (request.fetch != "auto" && request.fetch != "always" && request.fetch != "never") {
    return fail(ErrorKind::invalid, "bad_field", "fetch: must be auto, always or never");
  }
  return {};
}

Result<void> check_launch(const OpenRequest& request, const SessionContext& context) {
  if (request.launch.empty()) return {};
  const std::optional<LaunchMode> least = launch_mode_named(request.launch);
  if (!least) {
    return fail(ErrorKind::invalid, "bad_field",
                "launch: must be " + std::string(kLaunchModeNames));
  }
  const AgentProfile& profile = *context.agents.find(request.agent);
  if (serves_many(profile)) {
    return fail(ErrorKind::invalid, "bad_field",
                "launch: a process of " + request.agent + " serves many sessions");
  }
  if (context.launches == nullptr) return {};
  Result<LaunchChoice> choice = context.launches->choose(profile, *least);
  if (!choice.has_value()) return fail(std::move(choice.error()));
  return {};
}

Result<void> check(const OpenRequest& request, const SessionContext& context) {
  if (!request.id.empty() && !is_session_id(request.id)) {
    return fail(ErrorKind::invalid, "bad_field", "id: must match [A-Za-z0-9._:-]{1,128}");
  }
  if (request.title.size() > kTitleMax) {
    return fail(ErrorKind::invalid, "bad_field", "title: is longer than 1024 bytes");
  }
  if (context.find_profile(request.agent, request.project) == nullptr) {
    return fail(ErrorKind::invalid, "bad_field", "agent: no profile \"" + request.agent + "\"");
  }
  if (!request.repository.empty() && !request.directory.empty()) {
    return fail(ErrorKind::invalid, "bad_field", "directory: excludes repository");
  }
  if (!request.directory.empty() && request.directory.front() != '/') {
    return fail(ErrorKind::invalid, "bad_field", "directory: must be an absolute path");
  }
  if (Result<void> ok = check_repository(request); !ok.has_value()) return ok;
  if (!request.workspace.empty() &&
      (request.repository.empty() ||
       (request.workspace != "worktree" && request.workspace != "overlay"))) {
    return fail(ErrorKind::invalid, "bad_field",
                "workspace: must be worktree or overlay, and needs a repository");
  }
  if (!request.base.empty() && request.repository.empty()) {
    return fail(ErrorKind::invalid, "bad_field", "base: needs a repository");
  }
  if (request.permission != "ask" && request.permission != "allow" &&
      request.permission != "reject") {
    return fail(ErrorKind::invalid, "bad_field", "permission: must be ask, allow or reject");
  }
  if (Result<std::vector<PermissionRule>> rules = parse_rules(request.rules); !rules.has_value()) {
    return fail(std::move(rules.error()));
  }
  if (Result<void> ok = check_launch(request, context); !ok.has_value()) return ok;
  Result<void> servers = check_mcp_servers(request.mcp_servers, context.secrets);
  if (!servers.has_value()) return servers;
  return check_directories(request.additional_directories);
}

}  // namespace

bool is_session_id(std::string_view id) {
  const auto allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == ':' || c == '-';
  };
  return !id.empty() && id.size() <= kIdMax && std::all_of(id.begin(), id.end(), allowed);
}

Directory::Directory(SessionContext& context, std::string state_directory)
    : context_(context), state_directory_(std::move(state_directory)) {}

Directory::~Directory() = default;

Session* Directory::loaded(SessionNo no) {
  const auto found = by_no_.find(no);
  return found == by_no_.end() ? nullptr : found->second.get();
}

// One task at a time works on a name, so that no session is loaded or made twice.
Task<void> Directory::take_name(SessionName name) {
  for (auto found = taken_.find(name); found != taken_.end(); found = taken_.find(name)) {
    co_await found->second->wait();
  }
  taken_.emplace(name, std::make_unique<Event>(context_.reactor()));
}

void Directory::give_back_name(const SessionName& name) {
  const auto found = taken_.find(name);
  found->second->set();
  taken_.erase(found);
}

Task<Result<Session*>> Directory::load(SessionNo no) {
  Result<SessionSnapshot> snapshot =
      co_await context_.read([no](Store& store) { return store.load_session(no); });
  if (!snapshot.has_value()) co_return fail(std::move(snapshot.error()));
  const SessionName name = {snapshot->session.project, snapshot->session.id};
  auto session = std::make_unique<Session>(context_, std::move(*snapshot));
  Session* raw = session.get();
  by_no_.emplace(no, std::move(session));
  by_name_.emplace(name, raw);
  co_return raw;
}

Task<Result<void>> Directory::recover() {
  Result<SessionNo> last =
      co_await context_.read([](Store& store) { return store.last_session_no(); });
  if (!last.has_value()) co_return fail(std::move(last.error()));
  last_no_ = *last;
  // First: sessions go on with files that an apply may have left half done.
  Result<std::vector<std::string>> unfinished = co_await context_.workspaces.finish_interrupted();
  if (!unfinished.has_value()) co_return fail(std::move(unfinished.error()));
  for (const std::string& problem : *unfinished) {
    context_.log.write(LogLevel::warning, "workspaces", "an apply is not finished: " + problem);
  }
  Result<std::vector<SessionNo>> unsettled =
      co_await context_.read([](Store& store) { return store.unsettled_sessions(); });
  if (!unsettled.has_value()) co_return fail(std::move(unsettled.error()));
  for (const SessionNo no : *unsettled) {
    Result<Session*> session = co_await load(no);
    if (!session.has_value()) co_return fail(std::move(session.error()));
    co_await (*session)->recover();
  }
  co_return co_await context_.journal.committed();
}

namespace {

/// The words are the same whether it is gone, a foreign project's, or never was.
Error no_session(std::string_view id) {
  return make_error(ErrorKind::not_found, "session_not_found",
                    is_session_id(id) ? "no session " + std::string(id) : "no session of that id");
}

}  // namespace

Task<Result<SessionUse>> Directory::find(SessionName name) {
  const std::string id = name.id;
  Result<Session*> session = co_await find_any(std::move(name));
  if (!session.has_value()) co_return fail(std::move(session.error()));
  if ((*session)->row().state == SessionState::deleted) co_return fail(no_session(id));
  co_return SessionUse(**session);
}

Task<Result<SessionUse>> Directory::find_log(SessionName name) {
  const std::string id = name.id;
  Result<Session*> session = co_await find_any(std::move(name));
  if (!session.has_value()) co_return fail(std::move(session.error()));
  if ((*session)->erased()) co_return fail(no_session(id));
  co_return SessionUse(**session);
}

/// Also one that was deleted.
Task<Result<Session*>> Directory::find_any(SessionName name) {
  if (const auto known = by_name_.find(name); known != by_name_.end()) co_return known->second;
  if (!is_session_id(name.id)) co_return fail(no_session(name.id));
  co_await take_name(name);
  if (const auto known = by_name_.find(name); known != by_name_.end()) {
    give_back_name(name);
    co_return known->second;
  }
  Result<SessionNo> no = co_await context_.read(
      [name](Store& store) { return store.find_session(name.project, name.id); });
  Result<Session*> session = nullptr;
  if (no.has_value()) {
    session = co_await load(*no);
  } else if (no.error().kind == ErrorKind::not_found) {
    session = fail(no_session(name.id));
  } else {
    session = fail(std::move(no.error()));
  }
  give_back_name(name);
  co_return session;
}

Task<Result<SessionRow>> Directory::make_row(const OpenRequest* request, std::string* fallback) {
  SessionRow row;
  row.project = request->project;
  row.id = request->id;
  row.key = make_ulid(context_.now_ms(), context_.platform.random());
  row.title = request->title;
  row.agent = request->agent;
  row.permission = request->permission;
  row.rules = request->rules;
  row.mcp_servers = request->mcp_servers;
  row.additional_directories = request->additional_directories;
  row.options = options_of(*request);
  row.idempotency_key = request->idempotency_key;
  row.body_hash = request->body_hash;
  row.created_ms = context_.now_ms();
  row.workspace_ready = true;
  if (!request->repository.empty()) {
    Result<Workspace> made = co_await context_.workspaces.create(
        {row.key, request->repository, request->base, request->workspace, request->fetch});
    if (!made.has_value()) co_return fail(std::move(made.error()));
    row.workspace_mode = made->mode;
    *fallback = made->fallback;
    row.repository = made->repository;
    row.directory = made->directory;
    row.branch = made->branch;
    row.base_commit = row.base_tree = made->base_commit;
    co_return row;
  }
  io::Files* files = &context_.platform.files();
  const bool own = request->directory.empty();
  row.workspace_mode = own ? "none" : "directory";
  const std::string path = own ? state_directory_ + "/workspaces/" + row.key : request->directory;
  Result<std::string> real = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(), [files, path, own]() -> Result<std::string> {
        if (own) {
          if (Result<void> made = files->make_directories(path, 0700); !made.has_value()) {
            return fail(std::move(made.error()));
          }
        }
        return files->canonical(path);
      });
  if (!real.has_value()) {
    if (own) co_return fail(std::move(real.error()));
    co_return fail(ErrorKind::invalid, "bad_field", "directory: " + real.error().message);
  }
  row.directory = std::move(*real);
  co_return row;
}

Task<Result<OpenedSession>> Directory::open(OpenRequest request) {
  if (request.idempotency_key.empty()) co_return co_await open_by_id(std::move(request));
  // No id looks like that.
  const SessionName name = {request.project, "key " + request.idempotency_key};
  co_await take_name(name);
  Result<OpenedSession> opened = co_await open_by_key(std::move(request));
  give_back_name(name);
  co_return opened;
}

Task<Result<OpenedSession>> Directory::open_by_key(OpenRequest request) {
  const std::string project = request.project;
  const std::string key = request.idempotency_key;
  Result<SessionNo> no = co_await context_.read(
      [project, key](Store& store) { return store.find_session_by_key(project, key); });
  if (!no.has_value()) co_return fail(std::move(no.error()));
  if (*no == 0) co_return co_await open_by_id(std::move(request));
  const SessionNo found = *no;
  Result<SessionSnapshot> stored =
      co_await context_.read([found](Store& store) { return store.load_session(found); });
  if (!stored.has_value()) co_return fail(std::move(stored.error()));
  if (stored->session.body_hash != request.body_hash) {
    co_return fail(ErrorKind::invalid, "idempotency_mismatch",
                   "Idempotency-Key: was used with another body");
  }
  Result<SessionUse> session = co_await find({project, stored->session.id});
  if (!session.has_value() && session.error().kind == ErrorKind::not_found) {
    co_return fail(ErrorKind::conflict, "session_conflict",
                   "Idempotency-Key: was used by a deleted session");
  }
  if (!session.has_value()) co_return fail(std::move(session.error()));
  OpenedSession opened = {std::move(*session), false, true};
  co_return opened;
}

Task<Result<OpenedSession>> Directory::open_by_id(OpenRequest request) {
  if (request.permission.empty()) request.permission = "ask";
  if (Result<void> ok = check(request, context_); !ok.has_value()) {
    co_return fail(std::move(ok.error()));
  }
  if (Result<void> takes = context_.takes_work(); !takes.has_value()) {
    co_return fail(std::move(takes.error()));
  }
  if (request.id.empty()) {
    request.id = "ses_" + make_ulid(context_.now_ms(), context_.platform.random());
  } else {
    Result<SessionUse> known = co_await find({request.project, request.id});
    if (known.has_value()) {
      if ((*known)->row().options == options_of(request)) {
        co_return co_await when_in_log({std::move(*known), false});
      }
      co_return fail(
          ErrorKind::conflict, "session_conflict",
          "session " + request.id + " exists with other options: " + (*known)->row().options);
    }
    if (known.error().kind != ErrorKind::not_found) co_return fail(std::move(known.error()));
    if (by_name_.contains({request.project, request.id})) {
      co_return fail(ErrorKind::conflict, "session_conflict", "id: was used by a deleted session");
    }
  }
  const SessionName name = {request.project, request.id};
  co_await take_name(name);
  if (const auto winner = by_name_.find(name); winner != by_name_.end()) {
    give_back_name(name);
    if (winner->second->row().options == options_of(request)) {
      co_return co_await when_in_log({SessionUse(*winner->second), false});
    }
    co_return fail(ErrorKind::conflict, "session_conflict",
                   "session " + name.id + " was just made with other options");
  }
  std::string fallback;
  Result<SessionRow> row = co_await make_row(&request, &fallback);
  if (!row.has_value()) {
    give_back_name(name);
    co_return fail(std::move(row.error()));
  }
  SessionSnapshot snapshot;
  snapshot.session = std::move(*row);
  snapshot.session.no = ++last_no_;
  auto made = std::make_unique<Session>(context_, std::move(snapshot));
  Session* session = made.get();
  by_no_.emplace(session->session_no(), std::move(made));
  by_name_.emplace(name, session);
  session->opened(fallback);
  give_back_name(name);
  co_return co_await when_in_log({SessionUse(*session), true});
}

/// Also one that was there before may not be in the log yet.
Task<Result<OpenedSession>> Directory::when_in_log(OpenedSession opened) {
  Result<void> committed = co_await context_.journal.committed();
  if (!committed.has_value()) co_return fail(std::move(committed.error()));
  co_return opened;
}

Task<Result<std::vector<ReapedItem>>> Directory::reap(ReapOrder order) {
  constexpr int kPage = 1000;
  // Keys that a running open() has not told the store of yet are young: the grace time spares them.
  std::set<std::string> repositories;
  std::set<std::string> used;
  std::set<std::string> own;  // folders of sessions that still may be used
  SessionQuery query;
  query.every_project = query.include_deleted = query.include_archived = true;
  query.limit = kPage;
  for (bool more = true; more;) {
    Result<std::vector<SessionRow>> rows =
        co_await context_.read([query](Store& store) { return store.list_sessions(query); });
    if (!rows.has_value()) co_return fail(std::move(rows.error()));
    more = rows->size() == static_cast<std::size_t>(kPage);
    for (const SessionRow& row : *rows) {
      query.before_no = row.no;
      if (row.state != SessionState::deleted && row.workspace_mode == "none") own.insert(row.key);
      if (!has_worktree(row)) continue;
      repositories.insert(row.repository);
      if (row.state == SessionState::deleted) continue;
      used.insert(row.repository);
      order.known_keys.push_back(row.key);
      order.keep_commits.push_back(row.base_tree);
      if (row.workspace_ready) order.live_keys.push_back(row.key);
    }
  }
  order.repositories.assign(repositories.begin(), repositories.end());
  order.used_repositories.assign(used.begin(), used.end());
  std::vector<ReapedItem> folders = co_await reap_folders(&order, std::move(own));
  Result<std::vector<ReapedItem>> gone = co_await context_.workspaces.reap(std::move(order));
  if (gone.has_value()) gone->insert(gone->begin(), folders.begin(), folders.end());
  co_return gone;
}

/// Empty folders of sessions without a repository that are deleted, or that never came to be.
Task<std::vector<ReapedItem>> Directory::reap_folders(const ReapOrder* order,
                                                      std::set<std::string> own) {
  if (!order->worktrees) co_return std::vector<ReapedItem>();
  io::Files* files = &context_.platform.files();
  const std::string folder = state_directory_ + "/workspaces";
  const std::int64_t now_ms = context_.now_ms();
  const std::int64_t age_min_s = order->age_min_s;
  const bool dry_run = order->dry_run;
  Result<std::vector<ReapedItem>> gone = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [files, folder, now_ms, age_min_s, dry_run,
       own = std::move(own)]() -> Result<std::vector<ReapedItem>> {
        std::vector<ReapedItem> items;
        const Result<std::vector<io::FolderEntry>> keys = files->list(folder);
        if (!keys.has_value()) return items;
        for (const io::FolderEntry& entry : *keys) {
          const std::string path = folder + "/" + entry.name;
          const std::int64_t age_s = (now_ms - key_time_ms(entry.name)) / 1000;
          if (own.contains(entry.name) || age_s < age_min_s) continue;
          const Result<std::vector<io::FolderEntry>> inside = files->list(path);
          if (!inside.has_value() || !inside->empty()) continue;
          const bool removed = !dry_run && files->remove_if_exists(path).has_value();
          const char* const verdict = dry_run ? "would remove" : removed ? "removed" : "failed";
          items.push_back({"folder", path, entry.name, verdict,
                           "it is empty and no session needs it", age_s, 0});
        }
        return items;
      });
  co_return gone.has_value() ? std::move(*gone) : std::vector<ReapedItem>();
}

Task<std::size_t> Directory::unload() {
  const TimePoint began = context_.reactor().clock().now();
  std::set<SessionNo> resting;
  for (const auto& [no, session] : by_no_) {
    if (session->may_unload(began)) resting.insert(resting.end(), no);
  }
  // What one wrote last must be in the store before it is read from there.
  Result<void> in_log = co_await context_.journal.committed();
  if (!in_log.has_value()) co_return 0;
  std::set<const LogWriter*> leaving;
  for (const SessionNo no : resting) {
    const Session* session = loaded(no);
    if (session != nullptr && session->rests_since(began)) leaving.insert(session);
  }
  context_.journal.forget(leaving);
  co_return std::erase_if(by_no_, [&](const auto& entry) {
    if (!leaving.contains(entry.second.get())) return false;
    by_name_.erase({entry.second->row().project, entry.second->row().id});
    return true;
  });
}

Task<void> Directory::shutdown() {
  Scope scope(context_.reactor());
  for (auto& [no, session] : by_no_) scope.spawn(session->shutdown());
  co_await scope.join();
}

}  // namespace berth::server
