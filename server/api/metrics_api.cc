// What a scraper wants to know: counts, sizes and times of this process. No ids in labels.
#include <berth/server/api/api.h>

#include <berth/core/version.h>
#include <berth/io/deadline.h>
#include <berth/server/api/open_metrics.h>
#include <berth/server/ops/project_figures.h>

#include <algorithm>
#include <map>
#include <utility>

namespace berth::server {

namespace {

using Kind = OpenMetrics::Kind;

void add_sessions(OpenMetrics& out, Directory& directory) {
  std::uint64_t states[5] = {};  // queued, starting, running, waiting, stopping
  std::uint64_t held = 0;
  std::uint64_t stalled = 0;
  std::uint64_t asking = 0;
  directory.for_each_loaded([&](Session& session) {
    states[0] += session.queue().size();
    if (const TurnRow* turn = session.current_turn()) {
      if (turn->state == TurnState::starting) ++states[1];
      if (turn->state == TurnState::running) ++states[2];
      if (turn->state == TurnState::waiting) ++states[3];
      if (turn->state == TurnState::stopping) ++states[4];
    }
    if (session.row().held) ++held;
    if (session.stalled()) ++stalled;
    if (!session.questions().none_open()) ++asking;
  });
  out.family("berth_sessions_loaded", Kind::gauge, "Sessions in memory.");
  out.sample(static_cast<std::uint64_t>(directory.loaded_count()));
  out.family("berth_sessions_held", Kind::gauge, "Sessions whose queue waits for a person.");
  out.sample(held);
  out.family("berth_sessions_stalled", Kind::gauge, "Sessions whose turn shows no sign of life.");
  out.sample(stalled);
  out.family("berth_sessions_asking", Kind::gauge, "Sessions with a question that is open.");
  out.sample(asking);
  out.family("berth_turns", Kind::gauge, "Turns that have not ended, by state.");
  const char* const names[] = {"queued", "starting", "running", "waiting", "stopping"};
  for (std::size_t i = 0; i < std::size(names); ++i) out.sample(states[i], {{"state", names[i]}});
}

void add_endings(OpenMetrics& out, const SessionContext& context) {
  out.family("berth_turns_ended", Kind::counter, "Turns that ended, by outcome.");
  const char* const names[] = {"completed", "refused",     "cancelled",
                               "failed",    "interrupted", "expired"};
  for (std::size_t i = 0; i < std::size(names); ++i) {
    out.sample(context.turns_ended.at(i), {{"outcome", names[i]}});
  }
}

void add_log_cuts(OpenMetrics& out, const LogCutStats& stats) {
  out.family("berth_log_cuts", Kind::counter, "Times that the oldest part of a log went.");
  out.sample(stats.cuts);
  out.family("berth_log_cut_events", Kind::counter, "Events that went with these.");
  out.sample(stats.events);
  out.family("berth_log_erased_bytes", Kind::counter, "Bytes of these out of the database.");
  out.sample(stats.bytes);
}

void add_store_health(OpenMetrics& out, const StoreHealth& health) {
  out.family("berth_store_check", Kind::gauge, "1 for the state of the check after a crash.");
  for (const StoreCheck state : {StoreCheck::not_needed, StoreCheck::running, StoreCheck::sound,
                                 StoreCheck::damaged, StoreCheck::corrupt, StoreCheck::stopped}) {
    out.sample(std::uint64_t{health.check == state}, {{"state", to_string(state)}});
  }
  out.family("berth_store_problems", Kind::gauge, "What that check found damaged, up to 100.");
  out.sample(std::uint64_t{health.problems.size()});
}

void add_journal(OpenMetrics& out, const JournalStats& journal, bool failing) {
  out.family("berth_events_appended", Kind::counter, "Events written to the log.");
  out.sample(journal.events);
  out.family("berth_events_appended_bytes", Kind::counter, "Bytes of these.");
  out.sample(journal.event_bytes);
  out.family("berth_updates_joined", Kind::counter,
             "Chunks of text that became part of the event before them.");
  out.sample(journal.joined);
  out.family("berth_commits", Kind::counter, "Commits of the store.");
  out.sample(journal.commits);
  out.family("berth_commit_retries", Kind::counter, "Commits that the store refused at first.");
  out.sample(journal.retries);
  out.family("berth_store_failing", Kind::gauge, "1 while the store refuses commits.");
  out.sample(std::uint64_t{failing});
}

void add_streams(OpenMetrics& out, const StreamStats& streams) {
  out.family("berth_sse_clients", Kind::gauge, "Event streams that are open.");
  out.sample(static_cast<std::uint64_t>(streams.open));
  out.family("berth_sse_closed", Kind::counter, "Event streams that ended, by reason.");
  out.sample(streams.client_gone, {{"reason", "client_gone"}});
  out.sample(streams.stalled, {{"reason", "stalled"}});
  out.sample(streams.finished, {{"reason", "finished"}});
  out.sample(streams.failed, {{"reason", "failed"}});
}

void add_store(OpenMetrics& out, const StoreSizes& sizes) {
  out.family("berth_store_bytes", Kind::gauge, "Of the disk, by what of the store has them.");
  out.sample(sizes.database - std::min(sizes.unused, sizes.database), {{"part", "data"}});
  out.sample(sizes.unused, {{"part", "unused"}});
  out.sample(sizes.wal, {{"part", "wal"}});
  out.sample(sizes.log, {{"part", "log"}});
}

void add_lanes(OpenMetrics& out, io::Offload& offload) {
  std::array<io::LaneStats, io::kLaneCount> lanes;
  for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i] = offload.stats(static_cast<io::Lane>(i));
  const auto name = [](std::size_t i) { return to_string(static_cast<io::Lane>(i)); };
  out.family("berth_offload_queue", Kind::gauge, "Jobs that wait for a thread, by lane.");
  for (std::size_t i = 0; i < lanes.size(); ++i) out.sample(lanes[i].queued, {{"lane", name(i)}});
  out.family("berth_offload_running", Kind::gauge, "Jobs that have one.");
  for (std::size_t i = 0; i < lanes.size(); ++i) out.sample(lanes[i].running, {{"lane", name(i)}});
  out.family("berth_offload_wait_seconds", Kind::histogram, "How long jobs waited for it.");
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    out.histogram(lanes[i].waited, {{"lane", name(i)}});
  }
}

