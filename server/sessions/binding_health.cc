// An agent's signs of life: what is heard of it, what its process does, and what follows.
#include <berth/server/sessions/binding.h>
#include <berth/server/sessions/session.h>

#include <algorithm>
#include <utility>

namespace berth::server {

/// A turn of it runs that waits for nobody else.
bool Binding::owes_words() const {
  if (!runs_turn()) return false;
  const TurnState state = session_.current_turn()->state;
  return state == TurnState::running || state == TurnState::stopping;
}

std::optional<Look> Binding::wanted_look() const {
  if (!live() || row_.pid == 0) return {};
  const bool all = context_.pool.limits().agents_memory_max > 0;
  const io::ProcessId process{row_.pid, row_.start_time};
  if (!owes_words()) return Look{process, all};
  // Who speaks needs no look.
  const Duration silence = context_.reactor().clock().now() - heard_;
  if (!all && silence < context_.limits.stall_after / 2) return {};
  return Look{process, true};
}

void Binding::on_look(const io::VitalSigns& signs) {
  const TimePoint now = context_.reactor().clock().now();
  if (signs.cpu_microseconds != last_signs_.cpu_microseconds) worked_ = now;
  if (!signs.stopped) {
    stopped_since_.reset();
  } else if (!stopped_since_) {
    stopped_since_ = now;
  }
  last_signs_ = signs;
  ping_when_idle();
  const std::optional<TimePoint> unanswered = unanswered_since();
  const bool overdue = unanswered && now - *unanswered >= context_.limits.ping_max;
  unanswered_looks_ = overdue ? unanswered_looks_ + 1 : 0;
  judge();
}

/// Since when the answer to a ping is missing; nothing for an agent that never answered one, or
/// that had something else to do since it was asked.
std::optional<TimePoint> Binding::unanswered_since() const {
  if (!live() || session_.needs(row_.agent)) return {};
  const PingState pings = port_->pings();
  if (pings.answered == 0 || !pings.open_since) return {};
  return std::max({*pings.open_since, heard_, since_});
}

void Binding::ping_when_idle() {
  const Duration every = context_.limits.ping_every;
  if (every == Duration::zero() || !live() || session_.needs(row_.agent)) return;
  if (!context_.agents.find(row_.agent)->pinged) return;
  const TimePoint now = context_.reactor().clock().now();
  if (now - pinged_ >= every && port_->ping()) pinged_ = now;
}

/// A sign of life ends a stall at once. Who speaks is not looked at, so that what the last look
/// said is old.
void Binding::hear() {
  stopped_since_.reset();
  heard_ = context_.reactor().clock().now();
  if (diagnosis_.health != Health::well) judge();
}

void Binding::judge() {
  HealthFacts facts;
  facts.turn_runs = owes_words();
  facts.reading_held = context_.journal.full_for(session_);
  facts.heard = heard_;
  facts.worked = worked_;
  facts.stopped_since = stopped_since_;
  // After a pause of berth itself the answer may be there and not read yet: one look is no proof.
  if (unanswered_looks_ > 1) facts.unanswered_since = unanswered_since();
  const SessionLimits& limits = context_.limits;
  const Diagnosis before = std::exchange(
      diagnosis_,
      diagnose(facts, context_.reactor().clock().now(), limits.stall_after, limits.ping_max));
  if (diagnosis_.health == Health::stalled) last_trouble_ = diagnosis_.why;
  if (before.health == diagnosis_.health) return;
  if (owes_words()) {
    session_.on_health(*this, diagnosis_);
  } else if (diagnosis_.health == Health::stalled) {
    context_.pool.reconsider();
  }
}

}  // namespace berth::server
