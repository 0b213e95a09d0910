#include <berth/server/sessions/log_retention.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/core/text.h>
#include <berth/server/sessions/transcript.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kFrameMax = 64 * 1024;
constexpr std::size_t kPromptMax = kFrameMax / 2;
constexpr std::size_t kTextMax = 4 * 1024 * 1024;

/// The frame of a request, whose prompt may have megabytes: a story tells its beginning.
std::string bounded(const Frame& frame, const JsonView& root) {
  if (frame.bytes.size() <= kFrameMax) return std::string(frame.bytes);
  std::string prompt;
  for (const JsonView& block : root.elements("data.prompt")) {
    prompt += text_of_block(block);
    if (prompt.size() > kPromptMax) break;
  }
  prompt.resize(shorten(prompt, kPromptMax).size());
  std::string data;
  JsonWriter writer(data);
  writer.begin_object().member_int64("number", root.get_int64("data.number").value_or(0));
  writer.key("prompt").begin_array().begin_object().member("type", "text").member("text", prompt);
  writer.end_object().end_array().end_object();
  std::string out;
  append_frame(out,
               {frame.seq, root.get_string("time").value_or(""), frame.type,
                root.get_string("turn").value_or(""), root.get_string("agent").value_or("")},
               data);
  return out;
}

}  // namespace

std::optional<LogCutPoint> where_to_cut(const LogLimits& limits, const LogExtent& log,
                                        std::uint64_t fits_from, std::int64_t now_ms) {
  std::uint64_t wanted = fits_from;
  if (limits.events_max > 0 && log.last_seq > limits.events_max) {
    wanted = std::max<std::uint64_t>(wanted, log.last_seq - limits.events_max + 1);
  }
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(limits.events_age_max);
  std::optional<LogCutPoint> cut;
  for (std::size_t next = 1; next + kTurnsKept <= log.turns.size(); ++next) {
    const LogTurn& turn = log.turns[next - 1];
    if (turn.ended_ms == 0) break;
    const std::uint64_t begins = next == 1 ? log.first_seq : turn.started_seq;
    const bool too_old = age.count() > 0 && turn.ended_ms < now_ms - age.count();
    if (!too_old && begins >= wanted) break;
    cut = {log.turns[next].started_seq, log.turns[next].number};
  }
  return cut;
}

LogHead::LogHead(std::string_view before) {
  for (Frame frame; next_frame(before, frame);) take(frame);
}

void LogHead::take(const Frame& frame) {
  if (frame.type == "agent.forgot") {  // nothing before it is told any more
    first_.clear();
    first_frames_.clear();
    plan_.clear();
    return;
  }
  const bool may_be_plan =
      frame.type == "update" && frame.data.find("\"plan\"") != std::string_view::npos;
  if (!may_be_plan && !frame.type.starts_with("turn.")) return;
  const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
  if (!doc.has_value()) return;
  const JsonView root = doc->root();
  if (may_be_plan) {
    const bool plan = root.get_string("data.sessionUpdate") == "plan";
    if (plan) plan_ = frame.bytes.size() <= kFrameMax ? frame.bytes : std::string_view();
    return;
  }
  const std::string turn(root.get_string("turn").value_or(""));
  if (frame.type == "turn.queued" || frame.type == "turn.edited") {
    // In place of what was asked before; edits without a prompt change nothing of it.
    if (root.find("data.prompt").is_array()) waiting_[turn] = bounded(frame, root);
  } else if (frame.type == "turn.started") {
    auto asked = waiting_.extract(turn);
    if (!first_.empty()) return;
    first_ = turn;
    first_frames_ = (asked.empty() ? std::string() : asked.mapped()) + std::string(frame.bytes);
  } else if (frame.type == "turn.ended") {
    waiting_.erase(turn);  // it was never sent
    if (turn == first_ && frame.bytes.size() <= kFrameMax) first_frames_ += frame.bytes;
  }
}

std::string LogHead::text() const {
  std::string text = first_frames_ + plan_;
  for (const auto& [turn, frames] : waiting_) {
    if (text.size() + frames.size() <= kTextMax) text += frames;
  }
  return text;
}

}  // namespace berth::server
