#include <berth/server/sessions/health.h>

#include <algorithm>

namespace berth::server {

namespace {

constexpr Duration kLookLeast = std::chrono::milliseconds(50);
constexpr Duration kLookMost = std::chrono::seconds(15);

std::string seconds_text(Duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + " s";
}

}  // namespace

std::string_view to_string(Health health) {
  switch (health) {
    case Health::well:
      return "well";
    case Health::quiet:
      return "quiet";
    case Health::stalled:
      return "stalled";
  }
  return "well";
}

Diagnosis diagnose(const HealthFacts& facts, TimePoint now, Duration stall_after,
                   Duration ping_max) {
  if (facts.reading_held) return {};
  if (!facts.turn_runs) {
    if (facts.unanswered_since && now - *facts.unanswered_since >= ping_max) {
      return {Health::stalled, "it has nothing to do and has not answered a ping for " +
                                   seconds_text(now - *facts.unanswered_since)};
    }
    if (!facts.stopped_since || now - *facts.stopped_since < stall_after) return {};
    return {Health::stalled,
            "its process is stopped, for " + seconds_text(now - *facts.stopped_since) + " already"};
  }
  const Duration silence = now - facts.heard;
  if (silence < stall_after) return {};
  std::string why = "nothing was heard of it for " + seconds_text(silence);
  if (facts.stopped_since) return {Health::stalled, why + ", its process is stopped"};
  const Duration rest = now - std::max(facts.worked, facts.heard);
  if (rest < stall_after) return {Health::quiet, why + ", but it uses the processor"};
  return {Health::stalled, why + ", and it used no processor time for " + seconds_text(rest)};
}

Duration look_interval(Duration stall_after) {
  return std::clamp(stall_after / 4, kLookLeast, kLookMost);
}

}  // namespace berth::server
