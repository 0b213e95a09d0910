// server/sessions/interactions.h — what an answer to a question means: pure decisions over the
// agent's request.
#pragma once

#include <berth/core/result.h>
#include <berth/server/agents/agent_port.h>
#include <berth/server/sessions/rules.h>
#include <berth/server/store/records.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::server {

/// The option that a policy chooses ("allow": allow_once, else allow_always; "reject": reject_once,
/// else reject_always); empty when the policy asks a person, or the agent offers no such option.
std::string choose_by_policy(PolicyAction action, std::string_view request);

/// The id of the option that a person named by id or kind. Error `invalid` ("unknown_option").
Result<std::string> choose_option(std::string_view request, std::string_view option_id,
                                  std::string_view kind);

/// What a person says to a question.
struct AnswerRequest {
  enum class Action : std::uint8_t {
    choose,   ///< A permission's option, by `option_id` or by `kind`.
    accept,   ///< With `content`: an elicitation's form, or a client tool's result.
    decline,  ///< Asked and refused.
    cancel,   ///< Not answered at all.
  };
  std::string id;  ///< Of the interaction.
  Action action = Action::cancel;
  std::string option_id;
  std::string kind;
  std::string content;  ///< Raw JSON object, or empty.
};

/// An answer that fits its question.
struct Decided {
  AgentAnswer answer;  ///< What the agent is told.
  InteractionState state = InteractionState::answered;
  std::string json;  ///< What the row keeps; empty when cancelled.
};

/// Errors: `invalid` ("unknown_option", "bad_field") naming what does not fit.
Result<Decided> decide_answer(const InteractionRow& question, const AnswerRequest& request);

/// Checks the content of a form against the `requestedSchema` of an elicitation: required fields,
/// types, choices, lengths and ranges. Error `invalid` ("bad_field") naming the field.
Result<void> check_form(std::string_view schema, std::string_view content);

}  // namespace berth::server
