// server/agents/said.h — what an agent said in answer to one prompt, as far as a replay of it can
// be recognised.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <string_view>

namespace berth::server {

struct AgentUpdate;

struct Said {
  static constexpr std::size_t kTextMax = std::size_t{64} << 10;

  std::string text;                  ///< Of its messages, without white space, cut at kTextMax.
  std::set<std::string> tool_calls;  ///< Ids.

  bool empty() const { return text.empty() && tool_calls.empty(); }
  void note(const AgentUpdate& update);
};

/// Appends `text` as Said::text holds it.
void append_said(std::string& out, std::string_view text);

/// The text of a message's update (raw JSON) as the agent wrote it, before any output filter.
std::string text_in(std::string_view update);

}  // namespace berth::server