void add_projects(OpenMetrics& out, SessionContext& context, Directory& directory,
                  std::size_t rows_max) {
  std::map<std::string_view, ProjectFigures> all;
  directory.for_each_loaded([&all](Session& session) {
    ProjectFigures& figures = all[session.row().project];
    ++figures.sessions;
    figures.turns += session.queue().size() + (session.current_turn() != nullptr ? 1 : 0);
  });
  for (const PooledAgent& agent : context.pool.agents()) {
    if (agent.phase != AgentPhase::waiting) ++all[agent.project].agents;
  }
  const std::vector<ProjectRow> rows = project_rows(all, rows_max);
  out.family("berth_project_sessions_loaded", Kind::gauge, "Sessions in memory, by project.");
  for (const ProjectRow& row : rows) out.sample(row.figures.sessions, {{"project", row.project}});
  out.family("berth_project_turns", Kind::gauge, "Turns that have not ended, by project.");
  for (const ProjectRow& row : rows) out.sample(row.figures.turns, {{"project", row.project}});
  out.family("berth_project_agents", Kind::gauge, "Agents, by the project of their session.");
  for (const ProjectRow& row : rows) out.sample(row.figures.agents, {{"project", row.project}});
}

void add_clones(OpenMetrics& out, const CloneTotals& totals) {
  out.family("berth_clones", Kind::gauge, "Clones of remotes, as of the last tidying.");
  out.sample(totals.clones);
  out.family("berth_clones_bytes", Kind::gauge, "What they take on disk.");
  out.sample(totals.bytes);
}

