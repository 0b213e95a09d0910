// How much of a log is kept: the decision, what is kept of what goes, and whole sessions.
#include "session_world.h"

#include <berth/server/sessions/log_keeper.h>

namespace berth::server {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

// --- the decision ---

/// Turn n begins at 10 n and ends at 1000 n ms; event 9 and those before are of no turn.
LogExtent log_of(int turns, int unfinished = 0) {
  LogExtent log;
  for (int n = 1; n <= turns; ++n) {
    const bool ended = n != unfinished;
    log.turns.push_back({n, static_cast<std::uint64_t>(n) * 10, ended ? n * 1000 : 0});
  }
  log.last_seq = static_cast<std::uint64_t>(turns) * 10 + 9;
  return log;
}

struct CutCase {
  const char* what;
  LogLimits limits;
  LogExtent log;
  std::uint64_t fits_from;
  std::int64_t first_turn;  ///< 0: it stays.
};

TEST(WhereToCut, TheOldestTurnsGoUntilTheRestIsWithinEachLimit) {
  const LogLimits none{.events_bytes_max = 0};
  const LogLimits aged{.events_age_max = seconds(10)};
  const CutCase cases[] = {
      {"nothing bounds it", none, log_of(100), 0, 0},
      {"within the count", {.events_max = 1009}, log_of(100), 0, 0},
      {"one event too much: the first turn goes whole", {.events_max = 1008}, log_of(100), 0, 2},
      {"a count in the middle of a turn", {.events_max = 55}, log_of(10), 0, 6},
      {"a count that ends where a turn begins", {.events_max = 50}, log_of(10), 0, 6},
      {"bytes", none, log_of(10), 35, 4},
      {"bytes that end where a turn begins", none, log_of(10), 40, 4},
      {"the stricter of two", {.events_max = 80}, log_of(10), 51, 6},
      {"the four last stay whatever they weigh", {.events_max = 1}, log_of(10), 0, 7},
      {"four turns are never cut", {.events_max = 1}, log_of(4), 0, 0},
      {"the five of which the first may go", {.events_max = 1}, log_of(5), 0, 2},
      {"no turn", {.events_max = 1}, log_of(0), 9, 0},
      {"turns that ended before 20 s are too old at 30", aged, log_of(100), 0, 20},
      {"of old ones four stay", {.events_age_max = seconds(1)}, log_of(10), 0, 7},
      {"an unfinished turn and what is behind it stays", {.events_max = 1}, log_of(10, 3), 0, 3},
      {"also when it is the first", {.events_max = 1}, log_of(10, 1), 0, 0},
  };
  for (const CutCase& test : cases) {
    const auto cut = where_to_cut(test.limits, test.log, test.fits_from, 30'000);
    EXPECT_EQ(cut ? cut->first_turn : 0, test.first_turn) << test.what;
    if (cut) {
      EXPECT_EQ(cut->first_seq, static_cast<std::uint64_t>(cut->first_turn) * 10) << test.what;
    }
  }
}

TEST(WhereToCut, ALogThatWasCutIsMeasuredFromWhereItBegins) {
  LogExtent log = log_of(20);
  log.turns.erase(log.turns.begin(), log.turns.begin() + 9);
  log.first_seq = 100;
  EXPECT_FALSE(where_to_cut({.events_max = 110}, log, 0, 0).has_value());
  EXPECT_EQ(where_to_cut({.events_max = 109}, log, 0, 0)->first_turn, 11);
}

// --- what is kept of what goes ---

std::string frame(std::uint64_t seq, std::string_view type, std::string_view turn,
                  std::string_view data) {
  std::string out;
  append_frame(out, {seq, "t", type, turn, "one"}, data);
  return out;
}
std::string asked(std::uint64_t seq, std::string_view turn, const std::string& text) {
  return frame(seq, "turn.queued", turn,
               R"({"number":1,"prompt":[{"type":"text","text":")" + text + R"("}]})");
}
std::string text_of_head(const std::string& frames, std::string_view before = {}) {
  LogHead head(before);
  std::string_view rest = frames;
  for (Frame at; next_frame(rest, at);) head.take(at);
  return head.text();
}

TEST(LogHead, KeepsTheFirstRequestThePlanAndWhatWaits) {
  const std::string first = asked(2, "trn_1", "first") + frame(3, "turn.started", "trn_1", "{}");
  const std::string ended = frame(9, "turn.ended", "trn_1", R"({"state":"completed"})");
  const std::string plan = frame(20, "update", "trn_2", R"({"sessionUpdate":"plan","entries":[]})");
  const std::string waits = asked(12, "trn_4", "later");
  const std::string goes =
      frame(1, "session.opened", "", "{}") + first +
      frame(4, "update", "trn_1", R"({"sessionUpdate":"plan","entries":[1]})") +
      frame(5, "update", "trn_1", R"({"sessionUpdate":"agent_message_chunk","t":"\"plan\""})") +
      ended + asked(10, "trn_2", "second") + asked(11, "trn_3", "never sent") + waits +
      frame(13, "turn.edited", "trn_4", "{}") + frame(14, "turn.started", "trn_2", "{}") +
      frame(15, "turn.ended", "trn_3", "{}") + plan + frame(21, "turn.ended", "trn_2", "{}");
  const std::string kept = text_of_head(goes);
  EXPECT_EQ(kept, first + ended + plan + waits);
  const std::string next_plan =
      frame(40, "update", "trn_4", R"({"sessionUpdate":"plan","entries":[2]})");
  EXPECT_EQ(text_of_head(frame(30, "turn.started", "trn_4", "{}") + next_plan, kept),
            first + ended + next_plan)
      << "a later cut goes on from it";
  EXPECT_EQ(text_of_head(frame(30, "agent.forgot", "", "{}"), kept), waits)
      << "what must not be told any more is not kept";
}

TEST(LogHead, OfAPromptThatIsEditedAgainAndAgainTheLastIsKept) {
  const auto edited = [](std::uint64_t seq) {
    return frame(
        seq, "turn.edited", "trn_1",
        R"({"number":1,"prompt":[{"type":"text","text":")" + std::to_string(seq) + R"("}]})");
  };
  std::string goes = asked(2, "trn_1", "as it was");
  for (std::uint64_t seq = 3; seq < 2000; ++seq) {
    goes += edited(seq) + frame(seq, "turn.edited", "trn_1", R"({"number":1})");
  }
  EXPECT_EQ(text_of_head(goes), edited(1999));
}

TEST(LogHead, IsBoundedWhateverWaits) {
  std::string goes;
  for (int turn = 100; turn < 300; ++turn) {
    goes += asked(2, "trn_" + std::to_string(turn), std::string(60'000, 'x'));
  }
  const std::string text = text_of_head(goes);
  EXPECT_LE(text.size(), 4U << 20U);
  EXPECT_GT(text.size(), 3U << 20U);
  EXPECT_TRUE(text.starts_with(asked(2, "trn_100", std::string(60'000, 'x'))));
}

TEST(LogHead, OfWhatIsShortNothingIsCutOff) {
  const std::string image(100'000, 'A');
  const std::string text =
      text_of_head(frame(2, "turn.queued", "trn_1",
                         R"({"number":1,"prompt":[{"type":"image","data":")" + image +
                             R"("},{"type":"text","text":"Привет"}]})"));
  EXPECT_LT(text.size(), 1000U);
  EXPECT_TRUE(holds(text, "Привет\"")) << text;
}

TEST(LogHead, KeepsTheBeginningOfAPromptOfAnySize) {
  const std::string kept =
      text_of_head(asked(2, "trn_1", std::string(9, 'x') + std::string(500'000, '\xc3')));
  EXPECT_EQ(kept, "") << "what is no JSON is not kept";
  std::string prompt = "x";
  while (prompt.size() < 500'000) prompt += "\xc3\xa9";
  const std::string text =
      text_of_head(asked(2, "trn_1", prompt) + frame(3, "turn.started", "trn_1", "{}"));
  EXPECT_LT(text.size(), 70'000U);
  Storyteller teller;
  std::string_view rest = text;
  for (Frame at; next_frame(rest, at);) teller.take(at);
  const std::string end = frame(4, "turn.ended", "trn_1", R"({"state":"completed"})");
  std::string_view last = end;
  Frame at;
  ASSERT_TRUE(next_frame(last, at));
  teller.take(at);
  const std::vector<ToldTurn> turns = teller.turns();
  ASSERT_EQ(turns.size(), 1U);
  EXPECT_EQ(turns[0].prompt, prompt.substr(0, turns[0].prompt.size()));
  EXPECT_EQ(turns[0].prompt.size(), 32'767U) << "up to the last character that fits";
}

// --- whole sessions ---

/// Keeps about the last four turns.
SessionLimits narrow() {
  SessionLimits limits;
  limits.log.events_max = 1;
  return limits;
}

void tidy(SessionWorld& world) {
  LogKeeper keeper(world.context(), world.directory());
  const Result<void> done = world.await(keeper.pass({}));
  EXPECT_TRUE(done.has_value()) << done.error().message;
}

Task<void> ignore(Task<Result<void>> task) {
  co_await std::move(task);
}

std::string first_of(SessionWorld& world, const char* path) {
  return member(world.call("GET", path, "").body, "first_seq");
}

TEST(Keeping, AnAgentWithoutMemoryIsToldTheFirstRequestThePlanAndTheLastTurnsAfterACut) {
  SessionWorld world(narrow());
  world.turn("build a boat");
  world.agent_named("one").says(
      R"({"sessionUpdate":"plan","entries":[{"content":"find wood","status":"pending"}]})");
  for (int n = 2; n <= 9; ++n) world.turn("step " + std::to_string(n));
  const std::string waits = world.prompt("hang", "one");
  const std::string next = world.prompt("was asked long ago", "one");
  tidy(world);
  EXPECT_EQ(world.context().log_cuts.cuts, 1U);
  EXPECT_GT(world.context().log_cuts.events, 10U);
  EXPECT_GT(world.context().log_cuts.bytes, 1000U);
  EXPECT_NE(first_of(world, "s"), "1");
  EXPECT_FALSE(holds(world.call("GET", "s/transcript", "").body, "step 2"));
  EXPECT_TRUE(holds(world.call("GET", "s/transcript", "").body, "are not kept any more"));
  EXPECT_TRUE(holds(world.call("GET", "s/transcript", "").body, "step 9"));
  world.crash();
  EXPECT_NE(first_of(world, "s"), "1") << "over a crash, too";
  world.session().resume_queue();
  world.settle();
  Puppet& one = world.agent_named("one");
  one.attaches(Rung::history, "another");
  world.settle();
  const std::string story = text_of_story(one.prompts.back());
  EXPECT_TRUE(holds(story, "build a boat")) << story;
  EXPECT_TRUE(holds(story, "find wood")) << story;
  EXPECT_FALSE(holds(story, "step 3")) << story;
  EXPECT_TRUE(holds(story, "step 9")) << story;
  EXPECT_TRUE(holds(story, "oldest turns are not recorded any more")) << story;
}

TEST(Keeping, ALaterCutKeepsWhatAnEarlierOneKept) {
  SessionWorld world(narrow());
  world.turn("build a boat");
  for (int n = 2; n <= 8; ++n) world.turn("step " + std::to_string(n));
  tidy(world);
  for (int n = 9; n <= 16; ++n) world.turn("step " + std::to_string(n));
  tidy(world);
  EXPECT_EQ(world.context().log_cuts.cuts, 2U);
  world.agent_named("one").exits(false);
  world.prompt("go on", "one");
  world.agent_named("one").attaches(Rung::history, "another");
  world.settle();
  const std::string story = text_of_story(world.agent_named("one").prompts.back());
  EXPECT_TRUE(holds(story, "build a boat")) << story;
  EXPECT_TRUE(holds(story, "step 16")) << story;
}

TEST(Keeping, APromptThatWaitedThroughACutIsInTheStory) {
  SessionWorld world(narrow());
  world.prompt("first", "one");
  world.agent_named("one").attaches(Rung::new_session, "n");
  for (int n = 1; n <= 8; ++n) world.prompt("waits " + std::to_string(n), "one");
  for (int n = 0; n <= 5; ++n) {
    world.agent_named("one").ends("end_turn");
    world.settle();
  }
  tidy(world);  // up to the turn of "waits 3": the requests of all stand before it
  EXPECT_EQ(world.context().log_cuts.cuts, 1U);
  for (int n = 6; n <= 8; ++n) {
    world.agent_named("one").ends("end_turn");
    world.settle();
  }
  world.agent_named("one").exits(false);
  world.prompt("go on", "one");
  world.agent_named("one").attaches(Rung::history, "another");
  world.settle();
  const std::string story = text_of_story(world.agent_named("one").prompts.back());
  EXPECT_TRUE(holds(story, "first")) << story;
  EXPECT_FALSE(holds(story, "waits 1")) << story;
  for (const char* text : {"waits 5", "waits 6", "waits 7", "waits 8"}) {
    EXPECT_TRUE(holds(story, text)) << story;
  }
}

TEST(Keeping, PagesBeginWhereTheLogDoesAndSayIt) {
  SessionWorld world(narrow());
  for (int n = 1; n <= 8; ++n) world.turn("step " + std::to_string(n));
  const std::size_t before = world.log().size();
  EXPECT_EQ(first_of(world, "s/events"), "1");
  tidy(world);
  const std::string page = world.call("GET", "s/events", "").body;
  const std::string first = member(page, "first_seq");
  EXPECT_NE(first, "1");
  EXPECT_EQ(member(page, "events").substr(0, 20).find("{\"seq\":" + first + ","), 1U) << page;
  EXPECT_EQ(member(page, "last_seq"), std::to_string(before));
  EXPECT_EQ(member(world.call("GET", "s/transcript?format=json", "").body, "first_seq"), first);
  const std::uint64_t cuts = world.context().log_cuts.cuts;
  tidy(world);
  EXPECT_EQ(world.context().log_cuts.cuts, cuts) << "nothing is left to go";
}

TEST(Keeping, WhatADeletedOrArchivedSessionSaidGrowsOldToo) {
  SessionLimits limits;
  limits.log.events_age_max = hours(1);
  SessionWorld world(limits);
  for (int n = 1; n <= 8; ++n) world.turn("step " + std::to_string(n));
  const SessionNo no = world.session().session_no();
  EXPECT_EQ(world.call("DELETE", "s").status, 204);
  LogKeeper keeper(world.context(), world.directory());
  ASSERT_TRUE(world.await(keeper.pass({})).has_value());
  EXPECT_EQ(world.store().load_session(no)->first_seq, 1U) << "it is young";
  world.settle(hours(2));
  ASSERT_TRUE(world.await(keeper.pass({})).has_value());
  EXPECT_GT(world.store().load_session(no)->first_seq, 1U)
      << "also one that has not changed since the pass before";
}

TEST(Keeping, BytesAreCountedFromTheEnd) {
  SessionLimits limits;
  limits.log.events_bytes_max = 20'000;
  SessionWorld world(limits);
  for (int n = 1; n <= 20; ++n) world.turn(std::string(2000, 'x'));
  tidy(world);
  const SessionNo no = world.session().session_no();
  std::size_t kept = world.store().read_events(no, 0, SIZE_MAX)->frames.size();
  EXPECT_LE(kept, 20'000U);
  EXPECT_GT(kept, 15'000U);
  EXPECT_EQ(*world.store().check(), std::vector<std::string>());
}

TEST(Keeping, ALogThatIsDamagedKeepsNoOtherFromBeingCut) {
  SessionWorld world(narrow());
  for (int n = 1; n <= 8; ++n) world.turn("step " + std::to_string(n));
  const SessionNo sound = world.session().session_no();
  world.open({.id = "t"});
  for (int n = 1; n <= 8; ++n) world.turn("step " + std::to_string(n));
  const SessionNo damaged = world.session().session_no();
  CommitBatch batch;
  auto run = std::make_shared<EventRun>();
  *run = {damaged, world.session().last_seq() + 5, 1, ByteBuffer("id: 1")};
  batch.runs.push_back(std::move(run));
  ASSERT_EQ(world.store().commit(batch, world.context().journal.epoch()).outcome,
            CommitOutcome::committed);
  tidy(world);
  EXPECT_EQ(world.store().load_session(damaged)->first_seq, 1U);
  EXPECT_GT(world.store().load_session(sound)->first_seq, 1U);
  EXPECT_GT(world.context().log_cuts.bytes, 1000U) << "and what was cut is erased";
}

TEST(Keeping, APurgeDuringAPassLeavesNothingBehind) {
  int cut = 0;
  for (int at_us = 0; at_us < 300; at_us += 2) {
    SessionWorld world(narrow());
    for (int n = 1; n <= 8; ++n) world.turn("step " + std::to_string(n));
    const SessionNo no = world.session().session_no();
    LogKeeper keeper(world.context(), world.directory());
    Scope scope(world.context().reactor());
    scope.spawn(ignore(keeper.pass({})));
    world.settle(std::chrono::microseconds(at_us));
    EXPECT_EQ(world.call("DELETE", "s?purge=1&force=1").status, 204);
    world.settle(seconds(1));
    EXPECT_EQ(scope.size(), 0U);
    EXPECT_FALSE(world.store().find_log_cut(no)->has_value()) << "at " << at_us;
    cut += world.context().log_cuts.cuts > 0 ? 1 : 0;
  }
  EXPECT_GT(cut, 0) << "no purge came behind a cut";
  EXPECT_LT(cut, 150) << "no purge came before it";
}

TEST(Keeping, OfAStoreThatIsDamagedNothingGoes) {
  SessionWorld world(narrow());
  for (int n = 1; n <= 8; ++n) world.turn("step " + std::to_string(n));
  world.context().store_health.check = StoreCheck::corrupt;
  tidy(world);
  EXPECT_EQ(world.context().log_cuts.cuts, 0U);
}

TEST(Keeping, ByDefaultNothingGoes) {
  SessionWorld world;
  for (int n = 1; n <= 8; ++n) world.turn("step " + std::to_string(n));
  world.settle(hours(24 * 400));
  tidy(world);
  EXPECT_EQ(world.context().log_cuts.cuts, 0U);
}

}  // namespace
}  // namespace berth::server
