#include <berth/server/ops/limits_table.h>

#include <gtest/gtest.h>

#include <set>

namespace berth::server {
namespace {

TEST(LimitsTable, HasEveryLimitOnceWithAPlaceOfItsOwn) {
  Config config;
  std::set<std::string_view> names;
  std::set<LimitPlace> places;
  for (const LimitSpec& spec : limits_table()) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    EXPECT_TRUE(places.insert(spec.of(config)).second) << spec.name;
    EXPECT_FALSE(spec.bounds.empty()) << spec.name;
  }
}

TEST(LimitsTable, IsTheKeysThatTheConfigurationTakes) {
  for (const LimitSpec& spec : limits_table()) {
    Config config;
    const Result<void> read =
        apply_toml(config, "[limits]\n" + std::string(spec.name) + " = 77\n", "f.toml");
    EXPECT_EQ(read.has_value(), !spec.fixed) << spec.name;
    if (spec.fixed) continue;
    for (const LimitValue& limit : limit_values(config)) {
      if (limit.spec == &spec) EXPECT_EQ(limit.value, 77.0) << spec.name;
    }
  }
}

TEST(LimitsTable, HasNoValueWhereThereIsNoLimit) {
  for (const LimitValue& limit : limit_values(Config())) {
    const bool told_in_words = !limit.spec->usual.empty();
    EXPECT_EQ(limit.value.has_value(), !told_in_words) << limit.spec->name;
  }
}

TEST(LimitsTable, NamesEachLimitThatHasAnError) {
  for (const LimitSpec& spec : limits_table()) {
    const std::string_view named =
        limit_named_by(spec.code, std::string(spec.name) + ": is reached");
    EXPECT_EQ(named, spec.code.empty() ? "" : spec.name);
  }
}

TEST(LimitsTable, KnowsWhichLimitAnErrorIsAbout) {
  EXPECT_EQ(limit_named_by("overloaded", "queue_max: so many turns wait"), "queue_max");
  EXPECT_EQ(limit_named_by("overloaded", "connections_max (7) is reached"), "connections_max");
  EXPECT_EQ(limit_named_by("prompt_too_big", "prompt: above it"), "prompt_bytes_max");
  EXPECT_EQ(limit_named_by("headers_too_large", "anything"), "head_max");
  EXPECT_EQ(limit_named_by("too_many_headers", "more than 100 headers"), "headers_max");
  EXPECT_EQ(limit_named_by("target_too_long", "anything"), "target_max");
  EXPECT_EQ(limit_named_by("request_timeout", "body_timeout: too slow"), "body_timeout");
  for (const char* of_the_pool :
       {"agents_live_max", "agents_per_project_max", "agents_memory_max", "starts_waiting_max"}) {
    EXPECT_EQ(limit_named_by("overloaded", std::string(of_the_pool) + ": all are busy"),
              of_the_pool);
  }
  EXPECT_EQ(limit_named_by("overloaded", "something else"), "");
  EXPECT_EQ(limit_named_by("request_timeout", "something was too slow"), "");
  EXPECT_EQ(limit_named_by("bad_field", "queue_max: no such field"), "");
  EXPECT_EQ(limit_named_by("not_found", "queue_max: is no session"), "");
}

}  // namespace
}  // namespace berth::server
