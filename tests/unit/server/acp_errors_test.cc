#include <berth/server/agents/acp_errors.h>

#include <gtest/gtest.h>

namespace berth::server::acp {
namespace {

TEST(AcpErrors, KnownShapesOfAnUnknownSessionFallToTheNextRung) {
  const char* const unknown[] = {
      R"({"code":-32002,"message":"Resource not found"})",
      R"({"code":-32603,"message":"Internal error","data":{"details":"NotFoundError"}})",
      R"({"code":-32602,"message":"Unknown session"})",
      R"({"code":-32602,"message":"Session not found: x"})",
      R"({"code":-32603,"data":{"details":"No previous sessions found for this project."}})",
  };
  for (const char* error : unknown) {
    EXPECT_EQ(classify(error, {}), Failure::unknown_session) << error;
  }
}

TEST(AcpErrors, OtherErrorsAreNotTakenForAnUnknownSession) {
  EXPECT_EQ(classify(R"({"code":-32603,"message":"disk failure"})", {}), Failure::other);
  EXPECT_EQ(classify(R"({"code":-32602,"message":"cwd must be absolute"})", {}),
            Failure::bad_params);
  EXPECT_EQ(classify(R"({"code":-32601,"message":"no"})", {}), Failure::method_missing);
  EXPECT_EQ(classify(R"({"code":-32000,"message":"log in"})", {}), Failure::needs_login);
  EXPECT_EQ(classify(R"({"code":503,"message":"UNAVAILABLE"})", {}), Failure::transient);
  EXPECT_EQ(classify("[", {}), Failure::other);
}

TEST(AcpErrors, AProfileCanNameShapesOfItsOwnAndTheyCountFirst) {
  AgentProfile profile;
  profile.unknown_session = {{7, "Never heard"}};
  profile.transient = {{-32002, "later"}};
  EXPECT_EQ(classify(R"({"code":7,"message":"never heard of it"})", profile),
            Failure::unknown_session);
  EXPECT_EQ(classify(R"({"code":-32002,"message":"Later"})", profile), Failure::transient);
}

}  // namespace
}  // namespace berth::server::acp