void add_agents(OpenMetrics& out, Pool& pool) {
  std::uint64_t phases[5] = {};
  std::map<int, std::uint64_t> memory;  // by process, which sessions may share
  for (const PooledAgent& agent : pool.agents()) {
    ++phases[static_cast<unsigned char>(agent.phase)];
    memory[agent.process] = std::max(memory[agent.process], agent.memory_bytes);
  }
  std::uint64_t bytes = 0;
  std::uint64_t largest = 0;
  for (const auto& [process, used] : memory) {
    bytes += used;
    largest = std::max(largest, used);
  }
  out.family("berth_agents", Kind::gauge, "Agents, by what they do.");
  const char* const names[] = {"waiting", "starting", "idle", "busy", "ending"};
  for (std::size_t i = 0; i < std::size(names); ++i) out.sample(phases[i], {{"phase", names[i]}});
  out.family("berth_agents_memory_bytes", Kind::gauge, "Resident bytes of agents and their tools.");
  out.sample(bytes);
  out.family("berth_agent_memory_max_bytes", Kind::gauge, "The same of the largest of them.");
  out.sample(largest);
  out.family("berth_agent_starts", Kind::counter, "Agents that were started.");
  out.sample(pool.stats().starts);
  out.family("berth_agent_starts_refused", Kind::counter, "Starts for which there was no place.");
  out.sample(pool.stats().refused);
  out.family("berth_agents_evicted", Kind::counter, "Idle agents that were ended, by limit.");
  for (const auto& [limit, times] : pool.stats().evicted) out.sample(times, {{"limit", limit}});
}

void add_spans(OpenMetrics& out, const Tracer* tracer) {
  if (tracer == nullptr) return;
  out.family("berth_spans", Kind::counter, "Spans for the collector of traces, by outcome.");
  out.sample(tracer->stats().sent, {{"outcome", "sent"}});
  out.sample(tracer->stats().dropped, {{"outcome", "dropped"}});
}

void add_times(OpenMetrics& out, const Metrics& metrics) {
  struct Family {
    const char* name;
    const char* help;
    const Histogram& times;
  };
  const Family families[] = {
      {"berth_turn_duration_seconds", "From accepting a turn to its end.", metrics.turn},
      {"berth_agent_start_duration_seconds", "From a start to an agent that takes prompts.",
       metrics.agent_start},
      {"berth_commit_duration_seconds", "Of commits of the store.", metrics.commit},
      {"berth_shown_delay_seconds", "From an event's being read to its being shown.",
       metrics.shown},
      {"berth_snapshot_duration_seconds", "Of snapshots of worktrees.", metrics.snapshot},
      {"berth_loop_delay_seconds", "How late a timer runs, once a second.", metrics.loop_lag},
  };
  for (const Family& family : families) {
    out.family(family.name, Kind::histogram, family.help);
    out.histogram(family.times);
  }
}

void add_requests(OpenMetrics& out, const std::vector<ApiRoute>& routes,
                  const std::vector<Histogram>& times) {
  out.family("berth_request_duration_seconds", Kind::histogram, "Of requests, by route.");
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times[i].total() == 0) continue;
    const bool known = i < routes.size();
    out.histogram(times[i], {{"method", known ? routes[i].method : "other"},
                             {"route", known ? routes[i].pattern : "none"}});
  }
}

void add_door(OpenMetrics& out, AuthGate& gate) {
  const GateStats& stats = gate.stats();
  out.family("berth_auth_failures", Kind::counter, "Requests without a token that is good.");
  out.sample(stats.auth_failures);
  out.family("berth_pages_refused", Kind::counter, "Requests refused for where they come from.");
  out.sample(stats.hosts_refused, {{"header", "host"}});
  out.sample(stats.origins_refused, {{"header", "origin"}});
  out.family("berth_audit_lines", Kind::counter, "Lines of the audit log.");
  out.sample(gate.audit().stats().written);
  out.family("berth_audit_lines_dropped", Kind::counter, "Lines that were lost.");
  out.sample(gate.audit().stats().dropped);
}

