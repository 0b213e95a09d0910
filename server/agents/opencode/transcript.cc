#include <berth/server/agents/opencode/transcript.h>

#include <utility>

namespace berth::server::opencode {

namespace {

/// Deltas that wait for a snapshot; more are dropped, because the snapshot will hold them too.
constexpr std::size_t kHeldMax = std::size_t{1} << 20;
constexpr std::string_view kGapNote = "\n[a piece of the text was lost with the connection]\n";

constexpr std::uint64_t kDigestStart = 14695981039346656037ULL;

/// FNV-1a, continued: the digest of what was shown costs nothing to keep.
std::uint64_t digest_more(std::uint64_t digest, std::string_view bytes) {
  for (const char c : bytes) {
    digest ^= static_cast<unsigned char>(c);
    digest *= 1099511628211ULL;
  }
  return digest;
}

int tool_rank(std::string_view status) {
  if (status == "completed" || status == "error") return 3;
  return status == "running" ? 2 : 1;
}

}  // namespace

void Transcript::begin_turn() {
  parts_.clear();
  turn_ = Usage();
}

Transcript::Part& Transcript::part_of(std::string_view id) {
  const auto found = parts_.find(id);
  if (found != parts_.end()) return found->second;
  Part& part = parts_[std::string(id)];
  part.digest = kDigestStart;
  return part;
}

void Transcript::on_part(JsonView json, bool live) {
  const std::string_view id = json.get_string("id").value_or("");
  const std::string_view type = json.get_string("type").value_or("");
  if (id.empty()) return;
  if (type == "text" || type == "reasoning") {
    if (json.get_bool("synthetic").value_or(false)) return;
    Part& part = part_of(id);
    part.kind = type == "text" ? Kind::text : Kind::thought;
    on_text(part, id, json);
    // A snapshot of the stream stands in front of the deltas that come next.
    if (live && !part.ended) {
      const std::string_view text = json.get_string("text").value_or("");
      part.contiguous = text.size() == part.shown;
      if (part.contiguous) part.held.clear();
    }
  } else if (type == "tool") {
    on_tool(part_of(id), json);
  } else if (type == "step-finish") {
    on_step(part_of(id), json);
  }
}

void Transcript::on_text(Part& part, std::string_view id, JsonView json) {
  const std::string_view text = json.get_string("text").value_or("");
  const bool ended = json.find("time.end").present();
  const bool known_prefix = text.size() >= part.shown &&
                            digest_more(kDigestStart, text.substr(0, part.shown)) == part.digest;
  if (known_prefix) {
    show(part, id, text.substr(part.shown));
  } else if (ended && text.size() >= part.shown) {
    // What was shown is not what the agent keeps: say so instead of showing both.
    const bool thought = part.kind == Kind::thought;
    part.shown = text.size();
    part.digest = digest_more(kDigestStart, text);
    sink_.on_update(text_chunk(thought, id, text, true),
                    thought ? "agent_thought_chunk" : "agent_message_chunk", {});
  }
  // A shorter snapshot is an old one (or lost its last white space): nothing is taken back.
  if (ended) {
    part.ended = true;
    part.held = {};
  }
}

void Transcript::show(Part& part, std::string_view id, std::string_view text) {
  if (text.empty()) return;
  part.shown += text.size();
  part.digest = digest_more(part.digest, text);
  const bool thought = part.kind == Kind::thought;
  sink_.on_update(text_chunk(thought, id, text),
                  thought ? "agent_thought_chunk" : "agent_message_chunk", {});
}

void Transcript::on_delta(std::string_view part_id, std::string_view field, std::string_view delta,
                          bool repaired) {
  if (field != "text" || delta.empty()) return;
  Part& part = part_of(part_id);
  if (part.ended || part.kind == Kind::tool || part.kind == Kind::step) return;
  if (repaired) part.contiguous = false;
  if (part.contiguous) {
    show(part, part_id, delta);
  } else if (part.held.size() + delta.size() <= kHeldMax) {
    part.held += delta;
  }
}

void Transcript::on_stream_lost() {
  for (auto& [id, part] : parts_) part.contiguous = false;
}

void Transcript::flush() {
  for (auto& [id, part] : parts_) {
    if (part.held.empty() || part.ended) continue;
    // Whose type is not known is no answer: it must not look like one.
    if (part.kind == Kind::unknown) part.kind = Kind::thought;
    const std::string held = std::exchange(part.held, {});
    show(part, id, std::string(kGapNote) + held);
    part.ended = true;
  }
}

void Transcript::on_tool(Part& part, JsonView json) {
  part.kind = Kind::tool;
  const int rank = tool_rank(json.get_string("state.status").value_or(""));
  if (part.tool_rank == 3 || rank < part.tool_rank) return;  // older than what is known
  const std::string_view call = json.get_string("callID").value_or("");
  if (part.tool_rank == 0) sink_.on_update(tool_call(json), "tool_call", call);
  part.tool_rank = rank;
  if (rank == 1) return;
  const std::string update = tool_call_update(json);
  const std::uint64_t digest = digest_more(kDigestStart, update);
  if (digest == part.digest) return;
  part.digest = digest;
  sink_.on_update(update, "tool_call_update", call);
}

void Transcript::on_step(Part& part, JsonView json) {
  if (part.kind == Kind::step) return;  // counted
  part.kind = Kind::step;
  const Usage step = step_usage(json);
  turn_.add(step);
  session_cost_ += step.cost;
  sink_.on_update(usage_update(step.total(), context_size_, session_cost_), "usage_update", {});
}

}  // namespace berth::server::opencode
