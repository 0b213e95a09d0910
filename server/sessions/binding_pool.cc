// An agent in the pool: what it is to others there, and how it makes room.
#include <berth/core/json_writer.h>
#include <berth/server/sessions/binding.h>
#include <berth/server/sessions/session.h>

namespace berth::server {

PooledAgent Binding::pooled() const {
  const AgentProfile* profile = context_.agents.find(row_.agent);
  PooledAgent facts;
  facts.project = session_.row().project;
  facts.process = row_.pid != 0 || port_ == nullptr ? row_.pid : port_->process().pid;
  facts.may_start = !joins_;
  facts.pinned = profile->pinned;
  facts.since = since_;
  facts.memory_bytes = last_signs_.memory_bytes;
  facts.wedged = diagnosis_.health == Health::stalled;
  // Nobody joins a process of an old generation: those that are left there are among themselves.
  const bool joinable = port_ == nullptr || port_->takes_others();
  if (serves_many(*profile) && joinable) facts.shared_by = profile->name;
  if (profile->driver == Driver::acp) facts.seats_max = profile->sessions_per_process;
  const bool needed = session_.needs(row_.agent);
  if (waits_to_start()) {
    facts.phase = AgentPhase::waiting;
    facts.warming_up = !needed;
    facts.not_before = not_before_;
  } else if (ending_) {
    facts.phase = AgentPhase::ending;
  } else if (attaching_) {
    facts.phase = AgentPhase::starting;
  } else {
    facts.phase = needed ? AgentPhase::busy : AgentPhase::idle;
  }
  return facts;
}

Result<void> Binding::check_start() const {
  if (needs_decision() || retry_.started() || waits_to_start()) return {};
  if (!gone_.is_set() && !ending_) return {};
  PooledAgent candidate = pooled();
  candidate.phase = AgentPhase::waiting;
  candidate.warming_up = false;
  candidate.not_before = not_before_;
  candidate.since = context_.reactor().clock().now();
  return context_.pool.check(candidate);
}

void Binding::rest() {
  since_ = context_.reactor().clock().now();
  judge();
  if (waits_to_start()) {
    context_.pool.gone(*this);
  } else {
    context_.pool.rested(*this);
  }
}

void Binding::leave_pool() {
  gone_.set();
  context_.pool.gone(*this);
}

/// What ends again and again without a word of an answer is not started at once each time.
void Binding::note_crash() {
  ++crashes_;
  not_before_ = context_.reactor().clock().now() + crash_wait(crashes_, context_.pool.limits());
}

void Binding::on_start_refused(const Error& error) {
  session_.on_agent_lost(*this, error.message);
}

void Binding::on_eviction(std::string_view limit) {
  if (ending_ || session_.needs(row_.agent)) return;
  const auto idle = std::chrono::duration_cast<std::chrono::milliseconds>(
      context_.reactor().clock().now() - since_);
  std::string data;
  JsonWriter(data)
      .begin_object()
      .member("limit", limit)
      .member_int64("idle_ms", idle.count())
      .end_object();
  session_.append_to({}, "agent.evicted", row_.agent, data);
  replace_ = diagnosis_.health == Health::stalled && context_.agents.find(row_.agent)->warm;
  end(false);
}

}  // namespace berth::server
