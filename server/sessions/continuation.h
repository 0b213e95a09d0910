// server/sessions/continuation.h — what an agent without memory of a session is told of it, read
// from the log.
#pragma once

#include <berth/core/result.h>
#include <berth/core/task.h>
#include <berth/server/sessions/context.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// The story of a session up to `last_seq`, as text: the first request and the last turns whole,
/// those between as a digest, tool calls without a recorded result named; at most
/// limits.continuation_bytes_max.
Task<Result<std::string>> build_continuation(SessionContext& context, SessionNo session,
                                             std::uint64_t last_seq);

/// The prompt's content blocks with the story as a text block before them.
std::string with_continuation(std::string_view story, std::string_view blocks);

/// Tool calls that were opened after `after` and never got a result.
Task<Result<std::vector<std::string>>> find_open_tool_calls(SessionContext& context,
                                                            SessionNo session, std::uint64_t after);

/// One past turn as the continuation tells it. Pure, for tests.
struct ToldTurn {
  std::string prompt;
  std::string answer;
  std::vector<std::string> tools;  ///< "write notes.txt: completed"
  std::string ending;
};
std::string tell(const std::vector<ToldTurn>& turns, std::size_t bytes_max);

}  // namespace berth::server
