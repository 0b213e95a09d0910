#include <berth/server/sessions/attribution.h>

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace berth::server {
namespace {

ChangedFile file(const std::string& path, const std::string& old_path = {}) {
  ChangedFile made;
  made.path = path;
  made.old_path = old_path;
  return made;
}

TEST(Attribution, SurvivesTheStoreWithPeopleAndOwedTurns) {
  Attribution before;
  before.note({file("a \"b\"/c.txt"), file("d")}, {{1, "qwen"}});
  before.note({file("d")}, {{1, ""}});
  before.owe({2, "opencode"});
  const Attribution after = Attribution::parse(before.json());
  EXPECT_EQ(after.of("a \"b\"/c.txt"), (std::vector<Toucher>{{1, "qwen"}}));
  EXPECT_EQ(after.of("d"), (std::vector<Toucher>{{1, "qwen"}, {1, ""}}));
  EXPECT_EQ(after.owed(), (std::vector<Toucher>{{2, "opencode"}}));
  EXPECT_EQ(after.json(), before.json());
  EXPECT_TRUE(after.of("").empty()) << "owed turns are no file";
}

TEST(Attribution, IsEmptyForWhatIsNoJson) {
  EXPECT_TRUE(Attribution::parse("").of("a").empty());
  EXPECT_TRUE(Attribution::parse("{\"a\":").of("a").empty());
  EXPECT_TRUE(Attribution::parse(R"({"a":[{"agent":"x"},7]})").of("a").empty());
  EXPECT_EQ(Attribution().json(), "");
}

TEST(Attribution, NamesAToucherOnceAndTheLatestLast) {
  Attribution attribution;
  attribution.note({file("a")}, {{1, "x"}});
  attribution.note({file("a")}, {{1, "x"}, {2, "y"}});
  EXPECT_EQ(attribution.of("a"), (std::vector<Toucher>{{1, "x"}, {2, "y"}}));
}

TEST(Attribution, ARenamedFileKeepsWhatWasKnownOfItsOldName) {
  Attribution attribution;
  attribution.note({file("old")}, {{1, "x"}});
  attribution.note({file("new", "old")}, {{2, "y"}});
  EXPECT_EQ(attribution.of("new"), (std::vector<Toucher>{{1, "x"}, {2, "y"}}));
}

TEST(Attribution, GoingBackForgetsWhatCameLater) {
  Attribution attribution;
  attribution.note({file("a"), file("b")}, {{1, "x"}});
  attribution.note({file("a")}, {{1, ""}});
  attribution.note({file("a"), file("b"), file("c")}, {{2, "y"}});
  Attribution some = attribution;
  some.forget_after(1, {"b"});
  EXPECT_EQ(some.of("b"), (std::vector<Toucher>{{1, "x"}}));
  EXPECT_EQ(some.of("a").size(), 3U);
  attribution.forget_after(1, {});
  EXPECT_EQ(attribution.of("a"), (std::vector<Toucher>{{1, "x"}}))
      << "the person came after the end of turn 1";
  EXPECT_TRUE(attribution.of("c").empty());
  attribution.forget_after(-1, {});
  EXPECT_EQ(attribution.json(), "");
}

TEST(Attribution, TooManyFilesLeaveThoseOfTheOpenChange) {
  Attribution attribution;
  attribution.note({file("a"), file("b"), file("c")}, {{1, "x"}});
  attribution.bound({file("b")}, 3);
  EXPECT_EQ(attribution.of("a").size(), 1U);
  attribution.bound({file("b"), file("z")}, 2);
  EXPECT_TRUE(attribution.of("a").empty());
  EXPECT_EQ(attribution.of("b").size(), 1U);
}

TEST(Attribution, ANoteTellsOfSeveralAndOfSeveralOnly) {
  EXPECT_EQ(note_of({}), "");
  EXPECT_EQ(note_of({{1, "x"}, {2, "x"}}), "");
  EXPECT_EQ(note_of({{1, "x"}, {2, "y"}}), "changed by x (turn 1) and by y (turn 2)");
  EXPECT_EQ(note_of({{1, "x"}, {1, ""}, {2, "y"}, {3, "x"}, {4, "x"}}),
            "changed by x (turns 1, 3 and 4), by hand after turn 1 and by y (turn 2)");
}

}  // namespace
}  // namespace berth::server
