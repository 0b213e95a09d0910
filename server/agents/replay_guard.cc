#include <berth/server/agents/replay_guard.h>

#include <berth/core/json_doc.h>

#include <algorithm>
#include <array>
#include <utility>

namespace berth::server {

namespace {

constexpr std::string_view kUserMessage = "user_message_chunk";
constexpr std::string_view kAgentMessage = "agent_message_chunk";

}  // namespace

bool is_state_update(std::string_view kind) {
  constexpr std::array<std::string_view, 5> kinds = {"available_commands_update",
                                                     "current_mode_update", "config_option_update",
                                                     "session_info_update", "usage_update"};
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

void ReplayGuard::reset() {
  *this = ReplayGuard(held_max_);
}

void ReplayGuard::begin(Said last) {
  reset();
  phase_ = Phase::asked;
  last_ = std::move(last);
}

void ReplayGuard::answered(bool not_over) {
  phase_ = Phase::restored;
  after_answer_ = not_over;
}

void ReplayGuard::prompted(std::string_view blocks) {
  if (phase_ == Phase::off) return;
  if (phase_ == Phase::restored) {
    const bool complete = marked_ || (!last_.text.empty() && seen_.text == last_.text);
    suspect_ = after_answer_ && !complete;
  }
  phase_ = Phase::turn;
  prompt_.clear();
  const Result<JsonDoc> doc = JsonDoc::parse(blocks);
  if (!doc.has_value()) return;
  for (const JsonView& block : doc->root().elements()) {
    append_said(prompt_, block.get_string("text").value_or(""));
  }
}

ReplayGuard::Fate ReplayGuard::take(const AgentUpdate& update) {
  if (phase_ == Phase::off || is_state_update(update.kind)) return Fate::show;
  if (phase_ == Phase::turn) return in_turn(update);
  if (phase_ == Phase::idle) {
    suspect_ = suspect_ || update.kind == kUserMessage;
    if (!suspect_) return Fate::show;
  }
  after_answer_ = after_answer_ || phase_ == Phase::restored;
  return replayed(update);
}

ReplayGuard::Fate ReplayGuard::replayed(const AgentUpdate& update) {
  if (update.kind == kUserMessage) {
    seen_ = {};
  } else {
    seen_.note(update);
  }
  return Fate::drop;
}

ReplayGuard::Fate ReplayGuard::in_turn(const AgentUpdate& update) {
  if (update.kind == kUserMessage) {
    if (!suspect_ && is_prompt(update))
      return Fate::show;  // some agents repeat what they were told
    suspect_ = true;
    held_.clear();
    held_bytes_ = 0;
    return replayed(update);
  }
  if (!suspect_) return Fate::show;
  held_.push_back({std::string(update.update), std::string(update.kind),
                   std::string(update.tool_call_id), update.has_raw_cr});
  held_bytes_ += update.update.size();
  return held_bytes_ > held_max_ ? Fate::release : Fate::hold;
}

bool ReplayGuard::is_prompt(const AgentUpdate& update) const {
  std::string text;
  append_said(text, text_in(update.update));
  return !text.empty() && text == prompt_;
}

/// How many of what is held are the rest of the last answer of the history. 0 when nothing new
/// would be left: the agent may well say the same again.
std::size_t ReplayGuard::end_of_last_answer() const {
  std::string text = seen_.text;
  std::size_t end = 0;
  for (std::size_t at = 0; at < held_.size(); ++at) {
    const Update& update = held_[at];
    if (!update.tool_call_id.empty()) {
      if (!last_.tool_calls.contains(update.tool_call_id)) return end;
      end = at + 1;
    } else if (update.kind == kAgentMessage) {
      append_said(text, text_in(update.update));
      if (text.size() >= Said::kTextMax || !last_.text.starts_with(text)) return end;
      if (text == last_.text) end = at + 1;
    }
  }
  return 0;
}

std::vector<ReplayGuard::Update> ReplayGuard::release() {
  const auto end = static_cast<std::ptrdiff_t>(end_of_last_answer());
  held_.erase(held_.begin(), held_.begin() + end);
  held_bytes_ = 0;
  suspect_ = false;
  seen_ = {};
  return std::exchange(held_, {});
}

std::vector<ReplayGuard::Update> ReplayGuard::turn_over() {
  if (phase_ == Phase::turn) phase_ = Phase::idle;
  return release();
}

}  // namespace berth::server
