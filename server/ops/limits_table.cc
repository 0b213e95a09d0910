#include <berth/server/ops/limits_table.h>

#include <fmt/format.h>

#include <type_traits>

namespace berth::server {

std::string_view to_string(LimitUnit unit) {
  switch (unit) {
    case LimitUnit::count:
      return "count";
    case LimitUnit::bytes:
      return "bytes";
    case LimitUnit::seconds:
      return "seconds";
  }
  return "count";
}

namespace {

constexpr LimitUnit kCount = LimitUnit::count;
constexpr LimitUnit kBytes = LimitUnit::bytes;
constexpr LimitUnit kSeconds = LimitUnit::seconds;

#define BERTH_LIMIT(place) [](Config& config) -> LimitPlace { return &config.place; }
constexpr LimitSpec kTable[] = {
    {"queue_max", kCount, BERTH_LIMIT(sessions.queue_max), "turns waiting in one session",
     "overloaded"},
    {"queue_time_max", kSeconds, BERTH_LIMIT(sessions.queue_time_max),
     "that a turn may wait in the queue; then it ends `expired` and is not sent", "", "none"},
    {"prompt_bytes_max", kBytes, BERTH_LIMIT(sessions.prompt_bytes_max),
     "of the content blocks of one prompt", "prompt_too_big"},
    {"snapshot_wait_max", kSeconds, BERTH_LIMIT(sessions.snapshot_wait_max),
     "that a next turn waits for the snapshot before it"},
    {"heartbeat", kSeconds, BERTH_LIMIT(sessions.heartbeat),
     "between signs of life on a quiet stream"},
    {"reader_stall_max", kSeconds, BERTH_LIMIT(sessions.reader_stall_max),
     "without progress after which a stream is closed"},
    {"stream_sessions_max", kCount, BERTH_LIMIT(sessions.stream_sessions_max),
     "sessions that one stream of several follows", "too_many_sessions"},
    {"watch_interval", kSeconds, BERTH_LIMIT(sessions.watch_interval),
     "between two reports of a watch stream"},
    {"client_state_bytes_max", kBytes, BERTH_LIMIT(sessions.client_state_bytes_max),
     "of a session's `state`", "state_too_big"},
    {"continuation_bytes_max", kBytes, BERTH_LIMIT(sessions.continuation_bytes_max),
     "that an agent without memory is told of a session"},
    {"question_expiry", kSeconds, BERTH_LIMIT(sessions.question_expiry),
     "after which a question that nobody answered is expired (never allowed)"},
    {"rest_after", kSeconds, BERTH_LIMIT(sessions.rest_after),
     "after which an open session that nobody used, follows or runs an agent in leaves the memory; "
     "its next use reads it from the store"},
    {"events_age_max", kSeconds, BERTH_LIMIT(sessions.log.events_age_max),
     "since its end after which a turn goes from its session's log "
     "([sessions.md](sessions.md#how-long-a-log-is-kept) has this and the next two)",
     "", "none"},
    {"events_max", kCount, BERTH_LIMIT(sessions.log.events_max), "events of one session's log", "",
     "none"},
    {"events_bytes_max", kBytes, BERTH_LIMIT(sessions.log.events_bytes_max),
     "of one session's log"},
    {"attach_retries_max", kCount, BERTH_LIMIT(sessions.retries.retries_max),
     "tries more of a start that failed in a way that may pass"},
    {"attach_retry_first", kSeconds, BERTH_LIMIT(sessions.retries.wait_first),
     "before the first of these tries; doubled each time"},
    {"attach_retry_max", kSeconds, BERTH_LIMIT(sessions.retries.wait_max),
     "before one of them at most"},
    {"stall_after", kSeconds, BERTH_LIMIT(sessions.stall_after),
     "without a sign of life after which an agent counts as stalled"},
    {"ping_every", kSeconds, BERTH_LIMIT(sessions.ping_every),
     "between two questions to an idle agent whether it is there ([operations.md](operations.md))"},
    {"ping_max", kSeconds, BERTH_LIMIT(sessions.ping_max), "for its answer"},
    {"agents_live_max", kCount, BERTH_LIMIT(pool.agents_live_max),
     "processes of agents at once ([operations.md](operations.md) has this and what follows)",
     "overloaded", "by memory: one for each 32 MiB, at least 256"},
    {"agents_per_project_max", kCount, BERTH_LIMIT(pool.agents_per_project_max),
     "processes of agents of one project", "overloaded", "none"},
    {"agents_memory_max", kBytes, BERTH_LIMIT(pool.agents_memory_max),
     "resident of all agents with what they started", "overloaded", "none"},
    {"agents_idle_ttl", kSeconds, BERTH_LIMIT(pool.agents_idle_ttl),
     "after which an idle agent ends"},
    {"agents_starting_max", kCount, BERTH_LIMIT(pool.agents_starting_max),
     "starts of agents under way at once"},
    {"starts_waiting_max", kCount, BERTH_LIMIT(pool.starts_waiting_max),
     "starts that wait for a place", "overloaded"},
    {"start_wait_max", kSeconds, BERTH_LIMIT(pool.start_wait_max),
     "that a turn waits for its agent's place, then it fails"},
    {"crash_wait_first", kSeconds, BERTH_LIMIT(pool.crash_wait_first),
     "before the start of an agent that ended twice in a row without an answer; doubled each time"},
    {"crash_wait_max", kSeconds, BERTH_LIMIT(pool.crash_wait_max), "before that start at most"},
    {"drain_deadline", kSeconds, BERTH_LIMIT(drain_deadline),
     "that turns get to end when the server is told to end"},
    {"auth_failures_max", kCount, BERTH_LIMIT(gate.auth_failures_max),
     "wrong tokens of one address in a minute ([security.md](security.md) has this and what "
     "follows)",
     "overloaded"},
    {"token_requests_max", kCount, BERTH_LIMIT(gate.token_requests_max),
     "requests of one token of the store in a second, twice as many at once", "overloaded"},
    {"tokens_max", kCount, BERTH_LIMIT(gate.tokens_max), "tokens in the store", "overloaded"},
    {"tickets_max", kCount, BERTH_LIMIT(gate.tickets.tickets_max), "tickets that are open",
     "overloaded"},
    {"ticket_life", kSeconds, BERTH_LIMIT(gate.tickets.ticket_life), "that a ticket is good"},
    {"audit_bytes_max", kBytes, BERTH_LIMIT(gate.audit.audit_bytes_max),
     "of one file of the audit log"},
    {"audit_files_max", kCount, BERTH_LIMIT(gate.audit.audit_files_max), "files of the audit log"},
    {"tail_bytes_max", kBytes, BERTH_LIMIT(journal.tail_bytes_max),
     "of committed events kept in memory for readers, of all sessions"},
    {"commit_interval_min", kSeconds, BERTH_LIMIT(journal.commit_interval_min),
     "between the begins of two commits: longer is less work under a steady trickle, shorter is "
     "less delay"},
    {"joined_text_max", kBytes, BERTH_LIMIT(journal.joined_text_max),
     "of text in an event that is made of several chunks of an agent; 1: none is"},
    {"metric_projects_max", kCount, BERTH_LIMIT(metric_projects_max),
     "projects that `/metrics` tells apart, the last of them the sum of all others"},
    {"connections_max", kCount, BERTH_LIMIT(http.connections_max), "HTTP connections at once",
     "overloaded"},
    {"body_max", kBytes, BERTH_LIMIT(http.body_max), "of a request's body", "body_too_large"},
    {"head_timeout", kSeconds, BERTH_LIMIT(http.head_timeout),
     "from the first byte of a request to the end of its headers", "request_timeout"},
    {"body_timeout", kSeconds, BERTH_LIMIT(http.body_timeout),
     "without progress while a body is read", "request_timeout"},
    {"idle_timeout", kSeconds, BERTH_LIMIT(http.idle_timeout),
     "between the requests of a kept connection"},
    {"bodies_max", kBytes, BERTH_LIMIT(http.bodies_max), "of all requests' bodies held at a time",
     "overloaded", "", true},
    {"target_max", kBytes, BERTH_LIMIT(http.target_max), "of a request's first line",
     "target_too_long", "", true},
    {"head_max", kBytes, BERTH_LIMIT(http.head_max), "of a request's headers", "headers_too_large",
     "", true},
    {"headers_max", kCount, BERTH_LIMIT(http.headers_max), "headers of a request",
     "too_many_headers", "", true},
    {"offload_queue_max", kCount, BERTH_LIMIT(offload_queue_max),
     "jobs that wait for a thread of the store, of files or of git, each", "overloaded", "", true},
};
#undef BERTH_LIMIT

double as_number(const LimitPlace& place) {
  return std::visit(
      [](auto* value) {
        if constexpr (std::is_same_v<decltype(value), Duration*>) {
          return std::chrono::duration<double>(*value).count();
        } else {
          return static_cast<double>(*value);
        }
      },
      place);
}

/// The others share theirs, and are told apart by the first word of the message.
bool has_code_of_its_own(const LimitSpec& spec) {
  const std::string_view code = spec.code;
  return code.ends_with("_too_big") || code.ends_with("_too_large") ||
         code.ends_with("_too_long") || code.starts_with("too_many_");
}

void add_rows(std::string& out, bool fixed) {
  out += "| key | default | meaning | error |\n|---|---|---|---|\n";
  for (const LimitValue& limit : limit_values(Config())) {
    const LimitSpec& spec = *limit.spec;
    if (spec.fixed != fixed) continue;
    const std::string unit =
        spec.unit == LimitUnit::count ? std::string() : fmt::format("{} ", to_string(spec.unit));
    const std::string usual =
        spec.usual.empty() ? fmt::format("{}", limit.value.value_or(0)) : std::string(spec.usual);
    const std::string code = spec.code.empty() ? std::string() : fmt::format("`{}`", spec.code);
    out += fmt::format("| `{}` | {} | {}{} | {} |\n", spec.name, usual, unit, spec.bounds, code);
  }
}

}  // namespace

std::span<const LimitSpec> limits_table() {
  return kTable;
}

std::vector<LimitValue> limit_values(const Config& config) {
  Config copy = config;  // the places are for writing, too
  std::vector<LimitValue> values;
  for (const LimitSpec& spec : kTable) {
    const double value = as_number(spec.of(copy));
    values.push_back({&spec, value > 0 ? std::optional(value) : std::nullopt});
  }
  return values;
}

std::string limits_markdown() {
  std::string out = "## `[limits]`\n\n";
  add_rows(out, false);
  out += "\n## Limits without a key\n\nOnly who embeds a server changes them.\n\n";
  add_rows(out, true);
  return out;
}

std::string_view limit_named_by(std::string_view code, std::string_view message) {
  const std::string_view first = message.substr(0, message.find_first_of(": "));
  if (code.empty()) return {};
  for (const LimitSpec& spec : kTable) {
    if (code == spec.code && (spec.name == first || has_code_of_its_own(spec))) return spec.name;
  }
  return {};
}

}  // namespace berth::server
