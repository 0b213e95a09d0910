// Recorded streams of opencode 1.18.33 through the tracker, whole and cut anywhere.
#include "opencode_replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace berth::server::opencode {
namespace {

const char* const kRecordings[] = {"text",  "write", "reject", "abort", "steer",   "error",
                                   "retry", "child", "shell",  "plan",  "badmodel"};

const std::string* entry_of(const SeenTurn& turn, std::string_view prefix) {
  for (const auto& [id, entry] : turn.entries) {
    if (id.starts_with(prefix)) return &entry;
  }
  return nullptr;
}

TEST(OpencodeTracker, GivesTextAndThoughtsOfEachTurnOnce) {
  Replay replay("text");
  replay.run();
  ASSERT_EQ(replay.turns.size(), 2U);
  const std::string* thought = entry_of(replay.turns[0], "agent_thought_chunk");
  ASSERT_NE(thought, nullptr);
  EXPECT_EQ(*thought, "First I think about it.\n");
  EXPECT_TRUE(replay.turns[0].text().starts_with("Answer one two three.\ntick 0 tick 1 "));
  EXPECT_EQ(replay.turns[1].text(), "Second turn, \\u00fcmlaut.\n");
  for (const SeenTurn& turn : replay.turns) {
    EXPECT_TRUE(turn.ended);
    EXPECT_EQ(turn.stop_reason, "end_turn");
    EXPECT_NE(turn.usage.find("\"inputTokens\":"), std::string::npos) << turn.usage;
  }
  EXPECT_EQ(replay.probes, 0U) << "events alone decide an ordinary turn";
  EXPECT_TRUE(replay.updates_outside_turns.empty());
}

TEST(OpencodeTracker, ShowsAFileToolAndAsksForItsPermission) {
  Replay replay("write");
  replay.run();
  ASSERT_EQ(replay.questions.size(), 1U);
  const Result<JsonDoc> asked = JsonDoc::parse(replay.questions[0]);
  EXPECT_EQ(asked->root().get_string("toolCall.kind"), "edit");
  EXPECT_EQ(asked->root().get_string("toolCall.title"), "/agents/repo/notes.md");
  EXPECT_EQ(asked->root().elements("options").size(), 3U);
  const std::string* tool = entry_of(replay.turns[0], "tool ");
  ASSERT_NE(tool, nullptr);
  const Result<JsonDoc> last = JsonDoc::parse(*tool);
  EXPECT_EQ(last->root().get_string("status"), "completed");
  EXPECT_EQ(last->root().get_string("toolCallId"), asked->root().get_string("toolCall.toolCallId"));
  EXPECT_EQ(replay.turns[0].text(), "Written it is.\n");
}

TEST(OpencodeTracker, EndsATurnWhosePermissionWasRefusedAfterAsking) {
  Replay replay("reject");
  replay.run();
  EXPECT_EQ(replay.turns[0].stop_reason, "end_turn");
  EXPECT_EQ(replay.turns[0].text(), "");
  EXPECT_EQ(replay.probes, 1U) << "a finish of tool-calls alone must not end a turn";
}

TEST(OpencodeTracker, LetsNoTerminalOfAnAbortEndTheNextTurn) {
  Replay replay("abort");
  replay.run();
  ASSERT_EQ(replay.turns.size(), 2U);
  EXPECT_EQ(replay.turns[0].stop_reason, "cancelled");
  EXPECT_TRUE(replay.turns[0].text().starts_with("tick 0 tick 1 "));
  EXPECT_EQ(replay.turns[1].stop_reason, "end_turn");
  EXPECT_EQ(replay.turns[1].text(), "New words.\n");
}

TEST(OpencodeTracker, EndsATurnOnceWhenAPromptWasSteeredIntoIt) {
  Replay replay("steer");
  replay.run();
  ASSERT_EQ(replay.turns.size(), 1U);
  const std::string text = replay.turns[0].text();
  EXPECT_NE(text.find("tick 19 "), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("Steered words.\n")) << text;
}

TEST(OpencodeTracker, FailsATurnWithTheModelsErrorAndRunsTheNextOne) {
  Replay replay("error");
  replay.run();
  ASSERT_EQ(replay.turns.size(), 2U);
  EXPECT_EQ(replay.turns[0].stop_reason, "");
  EXPECT_EQ(replay.turns[0].error, "scripted error 400");
  EXPECT_EQ(replay.turns[1].text(), "Fine again.\n");
}

TEST(OpencodeTracker, ShowsRetriesAndEndsTheTurnThatIsAbortedBetweenThem) {
  Replay replay("retry");
  replay.run();
  EXPECT_EQ(std::count(replay.notices.begin(), replay.notices.end(), "opencode/retry"), 2);
  EXPECT_EQ(replay.turns[0].stop_reason, "cancelled");
}

TEST(OpencodeTracker, SurfacesThePermissionOfASubAgentButNotItsText) {
  Replay replay("child");
  replay.run();
  ASSERT_EQ(replay.questions.size(), 1U);
  EXPECT_TRUE(replay.children[0].starts_with("ses_"));
  EXPECT_EQ(replay.turns[0].text(), "Parent is done.\n");
  const Result<JsonDoc> task = JsonDoc::parse(*entry_of(replay.turns[0], "tool "));
  EXPECT_EQ(task->root().get_string("status"), "completed");
}

TEST(OpencodeTracker, ShowsTheGrowingOutputOfACommand) {
  Replay replay("shell");
  replay.run();
  const auto shows = [&](std::string_view output) {
    return std::any_of(replay.updates.begin(), replay.updates.end(),
                       [&](const std::string& update) {
                         return update.find("in_progress") != std::string::npos &&
                                update.find(output) != std::string::npos;
                       });
  };
  EXPECT_TRUE(shows(R"("text":"line 1\n")"));
  EXPECT_TRUE(shows(R"("text":"line 1\nline 2\n")"));
}

TEST(OpencodeTracker, TranslatesTheToDoListIntoAPlan) {
  Replay replay("plan");
  replay.run();
  const std::string* plan = entry_of(replay.turns[0], "plan");
  ASSERT_NE(plan, nullptr);
  EXPECT_EQ(*plan, R"({"sessionUpdate":"plan","entries":[)"
                   R"({"content":"Look","priority":"medium","status":"in_progress"},)"
                   R"({"content":"Write","priority":"medium","status":"pending"},)"
                   R"({"content":"Test","priority":"medium","status":"pending"}]})");
}

TEST(OpencodeTracker, FailsATurnThatCouldNotBegin) {
  Replay replay("badmodel");
  replay.run();
  EXPECT_EQ(replay.turns[0].stop_reason, "");
  EXPECT_NE(replay.turns[0].error.find("Model not found"), std::string::npos);
}

// --- cuts ---

/// Order of first appearance aside (a held-back text may come after a tool that overtook it).
std::vector<SeenTurn> canonical(std::vector<SeenTurn> turns) {
  for (SeenTurn& turn : turns) {
    std::sort(turn.entries.begin(), turn.entries.end());
    // An error of a run that left no message is stored nowhere: whoever misses it knows only that
    // the prompt did not run.
    if (turn.entries.empty() && turn.stop_reason.empty()) turn.error = "did not run";
  }
  return turns;
}

void expect_same(const std::string& name, const std::vector<Cut>& cuts) {
  static std::map<std::string, std::vector<SeenTurn>> uncut;
  if (!uncut.contains(name)) {
    Replay whole(name);
    whole.run();
    uncut[name] = canonical(whole.turns);
  }
  Replay cut(name);
  cut.run(cuts);
  std::string where;
  for (const Cut& one : cuts) {
    where += " [" + std::to_string(one.from) + ", " + std::to_string(one.to) + ") answered at " +
             std::to_string(one.answered);
  }
  const std::vector<SeenTurn>& expected = uncut[name];
  const std::vector<SeenTurn> seen = canonical(cut.turns);
  ASSERT_EQ(expected.size(), seen.size()) << name << where;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(expected[i].entries, seen[i].entries) << name << where;
    ASSERT_EQ(expected[i].text(), seen[i].text()) << name << where;
    ASSERT_EQ(expected[i].stop_reason, seen[i].stop_reason) << name << where;
    ASSERT_EQ(expected[i].error, seen[i].error) << name << where;
    ASSERT_EQ(expected[i].usage, seen[i].usage) << name << where;
  }
  ASSERT_TRUE(cut.updates_outside_turns.empty()) << name << where;
}

