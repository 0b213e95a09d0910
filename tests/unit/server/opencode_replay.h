// tests/unit/server/opencode_replay.h — plays recorded streams of a real `opencode serve` into a
// tracker, and knows what GETs would have said in between.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/core/prng.h>
#include <berth/server/agents/opencode/tracker.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::server::opencode {

/// One line of tests/data/opencode-serve-*.jsonl: a frame of `/global/event` as it came, or
/// (`{"do": ...}`) what the recorder did at that moment.
std::vector<std::string> read_recording(const std::string& name);

/// What a client keeps of a turn: texts and tools by their ids, in order of first appearance.
struct SeenTurn {
  std::string id;
  std::vector<std::pair<std::string, std::string>> entries;  // id, text or last update
  std::string stop_reason;
  std::string error;
  std::string usage;
  bool ended = false;
  std::string text() const;
  bool operator==(const SeenTurn&) const = default;
};

/// The state that opencode would answer GETs with.
class StoredState {
 public:
  explicit StoredState(std::string session) : session_(std::move(session)) {}
  void apply(const EventFrame& frame);
  /// Owns what the snapshot points into.
  struct Answers {
    std::unique_ptr<JsonDoc> messages;
    std::unique_ptr<JsonDoc> permissions;
    std::unique_ptr<JsonDoc> questions;
    std::unique_ptr<JsonDoc> todos;
    Snapshot snapshot;
  };
  Answers answers() const;

 private:
  struct Stored {
    std::string info;
    std::vector<std::pair<std::string, std::string>> parts;
  };
  std::string session_;
  std::vector<std::pair<std::string, Stored>> messages_;
  std::map<std::string, std::string> permissions_;
  std::string todos_ = "[]";
  Snapshot::Status status_ = Snapshot::Status::idle;
};

/// A loss of the stream: frames [from, to) are not seen, and the answers to the GETs after the
/// reconnect come when those up to `answered` have arrived.
struct Cut {
  std::size_t from = 0;
  std::size_t to = 0;
  std::size_t answered = 0;
};

class Replay final : public TrackerSink {
 public:
  explicit Replay(const std::string& recording) : lines_(read_recording(recording)) {}
  /// Plays all of it; cuts do not overlap.
  void run(const std::vector<Cut>& cuts = {});

  std::size_t size() const { return lines_.size(); }
  std::vector<SeenTurn> turns;
  std::vector<std::string> questions;  // params
  std::vector<std::string> children;   // of the questions
  std::vector<std::string> updates;
  std::vector<std::string> notices;  // methods
  std::size_t probes = 0;
  /// Length of updates of each turn at its end: what comes later is old text in a new turn.
  std::vector<std::string> updates_outside_turns;

 private:
  void on_update(std::string_view update, std::string_view kind, std::string_view call) override;
  void on_question(QuestionKind kind, std::string_view request_id, JsonView asked,
                   std::string_view child) override;
  void on_question_gone(std::string_view) override {}
  void on_notice(std::string_view method, std::string_view) override {
    notices.emplace_back(method);
  }
  void on_turn_ended(std::string_view turn, PromptEnd end) override;
  void act(JsonView action);
  void deliver(const EventFrame& frame);
  void probe();
  void probe_until_over();

  std::vector<std::string> lines_;
  std::unique_ptr<Tracker> tracker_;
  std::unique_ptr<StoredState> stored_;
  TimePoint now_{std::chrono::hours(1)};
};

}  // namespace berth::server::opencode
