// server/sessions/usage.h — tokens, cost and context of turns, agents and sessions, each counted
// once.
#pragma once

#include <berth/core/json_doc.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace berth::server {

/// Sums over turns. The names in JSON are those of ACP's `usage`.
struct Usage {
  static constexpr std::array<std::string_view, 6> kTokens = {
      "inputTokens",   "outputTokens",     "totalTokens",
      "thoughtTokens", "cachedReadTokens", "cachedWriteTokens"};

  std::int64_t turns = 0;  ///< That were sent to an agent.
  std::array<std::int64_t, 6> tokens{};
  std::map<std::string, std::int64_t> cost;  ///< Currency to billionths.

  void add(const Usage& other);
  /// {"turns","inputTokens",...,"cost":[{"amount","currency"}]}
  std::string json() const;
};

/// What an agent's messages say of one binding's consumption.
///
/// Two sources say the same: the answer to a prompt (of this turn) and `usage_update` (the cost of
/// the native session so far, and the context in use). What the second says is counted as the
/// difference to what it said before, also over restarts, and not at all for an agent whose answers
/// carry the cost.
class UsageMeter {
 public:
  /// `stored` is what stored() gave before; empty for a new binding.
  explicit UsageMeter(std::string_view stored);

  /// A `usage_update`. True when the sums changed because no turn runs that it could belong to.
  bool note_update(const JsonView& update, bool in_turn);
  /// The usage of the turn that ends, as JSON to show, empty if nothing is known; `reported` is the
  /// agent's own, or empty. Adds it to the sums: once a turn.
  std::string end_turn(std::string_view reported);
  /// Another native session counts its cost from zero.
  void forget_native_session() { seen_.clear(); }

  const Usage& sums() const { return sums_; }
  /// {"used","size"}, or empty.
  std::string context_json() const;
  std::string stored() const;

 private:
  Usage sums_;
  std::map<std::string, std::int64_t> seen_;     // what the native session has cost, as told last
  std::map<std::string, std::int64_t> pending_;  // of the running turn
  std::int64_t context_used_ = -1;
  std::int64_t context_size_ = 0;
  bool reports_cost_ = false;
};

}  // namespace berth::server