TEST(OpencodeTracker, GivesTheSameTranscriptWhereverTheStreamIsCutOnce) {
  for (const char* name : kRecordings) {
    const std::size_t size = read_recording(name).size();
    for (std::size_t from = 1; from < size; ++from) {
      for (const std::size_t length : {1U, 4U, 20U}) {
        const std::size_t to = std::min(from + length, size);
        expect_same(name, {{from, to, std::min(to + from % 4, size)}});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(OpencodeTracker, GivesTheSameTranscriptWhenTheStreamIsCutAgainAndAgain) {
  Prng random(20261121);
  for (int round = 0; round < 200; ++round) {
    const char* name = kRecordings[random.below(std::size(kRecordings))];
    const std::size_t size = read_recording(name).size();
    std::vector<Cut> cuts;
    std::size_t at = 1;
    for (;;) {
      Cut cut;
      cut.from = at + random.below(12);
      cut.to = cut.from + 1 + random.below(8);
      cut.answered = cut.to + random.below(5);
      if (cut.answered >= size) break;
      cuts.push_back(cut);
      at = cut.answered + 1;
    }
    expect_same(name, cuts);
    if (HasFatalFailure()) return;
  }
}

// --- stale terminals ---

/// Plays the recording of an abort and the prompt after it with the old turn's last events (its
/// idles, its error, its full text, its message) spread at random over the new turn's.
class Interleaving final : public TrackerSink {
 public:
  void run(Random& random) {
    std::vector<std::string> old_tail;
    std::vector<std::string> fresh;
    bool aborted = false;
    for (const std::string& line : read_recording("abort")) {
      const Result<JsonDoc> doc = JsonDoc::parse(line);
      const std::string_view action = doc->root().get_string("do").value_or("");
      if (action == "open") {
        tracker = std::make_unique<Tracker>(std::string(*doc->root().get_string("session")), *this);
      } else if (action == "prompt" && turn == 0) {
        begin(doc->root());
      } else if (action == "abort") {
        aborted = true;
        tracker->request_cancel(now);
        tracker->abort_sent(now);
      } else if (action == "prompt") {
        if (tracker->running()) return;  // the recording's old turn must have ended by itself
        begin(doc->root());
      } else if (turn == 2) {
        fresh.push_back(line);
      } else {
        play(line);
        const std::string_view type = doc->root().get_string("payload.type").value_or("");
        if (aborted && type != "message.part.delta") old_tail.push_back(line);
      }
    }
    ASSERT_EQ(turn, 2);
    ASSERT_EQ(ended, 1);
    ASSERT_GE(old_tail.size(), 6U);
    while (!fresh.empty()) {
      if (random.one_in(2)) play(old_tail[random.below(old_tail.size())]);
      const Result<JsonDoc> doc = JsonDoc::parse(fresh.front());
      complete = complete || doc->root().find("payload.properties.info.time.completed").present();
      play(fresh.front());
      fresh.erase(fresh.begin());
    }
  }

  std::unique_ptr<Tracker> tracker;
  TimePoint now{std::chrono::hours(1)};
  int turn = 0;
  int ended = 0;
  bool complete = false;  // the new turn's message
  bool ended_early = false;
  std::string new_text;

 private:
  void begin(JsonView action) {
    ++turn;
    tracker->begin_turn(std::to_string(turn), std::string(*action.get_string("messageID")), now);
  }
  void play(const std::string& line) {
    now += std::chrono::milliseconds(1);
    const std::optional<EventFrame> frame = EventFrame::parse(line);
    if (frame->session_id() == tracker->session_id()) tracker->on_event(*frame, {}, now);
  }
  void on_update(std::string_view update, std::string_view kind, std::string_view) override {
    const Result<JsonDoc> doc = JsonDoc::parse(update);
    if (turn == 2 && kind.ends_with("chunk")) new_text += *doc->root().get_string("content.text");
  }
  void on_question(QuestionKind, std::string_view, JsonView, std::string_view) override {}
  void on_question_gone(std::string_view) override {}
  void on_notice(std::string_view, std::string_view) override {}
  void on_turn_ended(std::string_view, PromptEnd end) override {
    ++ended;
    if (turn != 2) return;
    if (!complete || end.stop_reason != "end_turn") ended_early = true;
  }
};

TEST(OpencodeTracker, LetsNoTerminalOfAnOldTurnEndANewOneInAnyOrder) {
  Prng random(1);
  for (int round = 0; round < 500; ++round) {
    Interleaving race;
    race.run(random);
    ASSERT_FALSE(HasFatalFailure());
    ASSERT_EQ(race.new_text, "New words.\n") << round;
    ASSERT_EQ(race.ended, 2) << round;
    ASSERT_FALSE(race.ended_early) << round;
  }
}

// --- by hand ---

/// A tracker that is told one event at a time.
class Told final : public TrackerSink {
 public:
  Told() { tracker.begin_turn("turn", "msg_mine", now); }
  void tell(const std::string& type, const std::string& properties) {
    const std::string raw = R"({"directory":"/","payload":{"type":")" + type +
                            R"(","properties":{"sessionID":"ses_1",)" + properties + "}}}";
    const std::optional<EventFrame> frame = EventFrame::parse(raw);
    ASSERT_TRUE(frame.has_value()) << raw;
    now += std::chrono::milliseconds(1);
    tracker.on_event(*frame, {}, now);
  }
  void tell_user(const std::string& id) {
    tell("message.updated",
         R"("info":{"id":")" + id + R"(","role":"user","time":{"created":1000}})");
  }
  void tell_assistant(const std::string& id, const std::string& parent, const std::string& rest) {
    tell("message.updated", R"("info":{"id":")" + id + R"(","role":"assistant","parentID":")" +
                                parent + R"(",)" + rest + "}");
  }
  void tell_delta(const std::string& message, const std::string& delta) {
    tell("message.part.delta", R"("messageID":")" + message + R"(","partID":"p)" + message +
                                   R"(","field":"text","delta":")" + delta + R"(")");
  }
  void tell_empty_part(const std::string& message) {
    tell("message.part.updated", R"("part":{"id":"p)" + message + R"(","messageID":")" + message +
                                     R"(","type":"text","text":"","time":{"start":1}})");
  }
  void tell_idle() {
    tell("session.status", R"("status":{"type":"idle"})");
    tell("session.idle", R"("x":1)");
  }

  TimePoint now{std::chrono::hours(1)};
  Tracker tracker{"ses_1", *this};
  /// What GET /permission answered that was sent at `sent`.
  void list_permissions(const std::string& json, TimePoint sent) {
    const Result<JsonDoc> permissions = JsonDoc::parse(json);
    tracker.probe_begun(sent);
    Snapshot snapshot;
    snapshot.permissions = permissions->root();
    tracker.on_snapshot(snapshot, now);
  }

  std::string text;
  int ended = 0;
  int asked = 0;
  int withdrawn = 0;

 private:
  void on_update(std::string_view update, std::string_view kind, std::string_view) override {
    const Result<JsonDoc> doc = JsonDoc::parse(update);
    if (kind.ends_with("chunk")) text += *doc->root().get_string("content.text");
  }
  void on_question(QuestionKind, std::string_view, JsonView, std::string_view) override { ++asked; }
  void on_question_gone(std::string_view) override { ++withdrawn; }
  void on_notice(std::string_view, std::string_view) override {}
  void on_turn_ended(std::string_view, PromptEnd) override { ++ended; }
};