/// The limits that answer with an error of their own, met or not: what is absent cannot be watched.
void add_refusals(OpenMetrics& out, const std::map<std::string_view, std::uint64_t>& refusals) {
  out.family("berth_refusals", Kind::counter, "Requests refused by a limit, by limit.");
  for (const LimitSpec& spec : limits_table()) {
    if (spec.code.empty()) continue;
    const auto found = refusals.find(spec.name);
    out.sample(found == refusals.end() ? std::uint64_t{0} : found->second, {{"limit", spec.name}});
  }
}

void add_egress(OpenMetrics& out, const egress::Stats& stats) {
  out.family("berth_egress_doors", Kind::gauge, "Sandboxes that have a way to the proxy.");
  out.sample(stats.doors);
  out.family("berth_egress_connections", Kind::gauge, "Connections through the proxy.");
  out.sample(stats.connections);
  out.family("berth_egress_requests", Kind::counter, "Connections asked for, by what came of it.");
  out.sample(stats.allowed, {{"outcome", "allowed"}});
  out.sample(stats.denied, {{"outcome", "denied"}});
  out.sample(stats.failed, {{"outcome", "failed"}});
  out.sample(stats.overloaded, {{"outcome", "overloaded"}});
  out.family("berth_egress_bytes", Kind::counter, "Bytes that passed, by direction.");
  out.sample(stats.bytes_out, {{"direction", "out"}});
  out.sample(stats.bytes_in, {{"direction", "in"}});
}

/// A store that is behind is looked at another time: who watches it must hear that it is.
constexpr Duration kSizesWait = std::chrono::milliseconds(200);

Task<Result<StoreSizes>> ask_for_sizes(SessionContext* context, StopToken stop) {
  Store* const store = &context->store;
  Result<StoreSizes> sizes = co_await context->platform.offload().run(
      io::Lane::store, context->reactor(), [store] { return store->sizes(); }, stop);
  co_return sizes;
}

}  // namespace

Api::Answer Api::metrics(ApiCall* call) {
  StopSource group(call->exchange->gone());
  const TimePoint latest = context_.reactor().clock().now() + kSizesWait;
  const Result<StoreSizes> sizes = co_await io::with_deadline(
      context_.reactor(), latest, group, ask_for_sizes(&context_, group.token()));
  if (sizes.has_value()) store_sizes_ = *sizes;
  OpenMetrics out;
  out.family("berth_build", Kind::info, "What runs here.");
  out.sample(std::uint64_t{1},
             {{"version", kVersion}, {"engine", context_.reactor().engine_name()}});
  add_sessions(out, directory_);
  add_endings(out, context_);
  add_log_cuts(out, context_.log_cuts);
  add_journal(out, context_.journal.stats(), context_.journal.failing());
  add_store_health(out, context_.store_health);
  add_streams(out, streams_);
  add_agents(out, context_.pool);
  add_projects(out, context_, directory_, info_.metric_projects_max);
  add_store(out, store_sizes_);
  add_lanes(out, context_.platform.offload());
  add_clones(out, context_.workspaces.clone_totals());
  add_door(out, gate_);
  add_refusals(out, refusals_);
  if (context_.launches != nullptr && context_.launches->egress_stats() != nullptr) {
    add_egress(out, *context_.launches->egress_stats());
  }
  add_times(out, context_.metrics);
  add_requests(out, routes(), times_);
  add_spans(out, context_.tracer);
  out.family("berth_draining", Kind::gauge, "1 while the server is shutting down.");
  out.sample(std::uint64_t{draining_});
  const io::ProcessTable::Usage usage = context_.platform.process_table().self();
  out.family("process_resident_memory_bytes", Kind::gauge, "Resident bytes of this process.");
  out.sample(usage.resident_bytes);
  out.family("process_cpu_seconds", Kind::counter, "Processor time of this process.");
  out.sample(static_cast<double>(usage.cpu_microseconds) / 1e6);
  io::HttpResponse response;
  response.content_type = OpenMetrics::kContentType;
  response.body = out.finish();
  co_return response;
}

}  // namespace berth::server
