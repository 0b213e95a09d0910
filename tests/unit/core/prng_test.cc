#include <berth/core/hash.h>
#include <berth/core/prng.h>

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace berth {
namespace {

TEST(Prng, IsSplitMix64) {
  // The first outputs for seed 0 of the reference implementation (Vigna, splitmix64.c).
  Prng zero(0);
  EXPECT_EQ(zero.next(), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(zero.next(), 0x6e789e6aa1b965f4ULL);
  EXPECT_EQ(zero.next(), 0x06c45d188009454fULL);
}

TEST(Prng, BelowReachesEveryValueAndNoOther) {
  Prng random(1);
  std::array<int, 7> counts{};
  for (int i = 0; i < 7000; ++i) ++counts.at(random.below(7));
  for (const int count : counts) EXPECT_NEAR(count, 1000, 200);
  int ones = 0;
  for (int i = 0; i < 8000; ++i) ones += random.one_in(8) ? 1 : 0;
  EXPECT_NEAR(ones, 1000, 200);
}

TEST(Ulid, BeginsWithItsTimeAndSortsByIt) {
  Prng random(1);
  // The time of the specification's example, 01ARZ3NDEK...
  const std::string id = make_ulid(1'469'922'850'259, random);
  EXPECT_EQ(id.size(), 26U);
  EXPECT_EQ(id.substr(0, 10), "01arz3ndek");
  EXPECT_EQ(id.find_first_not_of("0123456789abcdefghjkmnpqrstvwxyz"), std::string::npos);
  EXPECT_LT(id, make_ulid(1'469'922'850'260, random));
  EXPECT_NE(id, make_ulid(1'469'922'850'259, random));
}

TEST(Hash, IsFnv1a) {
  // Test vectors of the FNV reference (Noll).
  EXPECT_EQ(fnv1a(""), 0xcbf29ce484222325ULL);
  EXPECT_EQ(fnv1a("a"), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(fnv1a("foobar"), 0x85944171f73967e8ULL);
}

}  // namespace
}  // namespace berth
