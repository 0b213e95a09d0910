#include <berth/server/sessions/story.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/core/text.h>
#include <berth/server/sessions/tool_calls.h>

#include <algorithm>
#include <map>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kWholeTurns = 4;
constexpr std::size_t kDigestBytes = 200;
constexpr std::size_t kKeptMax = 64 * 1024;  // of a prompt or an answer, while reading
constexpr std::size_t kBudgetMin = 2048;
constexpr std::size_t kLastWordsBytes = 2000;  // of an agent's own turn that was cut off
constexpr std::size_t kSpare = 128;            // for headings and the note on what was left out

void append_bounded(std::string& to, std::string_view text) {
  if (to.size() < kKeptMax) to += shorten(text, kKeptMax - to.size());
}

/// A block that is no text is named: the agent may find it in the transcript or the folder.
void append_block(std::string& to, const JsonView& block) {
  const std::string_view type = block.get_string("type").value_or("");
  if (type == "text") return append_bounded(to, block.get_string("text").value_or(""));
  std::string_view uri = block.get_string("uri").value_or("");
  if (uri.empty()) uri = block.get_string("resource.uri").value_or("");
  append_bounded(to, "[" + std::string(type) + (uri.empty() ? "" : " ") + std::string(uri) + "]");
}

}  // namespace

// --- reading ---

struct Storyteller::State {
  struct Turn {
    ToldTurn told;
    ToolCalls calls;
    bool started = false;
  };

  Turn& turn(const JsonView& root) {
    const auto [at, fresh] = turns.try_emplace(std::string(root.get_string("turn").value_or("")));
    if (fresh) at->second.told.agent = root.get_string("agent").value_or("");
    return at->second;
  }

  void begin(Turn& turn, const std::string& id) {
    turn.started = true;
    order.push_back(id);
    // What is neither first nor among the last will be digested: it need not be kept whole.
    if (order.size() > kWholeTurns + 2) {
      ToldTurn& old = turns[order[order.size() - kWholeTurns - 2]].told;
      old.prompt = shorten(old.prompt, kDigestBytes);
      old.answer = shorten(old.answer, kDigestBytes);
      old.prompt.shrink_to_fit();
      old.answer.shrink_to_fit();
    }
  }

  /// What was is not told any more; what waits its turn will be.
  void forget() {
    for (const std::string& id : order) turns.erase(id);
    order.clear();
    plan.clear();
  }

  void take_update(const JsonView& root) {
    const JsonView data = root.find("data");
    const std::string_view kind = data.get_string("sessionUpdate").value_or("");
    if (kind == "plan") {
      plan = data.raw("entries");
    } else if (root.get_string("turn").has_value()) {
      if (kind == "agent_message_chunk") {
        append_bounded(turn(root).told.answer, data.get_string("content.text").value_or(""));
      } else if (kind == "tool_call" || kind == "tool_call_update") {
        turn(root).calls.note(data);
      }
    }
  }

  std::vector<std::string> order;
  std::map<std::string, Turn, std::less<>> turns;
  std::string plan;
};

Storyteller::Storyteller() : state_(std::make_unique<State>()) {}
Storyteller::~Storyteller() = default;

void Storyteller::take(const Frame& frame) {
  if (frame.type == "agent.forgot") return state_->forget();
  if (frame.type != "update" && !frame.type.starts_with("turn.")) return;
  const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
  if (!doc.has_value()) return;
  const JsonView root = doc->root();
  if (frame.type == "update") return state_->take_update(root);
  State::Turn& turn = state_->turn(root);
  if (frame.type == "turn.queued" || frame.type == "turn.edited") {
    turn.told.number = root.get_int64("data.number").value_or(0);
    if (root.find("data.prompt").is_array()) turn.told.prompt.clear();
    for (const JsonView& block : root.elements("data.prompt")) {
      append_block(turn.told.prompt, block);
    }
  } else if (frame.type == "turn.started") {
    state_->begin(turn, std::string(root.get_string("turn").value_or("")));
  } else if (frame.type == "turn.ended") {
    turn.told.ending = root.get_string("data.state").value_or("");
  }
}

