// server/sessions/continuation.h — what an agent is told of a session it has no memory of, and the
// whole of it as a file; both read from the log.
#pragma once

#include <berth/core/result.h>
#include <berth/core/task.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/story.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// The story of a session up to `last_seq` for `request`, within limits.continuation_bytes_max. If
/// there is anything to tell, the full transcript is written to transcript_path() first and named
/// in the story (a transcript that cannot be written is not named, and costs nothing else).
Task<Result<Story>> build_continuation(SessionContext& context, SessionNo session, std::string key,
                                       std::uint64_t last_seq, StoryRequest request);

/// Where the transcript of a session is written: outside of its workspace, so that no agent commits
/// it.
std::string transcript_path(const SessionContext& context, std::string_view key);

/// What `agent` said in its last turn in which it said anything; empty when it never did, or the
/// log cannot be read.
Task<Said> read_last_said(SessionContext& context, SessionNo session, std::string agent);

/// What the agent said in a turn that has ended, bounded as in a story.
Task<Result<std::string>> read_answer(SessionContext& context, SessionNo session, TurnRow turn);

/// Tool calls that were opened after `after` and never got a result.
Task<Result<std::vector<std::string>>> find_open_tool_calls(SessionContext& context,
                                                            SessionNo session, std::uint64_t after);

}  // namespace berth::server
