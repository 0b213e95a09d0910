// An agent's signs of life: what is heard of it, what its process does, and what follows.
#include <berth/server/sessions/binding.h>
#include <berth/server/sessions/session.h>

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

void Binding::on_look(const VitalSigns& signs) {
  const TimePoint now = context_.reactor().clock().now();
  if (signs.cpu_microseconds != last_signs_.cpu_microseconds) worked_ = now;
  if (!signs.stopped) {
    stopped_since_.reset();
  } else if (!stopped_since_) {
    stopped_since_ = now;
  }
  last_signs_ = signs;
  judge();
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
  const Diagnosis before = std::exchange(
      diagnosis_, diagnose(facts, context_.reactor().clock().now(), context_.limits.stall_after));
  if (diagnosis_.health == Health::stalled) last_trouble_ = diagnosis_.why;
  if (before.health == diagnosis_.health) return;
  if (owes_words()) {
    session_.on_health(*this, diagnosis_);
  } else if (diagnosis_.health == Health::stalled) {
    context_.pool.reconsider();
  }
}

}  // namespace berth::server
