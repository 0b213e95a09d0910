// server/sessions/rows_json.h — rows as the JSON that docs/api.md promises.
#pragma once

#include <berth/server/sessions/story.h>
#include <berth/server/store/records.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

std::string_view to_string(SessionState state);
std::string_view to_string(TurnState state);
std::string_view to_string(BindingState state);
std::string_view to_string(InteractionState state);

/// What the actor knows beside the row.
struct SessionView {
  std::uint64_t first_seq = 1;
  std::uint64_t last_seq = 0;
  const TurnRow* turn = nullptr;
  std::size_t queued = 0;
  bool stalled = false;       ///< The turn shows no sign of life.
  std::size_t questions = 0;  ///< Interactions that are open.
  std::string_view kept;      ///< Why a closed session's worktree is there still.
};

std::string session_json(const SessionRow& row, const SessionView& view);
/// A line of a list of sessions: what changes seldom, and how its turns stand.
std::string session_summary_json(const SessionRow& row, const SessionView& view);
std::string turn_json(const TurnRow& turn, std::string_view session_id);
/// What its agent is told in `_meta` of the prompt: {"traceparent","tracestate"}, the names that
/// ACP keeps for W3C's trace context. Empty without a trace.
std::string prompt_meta_json(const TurnRow& turn);
std::string turn_started_json(const TurnRow& turn);
/// A turn that waits, with its prompt.
std::string input_json(const TurnRow& turn, std::string_view session_id);
std::string interaction_json(const InteractionRow& row);

// Data of berth's own events.
/// `fallback`: why the workspace is not of the mode that was asked for.
std::string session_opened_json(const SessionRow& row, std::string_view fallback);
std::string turn_queued_json(const TurnRow& turn);
/// `new_prompt`: not only its place in the queue or its agent changed.
std::string turn_edited_json(const TurnRow& turn, bool new_prompt);
std::string turn_ended_json(const TurnRow& turn, const std::vector<std::string>& open_tool_calls);
std::string turn_steered_json(const TurnRow& turn);
std::string interaction_opened_json(const InteractionRow& row);
std::string interaction_closed_json(const InteractionRow& row);
/// `what` is "continuation" or "missed".
std::string agent_told_json(const Story& story, std::string_view what);
/// {"permission","rules"}
std::string policy_json(const SessionRow& row);

}  // namespace berth::server
