// A prompt that opencode took and does not run: when is it given up?
#include <berth/core/json_doc.h>
#include <berth/server/agents/opencode/start_wait.h>
#include <berth/server/agents/opencode/tracker.h>

#include <gtest/gtest.h>

#include <string>

namespace berth::server::opencode {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(OpencodeStart, IsWaitedForAsLongAsTheServerWorksAndNotForEver) {
  struct Row {
    bool stored;
    int silent_s;
    int rested_s;
    StartVerdict verdict;
  };
  constexpr StartVerdict kWaits = StartVerdict::waits;
  const Row rows[] = {
      // Nobody is given up before its time, whatever the server does not.
      {true, 14, 14, kWaits},
      {false, 59, 59, kWaits},
      // After it the server must show that it works.
      {true, 15, 15, StartVerdict::not_run},
      {true, 15, 14, kWaits},
      {true, 40, 15, StartVerdict::not_run},
      {true, 89, 0, kWaits},
      {false, 60, 60, StartVerdict::not_stored},
      {false, 60, 59, kWaits},
      // But not for ever.
      {true, 90, 0, StartVerdict::not_run},
      {false, 90, 0, StartVerdict::not_stored},
  };
  for (const Row& row : rows) {
    const StartFacts facts = {row.stored, seconds(row.silent_s), seconds(row.rested_s)};
    EXPECT_EQ(judge_start(facts, seconds(90)), row.verdict)
        << row.stored << " " << row.silent_s << " " << row.rested_s;
  }
  EXPECT_EQ(judge_start({true, seconds(4), {}}, seconds(5)), StartVerdict::waits);
  EXPECT_EQ(judge_start({true, seconds(5), {}}, seconds(5)), StartVerdict::not_run);
}

TEST(OpencodeStart, AServerWorksWhenItUsesTheProcessorOrIsLateWithItsAnswers) {
  const TimePoint began{std::chrono::hours(1)};
  const auto worked_after = [&](Duration past, milliseconds used, Duration answered_in) {
    WorkSigns signs;
    signs.begin(began);
    signs.look(began, 1'000'000, {});
    const auto cpu = static_cast<std::uint64_t>(std::chrono::microseconds(used).count());
    signs.look(began + past, 1'000'000 + cpu, answered_in);
    return signs.worked() > began;
  };
  EXPECT_FALSE(worked_after(seconds(10), milliseconds(0), {}));
  EXPECT_FALSE(worked_after(seconds(10), milliseconds(490), {})) << "as an idle one with our GETs";
  EXPECT_TRUE(worked_after(seconds(10), milliseconds(510), {}));
  EXPECT_FALSE(worked_after(seconds(3), milliseconds(2900), {})) << "too short to tell";
  EXPECT_TRUE(worked_after(seconds(10), milliseconds(0), seconds(1)));
  EXPECT_FALSE(worked_after(seconds(10), milliseconds(0), milliseconds(990)));
}

TEST(OpencodeStart, LooksThatComeOftenAreSummedAndThoseWithoutAFigureSayNothing) {
  const TimePoint began{std::chrono::hours(1)};
  WorkSigns signs;
  signs.begin(began);
  std::uint64_t cpu = 0;
  for (int n = 0; n <= 16; ++n) signs.look(began + n * milliseconds(250), cpu += 20'000, {});
  EXPECT_EQ(signs.worked(), began + seconds(4)) << "20 ms in each quarter of a second";
  for (int n = 17; n <= 64; ++n) signs.look(began + n * milliseconds(250), cpu += 1'000, {});
  EXPECT_EQ(signs.worked(), began + seconds(4));
  signs.look(began + seconds(20), std::nullopt, {});
  EXPECT_EQ(signs.worked(), began + seconds(4));
}

/// A tracker whose prompt is stored, and answers to the questions that it asks from then on.
class Stored final : public TrackerSink {
 public:
  explicit Stored(Duration start_max) : tracker("ses_1", *this, start_max) {
    tracker.begin_turn("turn", "msg_mine", now);
    tracker.prompt_accepted("msg_mine", now);
  }
  /// Answers each question until the turn has ended or so much time has passed; how long it took.
  Duration wait(Duration at_most, double cpu_share, Duration answered_in = {}) {
    const TimePoint began = now;
    while (ended.empty() && tracker.next_probe() && *tracker.next_probe() - began <= at_most) {
      const TimePoint asked = std::max(now, *tracker.next_probe());
      cpu_us_ +=
          cpu_share * static_cast<double>(std::chrono::duration_cast<std::chrono::microseconds>(
                                              asked + answered_in - now)
                                              .count());
      tracker.probe_begun(asked);
      now = asked + answered_in;
      ++probes;
      const Result<JsonDoc> messages = JsonDoc::parse(
          R"([{"info":{"id":"msg_mine","role":"user","time":{"created":1000}},"parts":[]}])");
      Snapshot snapshot;
      snapshot.status = Snapshot::Status::idle;
      snapshot.messages = messages->root();
      snapshot.cpu_microseconds = static_cast<std::uint64_t>(cpu_us_);
      snapshot.answered_in = answered_in;
      tracker.on_snapshot(snapshot, now);
    }
    return now - began;
  }

  TimePoint now{std::chrono::hours(1)};
  Tracker tracker;
  std::string ended;  // code of the error
  int probes = 0;

 private:
  void on_update(std::string_view, std::string_view, std::string_view) override {}
  void on_question(QuestionKind, std::string_view, JsonView, std::string_view) override {}
  void on_question_gone(std::string_view) override {}
  void on_notice(std::string_view, std::string_view) override {}
  void on_turn_ended(std::string_view, PromptEnd end) override {
    ended = end.stop_reason.empty() ? std::string(end.error.code) : end.stop_reason;
  }

  double cpu_us_ = 5'000'000;
};

TEST(OpencodeStart, ATurnFailsSoonWhenTheServerRestsAndLateWhenItWorks) {
  Stored forgotten(seconds(60));
  EXPECT_LT(forgotten.wait(seconds(300), 0.01), seconds(40));
  EXPECT_EQ(forgotten.ended, "prompt_not_started");

  Stored slow(seconds(60));
  slow.wait(seconds(50), 0.10);
  EXPECT_EQ(slow.ended, "") << "a slow start is no failure";
  const Duration more = slow.wait(seconds(300), 0.10);
  EXPECT_EQ(slow.ended, "prompt_not_started");
  EXPECT_LT(more, seconds(60));

  Stored starved(seconds(60));
  starved.wait(seconds(50), 0.0, seconds(3));
  EXPECT_EQ(starved.ended, "") << "it hardly answers";
}

TEST(OpencodeStart, WhatStaysInDoubtIsAskedLessOftenAndStillEnds) {
  Stored doubtful(seconds(60));
  doubtful.wait(seconds(6), 0.0);  // it is known to be stored
  const std::optional<EventFrame> idle = EventFrame::parse(
      R"({"payload":{"type":"session.idle","properties":{"sessionID":"ses_1"}}})");
  doubtful.tracker.on_event(*idle, {}, doubtful.now);
  doubtful.probes = 0;
  doubtful.wait(seconds(300), 0.01);
  EXPECT_EQ(doubtful.ended, "prompt_not_started");
  EXPECT_LT(doubtful.probes, 30);
}

}  // namespace
}  // namespace berth::server::opencode
