#include <berth/server/sessions/attribution.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/sessions/json_members.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

/// The member that holds owed(): no file has that name.
constexpr std::string_view kOwed = "";

std::vector<Toucher> touchers_of(const JsonView& list) {
  std::vector<Toucher> touchers;
  for (const JsonView& entry : list.elements()) {
    const std::optional<std::int64_t> turn = entry.get_int64("turn");
    if (!turn) continue;
    touchers.push_back({*turn, std::string(entry.get_string("agent").value_or(""))});
  }
  return touchers;
}

void add(std::vector<Toucher>& to, const Toucher& toucher) {
  if (std::find(to.begin(), to.end(), toucher) == to.end()) to.push_back(toucher);
}

}  // namespace

Attribution Attribution::parse(std::string_view json) {
  Attribution attribution;
  if (json.empty()) return attribution;
  const Result<JsonDoc> doc = JsonDoc::parse(json);
  if (!doc.has_value()) return attribution;
  for (const auto& member : doc->root().members()) {
    std::vector<Toucher> touchers = touchers_of(member.second);
    if (member.first == kOwed) {
      attribution.owed_ = std::move(touchers);
    } else {
      attribution.files_.emplace(member.first, std::move(touchers));
    }
  }
  return attribution;
}

std::string Attribution::json() const {
  if (files_.empty() && owed_.empty()) return {};
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  if (!owed_.empty()) writer.member_raw(kOwed, touchers_json(owed_));
  for (const auto& [path, touchers] : files_) writer.member_raw(path, touchers_json(touchers));
  writer.end_object();
  return out;
}

void Attribution::note(const std::vector<ChangedFile>& files, const std::vector<Toucher>& by) {
  for (const ChangedFile& file : files) {
    std::vector<Toucher> earlier;
    if (!file.old_path.empty()) earlier = of(file.old_path);
    std::vector<Toucher>& touchers = files_[file.path];
    for (const Toucher& toucher : earlier) add(touchers, toucher);
    for (const Toucher& toucher : by) add(touchers, toucher);
  }
}

std::vector<Toucher> Attribution::of(const std::string& path) const {
  const auto found = files_.find(path);
  return found == files_.end() ? std::vector<Toucher>() : found->second;
}

void Attribution::owe(Toucher turn) {
  add(owed_, turn);
}

void Attribution::forget_after(std::int64_t turn, const std::vector<std::string>& paths) {
  const auto later = [turn](const Toucher& toucher) {
    return toucher.turn > turn || (toucher.turn == turn && toucher.agent.empty());
  };
  for (auto it = files_.begin(); it != files_.end();) {
    const bool meant =
        paths.empty() || std::find(paths.begin(), paths.end(), it->first) != paths.end();
    if (meant) std::erase_if(it->second, later);
    it = it->second.empty() ? files_.erase(it) : std::next(it);
  }
}

void Attribution::bound(const std::vector<ChangedFile>& open, std::size_t files_max) {
  if (files_.size() <= files_max) return;
  std::map<std::string, std::vector<Toucher>, std::less<>> kept;
  for (const ChangedFile& file : open) {
    if (auto found = files_.extract(file.path)) kept.insert(std::move(found));
  }
  files_ = std::move(kept);
}

std::string touchers_json(const std::vector<Toucher>& touchers) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  for (const Toucher& toucher : touchers) {
    writer.begin_object().member_int64("turn", toucher.turn);
    put_text(writer, "agent", toucher.agent);
    writer.end_object();
  }
  writer.end_array();
  return out;
}

std::string note_of(const std::vector<Toucher>& touchers) {
  struct Part {
    std::string agent;
    std::vector<std::string> turns;
  };
  std::vector<Part> parts;
  for (const Toucher& toucher : touchers) {
    auto part = std::find_if(parts.begin(), parts.end(),
                             [&](const Part& known) { return known.agent == toucher.agent; });
    if (part == parts.end()) part = parts.insert(parts.end(), {toucher.agent, {}});
    part->turns.push_back(std::to_string(toucher.turn));
  }
  if (parts.size() < 2) return {};
  std::string note = "changed by ";
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) note += i + 1 == parts.size() ? " and by " : ", by ";
    const Part& part = parts[i];
    note += part.agent.empty() ? "hand after " : part.agent + " (";
    note += part.turns.size() == 1 ? "turn " : "turns ";
    for (std::size_t j = 0; j < part.turns.size(); ++j) {
      if (j > 0) note += j + 1 == part.turns.size() ? " and " : ", ";
      note += part.turns[j];
    }
    if (!part.agent.empty()) note += ")";
  }
  return note;
}

}  // namespace berth::server
