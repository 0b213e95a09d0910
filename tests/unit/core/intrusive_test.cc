#include <berth/core/intrusive.h>

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace berth {
namespace {

struct Number : ListNode {
  explicit Number(int of) : value(of) {}
  int value;
};

std::vector<int> values(IntrusiveList<Number>& list) {
  std::vector<int> found;
  list.for_each([&](Number& number) { found.push_back(number.value); });
  return found;
}

TEST(IntrusiveList, KeepsTheOrderOfPushing) {
  Number one(1);
  Number two(2);
  IntrusiveList<Number> list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.front(), nullptr);
  list.push_back(one);
  list.push_back(two);
  EXPECT_EQ(list.front(), &one);
  EXPECT_EQ(list.pop_front(), &one);
  EXPECT_FALSE(one.linked());
  EXPECT_EQ(list.pop_front(), &two);
  EXPECT_EQ(list.pop_front(), nullptr);
}

TEST(IntrusiveList, AnElementLeavesByItselfAndWhenItIsDestroyed) {
  Number one(1);
  std::optional<Number> two(2);
  Number three(3);
  IntrusiveList<Number> list;
  list.push_back(one);
  list.push_back(*two);
  list.push_back(three);
  two.reset();
  EXPECT_EQ(values(list), (std::vector<int>{1, 3}));
  one.unlink();
  one.unlink();
  EXPECT_EQ(values(list), (std::vector<int>{3}));
}

TEST(IntrusiveList, SplicesAllOfAnotherBehindItsOwn) {
  Number one(1);
  Number two(2);
  Number three(3);
  IntrusiveList<Number> list;
  IntrusiveList<Number> other;
  list.push_back(one);
  list.splice_back(other);
  EXPECT_EQ(values(list), (std::vector<int>{1}));
  other.push_back(two);
  other.push_back(three);
  list.splice_back(other);
  EXPECT_EQ(values(list), (std::vector<int>{1, 2, 3}));
  EXPECT_TRUE(other.empty());
  three.unlink();
  EXPECT_EQ(values(list), (std::vector<int>{1, 2}));
}

TEST(IntrusiveList, ForEachMayUnlinkWhatItIsGiven) {
  Number one(1);
  Number two(2);
  Number three(3);
  IntrusiveList<Number> list;
  for (Number* number : {&one, &two, &three}) list.push_back(*number);
  list.for_each([](Number& number) {
    if (number.value != 2) number.unlink();
  });
  EXPECT_EQ(values(list), (std::vector<int>{2}));
}

TEST(IntrusiveList, ForEachOfTheEndStopsBeforeTheLastThatIsNotWanted) {
  Number one(1);
  Number two(2);
  Number three(3);
  Number four(4);
  IntrusiveList<Number> list;
  std::vector<int> asked;
  std::vector<int> found;
  const auto from = [&](int least) {
    asked.clear();
    found.clear();
    list.for_each_of_end(
        [&](const Number& number) {
          asked.push_back(number.value);
          return number.value >= least;
        },
        [&](Number& number) {
          found.push_back(number.value);
          number.unlink();
        });
  };
  from(0);
  EXPECT_TRUE(found.empty()) << "the list is";
  for (Number* number : {&four, &one, &two, &three}) list.push_back(*number);
  from(4);
  EXPECT_TRUE(found.empty()) << "the last is not wanted";
  from(2);
  EXPECT_EQ(asked, (std::vector<int>{3, 2, 1})) << "none before the first that is not";
  EXPECT_EQ(found, (std::vector<int>{2, 3})) << "in the order of the list";
  from(0);
  EXPECT_EQ(found, (std::vector<int>{4, 1})) << "all";
}

TEST(IntrusiveList, ElementsOutliveTheListUnlinked) {
  Number one(1);
  {
    IntrusiveList<Number> list;
    list.push_back(one);
  }
  EXPECT_FALSE(one.linked());
}

TEST(IntrusiveListDeathTest, AnElementIsInOneListAtATime) {
  EXPECT_DEATH(
      {
        Number one(1);
        IntrusiveList<Number> list;
        list.push_back(one);
        list.push_back(one);
      },
      "linked");
}

}  // namespace
}  // namespace berth
