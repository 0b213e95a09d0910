// server/sessions/tool_calls.h — what is known of an agent's tool calls: the one place that follows
// them, for a live turn, for a turn that a crash cut off and for the story of a session.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/json_doc.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::server {

struct ToolCall {
  std::string id;
  std::string title;
  std::string kind;    ///< ACP's ToolKind; empty while it is not known.
  std::string status;  ///< As the agent said it last.
  std::vector<std::string> paths;
  std::string command;  ///< Of a shell tool, if the agent tells it.
  bool has_result = false;
  TimePoint began{};  ///< When it was heard of first, where somebody says when.
};

/// The tool calls of one turn, in the order in which they were opened. Plain data, no clock.
class ToolCalls {
 public:
  /// `update` is an ACP `tool_call` or `tool_call_update` (or the `toolCall` of a permission
  /// request), heard at `now`; other objects are left alone. What it does not name stays as it was.
  /// The call if it has its result by this, good until the next call; else null.
  const ToolCall* note(const JsonView& update, TimePoint now = {});
  /// One that is known from elsewhere and not here.
  void add(ToolCall call) { calls_.push_back(std::move(call)); }
  const ToolCall* find(std::string_view id) const;
  const std::vector<ToolCall>& all() const { return calls_; }
  /// Those without a recorded result.
  std::vector<ToolCall> open() const;
  std::vector<std::string> open_ids() const;
  void clear() { calls_.clear(); }

 private:
  std::vector<ToolCall> calls_;
};

/// What `update` alone says of its call; a part of it may be missing.
ToolCall read_tool_call(const JsonView& update);

}  // namespace berth::server
