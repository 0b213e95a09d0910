#include <berth/io/user_data_map.h>

#include <berth/core/prng.h>

#include <gtest/gtest.h>
#include <map>

namespace berth::inline v0::io {

TEST(UserDataMap, HoldsEachKeyOnce) {
  UserDataMap map;
  EXPECT_TRUE(map.insert(16, 1));
  EXPECT_FALSE(map.insert(16, 2));
  EXPECT_EQ(map.find(16), 1U);
  EXPECT_EQ(map.take(16), 1U);
  EXPECT_EQ(map.take(16), std::nullopt);
  EXPECT_EQ(map.find(16), std::nullopt);
  EXPECT_EQ(map.size(), 0U);
}

TEST(UserDataMap, AnswersAsAnOrdinaryMapDoesWhateverIsPutInAndTakenOut) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Prng random(seed);
    UserDataMap map;
    std::map<std::uint64_t, std::uint32_t> model;
    for (std::uint32_t step = 0; step < 5000; ++step) {
      const std::uint64_t key = 0x7f00'0000'0000 + 16 * random.below(300);  // like addresses
      if (random.below(2) == 0) {
        ASSERT_EQ(map.insert(key, step), model.emplace(key, step).second) << "seed " << seed;
      } else {
        const auto found = model.find(key);
        const auto taken = map.take(key);
        ASSERT_EQ(taken.has_value(), found != model.end()) << "seed " << seed;
        if (taken.has_value()) {
          ASSERT_EQ(*taken, found->second) << "seed " << seed;
          model.erase(found);
        }
      }
      ASSERT_EQ(map.size(), model.size());
    }
    for (const auto& [key, value] : model) ASSERT_EQ(map.find(key), value) << "seed " << seed;
  }
}

}  // namespace berth::inline v0::io
