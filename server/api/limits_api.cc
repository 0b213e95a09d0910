// What bounds the server and how near it is to it.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/problem.h>

#include <algorithm>
#include <map>
#include <utility>

namespace berth::server {

namespace {

void put_gate(JsonWriter& writer, AuthGate& gate) {
  const GateStats& stats = gate.stats();
  const GateConfig& config = gate.config();
  std::uint64_t tokens = 0;
  gate.tokens().for_each([&tokens](const TokenRow&) { ++tokens; });
  writer.key("auth")
      .begin_object()
      .member_uint64("auth_failures", stats.auth_failures)
      .member_uint64("auth_failures_refused", stats.auth_failures_refused)
      .member_uint64("token_requests_refused", stats.token_requests_refused)
      .member_uint64("hosts_refused", stats.hosts_refused)
      .member_uint64("origins_refused", stats.origins_refused)
      .member_uint64("tokens", tokens)
      .member_uint64("tickets", gate.tickets().open())
      .member_uint64("audit_written", gate.audit().stats().written)
      .member_uint64("audit_dropped", gate.audit().stats().dropped)
      .key("limits")
      .begin_object()
      .member_uint64("auth_failures_max", config.auth_failures_max)
      .member_uint64("token_requests_max", config.token_requests_max)
      .member_uint64("tokens_max", config.tokens_max)
      .member_uint64("tickets_max", config.tickets.tickets_max)
      .key("ticket_life")
      .number(std::chrono::duration<double>(config.tickets.ticket_life).count())
      .member_uint64("audit_bytes_max", config.audit.audit_bytes_max)
      .member_uint64("audit_files_max", config.audit.audit_files_max)
      .end_object()
      .end_object();
}

/// Every limit of the table, what it is here, and how often a request was refused by it.
void put_table(JsonWriter& writer, const std::vector<LimitValue>& limits,
               const std::map<std::string_view, std::uint64_t>& refusals) {
  writer.key("table").begin_array();
  for (const LimitValue& limit : limits) {
    const auto refused = refusals.find(limit.spec->name);
    writer.begin_object().member("name", limit.spec->name);
    writer.member("unit", to_string(limit.spec->unit)).key("value");
    if (limit.value) {
      writer.number(*limit.value);
    } else {
      writer.null();
    }
    writer.member_bool("fixed", limit.spec->fixed)
        .member_uint64("refused", refused == refusals.end() ? 0 : refused->second)
        .end_object();
  }
  writer.end_array();
}

}  // namespace

Api::Answer Api::get_limits(ApiCall*) {
  std::size_t phases[5] = {};
  std::map<int, std::uint64_t> memory;  // by process
  for (const PooledAgent& agent : context_.pool.agents()) {
    ++phases[static_cast<unsigned char>(agent.phase)];
    memory[agent.process] = std::max(memory[agent.process], agent.memory_bytes);
  }
  std::uint64_t bytes = 0;
  for (const auto& [process, used] : memory) bytes += used;
  const auto count = [&phases](AgentPhase phase) {
    return static_cast<std::uint64_t>(phases[static_cast<unsigned char>(phase)]);
  };
  const PoolLimits& limits = context_.pool.limits();
  const PoolStats& stats = context_.pool.stats();
  const auto seconds = [](Duration time) { return std::chrono::duration<double>(time).count(); };
  std::string body;
  JsonWriter writer(body);
  writer.begin_object()
      .key("agents")
      .begin_object()
      .member_uint64("live", count(AgentPhase::starting) + count(AgentPhase::idle) +
                                 count(AgentPhase::busy) + count(AgentPhase::ending))
      .member_uint64("starting", count(AgentPhase::starting))
      .member_uint64("idle", count(AgentPhase::idle))
      .member_uint64("busy", count(AgentPhase::busy))
      .member_uint64("ending", count(AgentPhase::ending))
      .member_uint64("waiting", count(AgentPhase::waiting))
      .member_uint64("memory_bytes", bytes)
      .member_uint64("starts", stats.starts)
      .member_uint64("refused", stats.refused)
      .key("evicted")
      .begin_object();
  for (const auto& [limit, times] : stats.evicted) writer.member_uint64(limit, times);
  writer.end_object()
      .key("limits")
      .begin_object()
      .member_uint64("agents_live_max", limits.agents_live_max)
      .member_uint64("agents_per_project_max", limits.agents_per_project_max)
      .member_uint64("agents_memory_max", limits.agents_memory_max)
      .key("agents_idle_ttl")
      .number(seconds(limits.agents_idle_ttl))
      .member_uint64("agents_starting_max", limits.agents_starting_max)
      .member_uint64("starts_waiting_max", limits.starts_waiting_max)
      .key("start_wait_max")
      .number(seconds(limits.start_wait_max))
      .end_object()
      .end_object();
  put_gate(writer, gate_);
  put_table(writer, info_.limits, refusals_);
  writer.end_object();
  co_return json_response(200, std::move(body));
}

}  // namespace berth::server
