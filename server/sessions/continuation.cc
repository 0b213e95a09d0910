#include <berth/server/sessions/continuation.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/sessions/frames.h>
#include <berth/server/sessions/tool_calls.h>

#include <algorithm>
#include <map>

namespace berth::server {

namespace {

constexpr std::size_t kWholeTurns = 4;
constexpr std::size_t kDigestBytes = 200;
constexpr std::size_t kAnswerKeptMax = 64 * 1024;  // of one turn, while reading

/// Cuts at a UTF-8 boundary.
std::string_view shorten(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xC0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max);
}

/// Reads the log into turns.
class Storyteller {
 public:
  void take(const Frame& frame) {
    const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
    if (!doc.has_value()) return;
    const JsonView root = doc->root();
    if (frame.type == "turn.queued") {
      ToldTurn& told = turn(root);
      for (const JsonView& block : root.elements("data.prompt")) {
        if (const auto text = block.get_string("text")) told.prompt += *text;
      }
    } else if (frame.type == "turn.ended") {
      turn(root).ending = root.get_string("data.state").value_or("");
    } else if (frame.type == "update") {
      take_update(root);
    }
  }

  std::vector<ToldTurn> finish() {
    std::vector<ToldTurn> turns;
    for (const std::string& id : order_) {
      ToldTurn& told = turns_[id];
      if (told.ending.empty()) continue;  // the turn that is being asked now
      for (const ToolCall& call : calls_[id].all()) {
        told.tools.push_back(call.title + ": " +
                             (call.has_result ? call.status : "no recorded result"));
      }
      turns.push_back(std::move(told));
    }
    return turns;
  }

 private:
  ToldTurn& turn(const JsonView& root) {
    const std::string id(root.get_string("turn").value_or(""));
    const auto [at, fresh] = turns_.try_emplace(id);
    if (fresh) order_.push_back(id);
    return at->second;
  }

  void take_update(const JsonView& root) {
    if (!root.get_string("turn").has_value()) return;
    const std::string_view kind = root.get_string("data.sessionUpdate").value_or("");
    ToldTurn& told = turn(root);
    if (kind == "agent_message_chunk") {
      const std::string_view text = root.get_string("data.content.text").value_or("");
      if (told.answer.size() < kAnswerKeptMax) told.answer += text;
    } else if (kind == "tool_call" || kind == "tool_call_update") {
      calls_[std::string(root.get_string("turn").value_or(""))].note(root.find("data"));
    }
  }

  std::vector<std::string> order_;
  std::map<std::string, ToldTurn> turns_;
  std::map<std::string, ToolCalls> calls_;
};

std::string tell_whole(std::size_t number, const ToldTurn& turn) {
  std::string out =
      "## Turn " + std::to_string(number) + " (" + turn.ending + ")\nUser: " + turn.prompt;
  for (const std::string& tool : turn.tools) out += "\nTool call: " + tool;
  if (!turn.answer.empty()) out += "\nAssistant: " + turn.answer;
  return out + "\n\n";
}

std::string tell_short(std::size_t number, const ToldTurn& turn) {
  return "## Turn " + std::to_string(number) + " (" + turn.ending +
         "), shortened\nUser: " + std::string(shorten(turn.prompt, kDigestBytes)) +
         "\nAssistant: " + std::string(shorten(turn.answer, kDigestBytes)) + "\n\n";
}

/// Reads the log page by page; `take` is called for each frame up to `last_seq`.
template <typename Take>
Task<Result<void>> walk_log(SessionContext& context, SessionNo session, std::uint64_t after,
                            std::uint64_t last_seq, Take take) {
  const std::size_t page_bytes = context.limits.page_bytes;
  while (after < last_seq) {
    Result<EventPage> page = co_await context.read([session, after, page_bytes](Store& store) {
      return store.read_events(session, after, page_bytes);
    });
    if (!page.has_value()) co_return fail(std::move(page.error()));
    if (page->first_seq == 0) break;
    std::string_view frames = frames_after(page->frames, page->first_seq, after);
    for (Frame frame; next_frame(frames, frame) && frame.seq <= last_seq;) take->take(frame);
    after = page->last_seq;
  }
  co_return Result<void>();
}

class OpenCalls {
 public:
  void take(const Frame& frame) {
    if (frame.type != "update") return;
    const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
    if (doc.has_value()) calls.note(doc->root().find("data"));
  }
  ToolCalls calls;
};

}  // namespace

std::string tell(const std::vector<ToldTurn>& turns, std::size_t bytes_max) {
  std::string head =
      "This session continues an earlier one whose memory you do not have. What follows is its "
      "record. Do not repeat "
      "actions merely because they are listed; the working folder already holds their effects.\n\n";
  if (turns.empty()) return head;
  // The newest turns are told first and whole, then the first request; what room is left is for the
  // digest.
  std::string first = turns.size() > kWholeTurns ? tell_whole(1, turns.front()) : std::string();
  first = std::string(shorten(first, bytes_max / 4));
  std::size_t left =
      bytes_max > head.size() + first.size() ? bytes_max - head.size() - first.size() : 0;
  std::vector<std::string> tail;
  const std::size_t lower = first.empty() ? 0 : 1;
  for (std::size_t i = turns.size(); i-- > lower && left > 0;) {
    const bool whole = turns.size() - i <= kWholeTurns;
    std::string text = whole ? tell_whole(i + 1, turns[i]) : tell_short(i + 1, turns[i]);
    if (text.size() > left) text = tell_short(i + 1, turns[i]);
    if (text.size() > left) break;
    left -= text.size();
    tail.push_back(std::move(text));
  }
  std::string out = std::move(head) + first;
  if (tail.size() + lower < turns.size()) out += "(turns left out for their size)\n\n";
  for (auto it = tail.rbegin(); it != tail.rend(); ++it) out += *it;
  return out;
}

Task<Result<std::string>> build_continuation(SessionContext& context, SessionNo session,
                                             std::uint64_t last_seq) {
  Storyteller teller;
  Result<void> read = co_await walk_log(context, session, 0, last_seq, &teller);
  if (!read.has_value()) co_return fail(std::move(read.error()));
  co_return tell(teller.finish(), context.limits.continuation_bytes_max);
}

std::string with_continuation(std::string_view story, std::string_view blocks) {
  std::string out;
  const Result<JsonDoc> doc = JsonDoc::parse(blocks);
  JsonWriter writer(out);
  writer.begin_array().begin_object().member("type", "text").member("text", story).end_object();
  if (doc.has_value()) {
    for (const JsonView& block : doc->root().elements()) writer.raw(block.raw());
  }
  writer.end_array();
  return out;
}

Task<Result<std::vector<std::string>>> find_open_tool_calls(SessionContext& context,
                                                            SessionNo session,
                                                            std::uint64_t after) {
  OpenCalls calls;
  Result<void> read = co_await walk_log(context, session, after, ~std::uint64_t{0}, &calls);
  if (!read.has_value()) co_return fail(std::move(read.error()));
  co_return calls.calls.open_ids();
}

}  // namespace berth::server
