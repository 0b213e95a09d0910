#include <berth/server/ops/project_figures.h>

#include <gtest/gtest.h>

#include <string>

namespace berth::server {
namespace {

std::string shown(const std::map<std::string_view, ProjectFigures>& all, std::size_t rows_max) {
  std::string text;
  for (const ProjectRow& row : project_rows(all, rows_max)) {
    text += row.project + " " + std::to_string(row.figures.sessions) + "/" +
            std::to_string(row.figures.turns) + "/" + std::to_string(row.figures.agents) + "; ";
  }
  return text;
}

TEST(ProjectFigures, HaveARowEachByName) {
  EXPECT_EQ(shown({{"b", {1, 2, 3}}, {"a", {4, 5, 6}}}, 2), "a 4/5/6; b 1/2/3; ");
  EXPECT_EQ(shown({}, 2), "");
}

TEST(ProjectFigures, OfTooManyShowTheLargestAndTheSumOfTheOthers) {
  EXPECT_EQ(shown({{"a", {1, 1, 1}}, {"b", {9, 2, 0}}, {"c", {5, 0, 0}}, {"d", {1, 1, 0}}}, 3),
            "b 9/2/0; c 5/0/0; _other 2/2/1; ");
}

TEST(ProjectFigures, OfEquallyLargeOnesShowThoseWithAgentsAndThenTheFirstByName) {
  EXPECT_EQ(shown({{"a", {1, 0, 0}}, {"b", {1, 0, 0}}, {"c", {1, 0, 7}}}, 3),
            "a 1/0/0; b 1/0/0; c 1/0/7; ");
  EXPECT_EQ(shown({{"a", {1, 0, 0}}, {"b", {1, 0, 0}}, {"c", {1, 0, 7}}}, 2),
            "c 1/0/7; _other 2/0/0; ");
  EXPECT_EQ(shown({{"a", {1, 0, 0}}, {"b", {1, 0, 0}}, {"c", {1, 0, 0}}}, 2),
            "a 1/0/0; _other 2/0/0; ");
  EXPECT_EQ(shown({{"a", {1, 0, 0}}, {"b", {1, 2, 0}}}, 1), "_other 2/2/0; ");
}

}  // namespace
}  // namespace berth::server