std::vector<ToldTurn> Storyteller::turns() {
  std::vector<ToldTurn> turns;
  for (const std::string& id : state_->order) {
    State::Turn& turn = state_->turns[id];
    if (turn.told.ending.empty()) continue;  // the turn that is being asked now
    for (const ToolCall& call : turn.calls.all()) {
      turn.told.tools.push_back(call.title + ": " +
                                (call.has_result ? call.status : "no recorded result"));
      if (!call.has_result) turn.told.open_tools.push_back(call.title);
    }
    turns.push_back(std::move(turn.told));
  }
  return turns;
}

std::string Storyteller::plan() const {
  const Result<JsonDoc> doc = JsonDoc::parse(state_->plan.empty() ? "[]" : state_->plan);
  if (!doc.has_value()) return {};
  std::string lines;
  bool open = false;
  for (const JsonView& entry : doc->root().elements()) {
    const std::string_view status = entry.get_string("status").value_or("pending");
    open = open || status != "completed";
    lines += "- [" + std::string(status) + "] " +
             std::string(entry.get_string("content").value_or("")) + "\n";
  }
  return open ? lines : std::string();
}

// --- telling ---

namespace {

std::string heading(const ToldTurn& turn, std::string_view note) {
  return "## Turn " + std::to_string(turn.number) + " (" + turn.agent + ", " + turn.ending +
         std::string(note) + ")\n";
}

/// What an agent that has the rest in its own memory may not have.
std::string tell_traces(const ToldTurn& turn) {
  std::string out = heading(turn, ", your own");
  if (!turn.answer.empty()) {
    std::string_view words = turn.answer;
    if (words.size() > kLastWordsBytes) words.remove_prefix(words.size() - kLastWordsBytes);
    while (!words.empty() && (static_cast<unsigned char>(words[0]) & 0xC0) == 0x80)
      words.remove_prefix(1);
    out += "Your last words were: " + std::string(words) + "\n";
  }
  return out + "\n";
}

std::string tell_whole(const ToldTurn& turn) {
  if (turn.is_own && turn.prompt.empty()) return tell_traces(turn);
  std::string out = heading(turn, "") + "User: " + turn.prompt;
  for (const std::string& tool : turn.tools) out += "\nTool call: " + tool;
  if (!turn.answer.empty()) out += "\nAssistant: " + turn.answer;
  return out + "\n\n";
}

std::string tell_short(const ToldTurn& turn, std::size_t each_max) {
  if (turn.is_own && turn.prompt.empty()) return tell_traces(turn);
  std::string out =
      heading(turn, ", shortened") + "User: " + std::string(shorten(turn.prompt, each_max));
  if (!turn.answer.empty()) {
    out += "\nAssistant: " + std::string(shorten(turn.answer, each_max));
  }
  return out + "\n\n";
}

std::string head_of(const StoryRequest& request, const std::vector<ToldTurn>& turns) {
  const bool own = std::any_of(turns.begin(), turns.end(), [](auto& turn) { return turn.is_own; });
  const bool others =
      std::any_of(turns.begin(), turns.end(), [](auto& turn) { return !turn.is_own; });
  std::string head;
  if (request.agent.empty()) {
    head =
        "This session continues an earlier one whose memory you do not have. What follows is its "
        "record.";
  } else if (others) {
    head =
        "Since your last turn, other agents worked in this session and in this folder. What "
        "follows is what you missed.";
    if (own) head += " A turn of your own that was cut off in its middle is among it.";
  } else {
    head =
        "Your last turn in this session was cut off in its middle. What follows was recorded of "
        "it; you may know more.";
  }
  head +=
      " Do not repeat actions merely because they are listed; the working "
      "folder already holds "
      "their effects.";
  if (request.cut) head += " Its oldest turns are not recorded any more.";
  if (!request.transcript.empty()) {
    head += " The full transcript is in the file " + request.transcript +
            ": read it if you need "
            "more than this.";
  }
  return head + "\n\n";
}

std::string open_calls_of(const std::vector<ToldTurn>& turns, std::size_t bytes_max) {
  std::string out;
  for (auto turn = turns.rbegin(); turn != turns.rend(); ++turn) {
    for (const std::string& title : turn->open_tools) {
      const std::string line = "- turn " + std::to_string(turn->number) + ": " + title + "\n";
      if (out.size() + line.size() > bytes_max) return out + "- (and more)\n";
      out += line;
    }
  }
  return out;
}

std::vector<ToldTurn> wanted(const std::vector<ToldTurn>& turns, const StoryRequest& request) {
  if (request.agent.empty()) return turns;
  std::vector<ToldTurn> missed;
  for (const ToldTurn& turn : turns) {
    if (turn.number <= request.after_turn) continue;
    if (turn.agent != request.agent) {
      missed.push_back(turn);
      continue;
    }
    if (turn.ending != "interrupted") continue;
    ToldTurn own = turn;
    own.is_own = true;
    if (request.own_turns == OwnTurns::traces) {
      if (own.open_tools.empty() && own.answer.empty()) continue;
      own.prompt.clear();
      own.tools.clear();
    }
    missed.push_back(std::move(own));
  }
  return missed;
}

/// The parts that are told whatever the turns weigh.
struct Around {
  std::string head;
  std::string first;
  bool first_whole = false;
  std::string tail;
  std::size_t size() const { return head.size() + first.size() + tail.size(); }
};

Around around(const std::vector<ToldTurn>& turns, std::string_view plan,
              const StoryRequest& request, std::size_t budget) {
  Around frame;
  frame.head = shorten(head_of(request, turns), budget / 2);
  if (request.agent.empty() && turns.size() > kWholeTurns) {
    const std::string whole = tell_whole(turns.front());
    frame.first_whole = whole.size() <= budget / 4;
    frame.first = frame.first_whole ? whole : tell_short(turns.front(), budget / 10);
  }
  if (!plan.empty()) {
    frame.tail += "## The plan as it stands\n" + std::string(shorten(plan, budget / 8)) + "\n";
  }
  const std::string open = open_calls_of(turns, budget / 8);
  if (!open.empty()) {
    frame.tail +=
        "## Tool calls without a recorded result\n"
        "They may have happened, in part or whole: look before you "
        "repeat them.\n" +
        open + "\n";
  }
  frame.tail += "The new request follows.\n";
  return frame;
}

}  // namespace