TEST(OpencodeTracker, LeavesAMessageToItsOwnPromptWhenThatIsNoneOfTheTurn) {
  Told told;
  told.tell_user("msg_mine");
  // The run of before, of which nothing was ever heard, ends only now.
  told.tell_assistant("old", "msg_before", R"("time":{"created":900})");
  told.tell_empty_part("old");
  told.tell_delta("old", "old words");
  told.tell_assistant("old", "msg_before",
                      R"("finish":"stop","time":{"created":900,"completed":1001})");
  told.tell_idle();
  EXPECT_EQ(told.ended, 0);
  told.tell_assistant("new", "msg_mine", R"("time":{"created":1100})");
  told.tell_empty_part("new");
  told.tell_delta("new", "new words");
  EXPECT_EQ(told.text, "new words");
  told.tell_assistant("new", "msg_mine",
                      R"("finish":"stop","time":{"created":1100,"completed":1200})");
  EXPECT_EQ(told.ended, 0) << "no idle since its message";
  told.tell_idle();
  EXPECT_EQ(told.ended, 1);
}

TEST(OpencodeTracker, DoesNotAskAgainWhatAnEndedTurnHadAsked) {
  Told told;
  told.tell_user("msg_mine");
  told.tell_assistant("a", "msg_mine", R"("time":{"created":1100})");
  told.tell_assistant("a", "msg_mine", R"("finish":"stop","time":{"created":1100,"completed":2})");
  told.tell_idle();
  ASSERT_EQ(told.ended, 1);
  told.tracker.begin_turn("next", "msg_next", told.now);
  // It was asked in a hole of the stream, and opencode goes on listing it.
  const auto listed = [](const char* message) {
    return R"([{"id":"q","sessionID":"ses_1","tool":{"messageID":")" + std::string(message) +
           R"(","callID":"c"}}])";
  };
  told.list_permissions(listed("a"), told.now);
  EXPECT_EQ(told.asked, 0);
  told.list_permissions(listed("b"), told.now);
  EXPECT_EQ(told.asked, 1);
}

TEST(OpencodeTracker, AQuestionThatIsYoungerThanTheListIsNotMissingFromIt) {
  Told told;
  told.tell_user("msg_mine");
  const TimePoint before = told.now;
  told.tell("permission.asked", R"("id":"q","tool":{"messageID":"a","callID":"c"})");
  told.list_permissions("[]", before);
  EXPECT_EQ(told.withdrawn, 0) << "it was asked while the list was on its way";
  told.list_permissions("[]", told.now + std::chrono::milliseconds(1));
  EXPECT_EQ(told.withdrawn, 1);
}

TEST(OpencodeTracker, ShowsWhatItHeldBackWhenTheServerIsLost) {
  Told told;
  told.tell_user("msg_mine");
  told.tell_assistant("new", "msg_mine", R"("time":{"created":1100})");
  told.tell_empty_part("new");
  told.tell_delta("new", "one ");
  told.tracker.on_stream_lost();
  told.tell_delta("new", "three");
  EXPECT_EQ(told.text, "one ");
  told.tracker.on_server_lost();
  EXPECT_TRUE(told.text.ends_with("three")) << told.text;
  EXPECT_EQ(told.ended, 0) << "the ending is the session's to write";
}

}  // namespace
}  // namespace berth::server::opencode
