#include "opencode_replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <optional>

namespace berth::server::opencode {

std::vector<std::string> read_recording(const std::string& name) {
  std::ifstream file(std::string(BERTH_TEST_DATA) + "/opencode-serve-1.18.33." + name + ".jsonl");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  EXPECT_FALSE(lines.empty()) << name;
  return lines;
}

std::string SeenTurn::text() const {
  std::string all;
  for (const auto& [part, entry] : entries) {
    if (part.starts_with("agent_message_chunk ")) all += entry;
  }
  return all;
}

// --- what GETs say ---

void StoredState::apply(const EventFrame& frame) {
  const JsonView properties = frame.properties();
  const std::string_view type = frame.type();
  if (type == "permission.asked") {
    permissions_[std::string(*properties.get_string("id"))] = properties.raw();
  } else if (type == "permission.replied") {
    permissions_.erase(std::string(*properties.get_string("requestID")));
  }
  if (frame.session_id() != session_) return;
  const auto message = [this](std::string_view id) -> Stored& {
    for (auto& [known, stored] : messages_) {
      if (known == id) return stored;
    }
    return messages_.emplace_back(std::string(id), Stored()).second;
  };
  if (type == "message.updated") {
    message(*properties.get_string("info.id")).info = properties.raw("info");
  } else if (type == "message.part.updated") {
    Stored& stored = message(*properties.get_string("part.messageID"));
    const std::string id(*properties.get_string("part.id"));
    const auto known = std::find_if(stored.parts.begin(), stored.parts.end(),
                                    [&](const auto& part) { return part.first == id; });
    if (known == stored.parts.end()) {
      stored.parts.emplace_back(id, properties.raw("part"));
    } else {
      known->second = properties.raw("part");
    }
  } else if (type == "todo.updated") {
    todos_ = properties.raw("todos");
  } else if (type == "session.status") {
    const bool idle = properties.get_string("status.type") == "idle";
    status_ = idle ? Snapshot::Status::idle : Snapshot::Status::busy;
  }
}

StoredState::Answers StoredState::answers() const {
  const auto doc = [](const std::string& text) {
    return std::make_unique<JsonDoc>(std::move(*JsonDoc::parse(text)));
  };
  std::string messages = "[";
  for (const auto& [id, stored] : messages_) {
    if (stored.info.empty()) continue;
    messages += messages.size() > 1 ? "," : "";
    messages += "{\"info\":" + stored.info + ",\"parts\":[";
    for (std::size_t i = 0; i < stored.parts.size(); ++i) {
      messages += (i == 0 ? "" : ",") + stored.parts[i].second;
    }
    messages += "]}";
  }
  std::string permissions = "[";
  for (const auto& [id, asked] : permissions_) {
    permissions += (permissions.size() > 1 ? "," : "") + asked;
  }
  Answers answers;
  answers.messages = doc(messages + "]");
  answers.permissions = doc(permissions + "]");
  answers.questions = doc("[]");
  answers.todos = doc(todos_);
  answers.snapshot = {status_, answers.messages->root(), answers.permissions->root(),
                      answers.questions->root(), answers.todos->root()};
  return answers;
}

// --- the replay ---

void Replay::on_update(std::string_view update, std::string_view kind, std::string_view call) {
  updates.emplace_back(update);
  if (kind == "usage_update" || kind == "session_info_update") return;
  if (!tracker_->running()) updates_outside_turns.emplace_back(update);
  ASSERT_FALSE(turns.empty());
  SeenTurn& turn = turns.back();
  const Result<JsonDoc> doc = JsonDoc::parse(update);
  ASSERT_TRUE(doc.has_value()) << update;
  std::string id(kind);
  id += ' ';
  if (kind == "tool_call" || kind == "tool_call_update") {
    id = "tool ";
    id += call;
  } else if (kind != "plan") {
    id += doc->root().get_string("messageId").value_or("?");
  }
  const auto known = std::find_if(turn.entries.begin(), turn.entries.end(),
                                  [&](const auto& entry) { return entry.first == id; });
  std::string& entry = known == turn.entries.end()
                           ? turn.entries.emplace_back(id, std::string()).second
                           : known->second;
  const auto text = doc->root().get_string("content.text");
  if (!text) {
    entry = update;
  } else if (doc->root().find("_meta").present()) {
    entry = *text;
  } else {
    entry += *text;
  }
}

void Replay::on_question(QuestionKind kind, std::string_view, JsonView asked,
                         std::string_view child) {
  EXPECT_EQ(kind, QuestionKind::permission);
  questions.push_back(permission_params(tracker_->session_id(), asked));
  children.emplace_back(child);
}

void Replay::on_turn_ended(std::string_view turn, PromptEnd end) {
  ASSERT_FALSE(turns.empty());
  ASSERT_EQ(turns.back().id, turn);
  ASSERT_FALSE(turns.back().ended) << "two endings of " << turn;
  turns.back().ended = true;
  turns.back().stop_reason = end.stop_reason;
  turns.back().error = end.error.message;
  turns.back().usage = end.usage;
}

void Replay::act(JsonView action) {
  const std::string_view what = *action.get_string("do");
  const auto message_id = [&] { return std::string(*action.get_string("messageID")); };
  if (what == "open") {
    const std::string session(*action.get_string("session"));
    tracker_ = std::make_unique<Tracker>(session, *this);
    stored_ = std::make_unique<StoredState>(session);
  } else if (what == "prompt") {
    probe_until_over();  // nobody prompts before the last turn has its ending
    SeenTurn& turn = turns.emplace_back();
    turn.id = *action.get_string("turn");
    tracker_->begin_turn(turn.id, message_id(), now_);
    tracker_->prompt_accepted(message_id(), now_);
  } else if (what == "steer") {
    tracker_->add_prompt(message_id());
  } else if (what == "abort") {
    tracker_->request_cancel(now_);
    tracker_->abort_sent(now_);
  }
}

void Replay::deliver(const EventFrame& frame) {
  if (frame.session_id().empty()) return;
  const bool own = frame.session_id() == tracker_->session_id();
  tracker_->on_event(frame, own ? std::string_view() : frame.session_id(), now_);
}

void Replay::probe() {
  ++probes;
  tracker_->probe_begun(now_);
  const StoredState::Answers answers = stored_->answers();
  tracker_->on_snapshot(answers.snapshot, now_);
}

void Replay::probe_until_over() {
  for (int i = 0; i < 20 && tracker_->running(); ++i) {
    now_ = *tracker_->next_probe();
    probe();
  }
  EXPECT_FALSE(tracker_->running()) << "the turn never ends";
}

void Replay::run(const std::vector<Cut>& cuts) {
  std::vector<std::string> queued;  // arrived before the answers to the GETs
  bool waiting = false;
  const Cut* cut = nullptr;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    now_ += std::chrono::milliseconds(10);
    for (const Cut& candidate : cuts) {
      if (candidate.from == i) {
        cut = &candidate;
        if (tracker_) tracker_->on_stream_lost();
      }
    }
    const bool blind = cut != nullptr && i < cut->to;
    if (cut != nullptr && i == cut->to) waiting = true;
    if (waiting && i >= cut->answered) {
      waiting = false;
      cut = nullptr;
      if (tracker_ && tracker_->running()) probe();
      for (const std::string& line : queued) deliver(*EventFrame::parse(line));
      queued.clear();
    }
    const Result<JsonDoc> doc = JsonDoc::parse(lines_[i]);
    ASSERT_TRUE(doc.has_value()) << lines_[i];
    if (doc->root().find("do").present()) {
      act(doc->root());
      continue;
    }
    const std::optional<EventFrame> frame = EventFrame::parse(lines_[i]);
    ASSERT_TRUE(frame.has_value()) << lines_[i];
    stored_->apply(*frame);
    if (blind) continue;
    if (waiting) {
      queued.push_back(lines_[i]);
    } else {
      deliver(*frame);
    }
  }
  if (tracker_->running() && cut != nullptr) {
    probe();
    for (const std::string& line : queued) deliver(*EventFrame::parse(line));
  }
  probe_until_over();
}

}  // namespace berth::server::opencode