Story tell(const std::vector<ToldTurn>& all, std::string_view plan, const StoryRequest& request) {
  Story story;
  const std::vector<ToldTurn> turns = wanted(all, request);
  if (turns.empty()) return story;
  const std::size_t budget = std::max(request.bytes_max, kBudgetMin);
  const Around frame = around(turns, plan, request, budget);
  std::size_t left = budget > frame.size() + kSpare ? budget - frame.size() - kSpare : 0;
  // The newest are told first and whole; what room is left is for the digest of the others.
  std::vector<std::string> told;
  const std::size_t lower = frame.first.empty() ? 0 : 1;
  for (std::size_t i = turns.size(); i-- > lower;) {
    const bool recent = turns.size() - i <= kWholeTurns;
    std::string text = recent ? tell_whole(turns[i]) : tell_short(turns[i], kDigestBytes);
    bool whole = recent;
    if (recent && text.size() > left - left / 4 && i > lower) {
      text = tell_short(turns[i], std::max(left / 5, kDigestBytes));
      whole = false;
    }
    if (text.size() > left) {
      text = tell_short(turns[i], kDigestBytes);
      whole = false;
    }
    if (text.size() > left) break;
    left -= text.size();
    ++(whole ? story.whole : story.digested);
    told.push_back(std::move(text));
  }
  if (lower == 1) ++(frame.first_whole ? story.whole : story.digested);
  story.left_out = static_cast<int>(turns.size() - lower - told.size());
  story.own = static_cast<int>(
      std::count_if(turns.begin(), turns.end(), [](auto& turn) { return turn.is_own; }));
  story.transcript = request.transcript;
  story.from_turn = turns.front().number;
  story.to_turn = turns.back().number;
  story.text = frame.head + frame.first;
  if (story.left_out > 0) {
    story.text += "(" + std::to_string(story.left_out) + " turns left out for their size)\n\n";
  }
  for (auto text = told.rbegin(); text != told.rend(); ++text) story.text += *text;
  story.text += frame.tail;
  return story;
}

std::string with_story(std::string_view story, std::string_view blocks) {
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

}  // namespace berth::server
