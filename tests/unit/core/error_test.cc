#include <berth/core/result.h>

#include <gtest/gtest.h>
#include <cerrno>

namespace berth {
namespace {

TEST(Error, ErrnoDecidesWhatTheCallerShouldDo) {
  EXPECT_EQ(errno_error(ENOENT, "open x").kind, ErrorKind::not_found);
  EXPECT_EQ(errno_error(EMFILE, "accept").kind, ErrorKind::overloaded);
  EXPECT_EQ(errno_error(ECONNRESET, "read").kind, ErrorKind::unavailable);
}

TEST(Error, ContextComesBeforeTheMessage) {
  Error error = make_error(ErrorKind::invalid, "bad_id", "id is empty").with_context("session");
  EXPECT_EQ(error.message, "session: id is empty");
}

TEST(Result, CarriesTheErrorOfAFailure) {
  Result<int> result = fail(ErrorKind::busy, "turn_running", "a turn runs");
  ASSERT_FALSE(result.has_value());
  EXPECT_STREQ(result.error().code, "turn_running");
}

}  // namespace
}  // namespace berth
