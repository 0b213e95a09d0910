// server/agents/reports.h — JSON that more than one driver writes: updates in ACP's words, and what
// berth itself has to say of an agent.
#pragma once

#include <string>
#include <string_view>

namespace berth::server {

/// A chunk of text: `kind` is agent_message_chunk or agent_thought_chunk. `message_id` and `meta`
/// (raw JSON) are left out when empty.
std::string text_update(std::string_view kind, std::string_view text,
                        std::string_view message_id = {}, std::string_view meta = {});

/// What `berth/config_refused` says: which setting, and the error as raw JSON.
std::string config_refused(std::string_view what, std::string_view error_json);
/// The same in berth's own words.
std::string config_refused_because(std::string_view what, std::string_view why);

}  // namespace berth::server
