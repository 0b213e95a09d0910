// How the ACP driver brings an agent to its native session: the ladder, and what may go wrong.
#include "acp_rig.h"

#include <gtest/gtest.h>

namespace berth::server {
namespace {

using Lines = std::vector<std::string>;
constexpr const char* kOk = R"({"jsonrpc":"2.0","id":$ID,"result":null})";

std::string error(int code, std::string_view message) {
  return R"({"jsonrpc":"2.0","id":$ID,"error":{"code":)" + std::to_string(code) +
         R"(,"message":")" + std::string(message) + "\"}}";
}
std::string replayed(std::string_view kind, std::string_view words) {
  return R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"old","update":)"
         R"({"sessionUpdate":")" +
         std::string(kind) + R"(","content":{"type":"text","text":")" + std::string(words) +
         "\"}}}}";
}
constexpr const char* kBoth = R"("loadSession":true,"sessionCapabilities":{"resume":{}})";

AttachSpec with_memory(const AcpRig& rig) {
  AttachSpec spec = rig.spec();
  spec.native_session_id = "old";
  return spec;
}

TEST(AcpAttach, OffersNoFilesAndNoTerminals) {
  AcpRig rig;
  rig.attach(rig.spec(), AcpRig::plain({}));
  rig.settle();
  ASSERT_EQ(rig.sink.attached_count, 1);
  const std::string sent = rig.sent_of("initialize").front();
  EXPECT_NE(sent.find(R"("fs":{"readTextFile":false,"writeTextFile":false},"terminal":false)"),
            std::string::npos);
  EXPECT_NE(sent.find(R"("elicitation":{"form":{},"url":{}})"), std::string::npos);
  EXPECT_EQ(rig.sent_of("session/new").size(), 1U);
  EXPECT_NE(rig.sent_of("session/new").front().find(R"("cwd":"/work","mcpServers":[])"),
            std::string::npos);
}

TEST(AcpAttach, TakesANullResultOfResumeForAYes) {
  AcpRig rig;
  rig.attach(with_memory(rig), AcpRig::plain(kBoth, [](const std::string& method, const JsonView&) {
               return method == "session/resume" ? Lines{kOk} : Lines();
             }));
  rig.settle();
  ASSERT_EQ(rig.sink.attached_count, 1);
  EXPECT_EQ(rig.sink.attached.rung, Rung::resume);
  EXPECT_EQ(rig.sink.attached.native_session_id, "old");
  EXPECT_TRUE(rig.sent_of("session/new").empty());
}

TEST(AcpAttach, FallsFromResumeToLoadToNewOnlyForAnUnknownSession) {
  AcpRig rig;
  rig.attach(with_memory(rig), AcpRig::plain(kBoth, [](const std::string& method, const JsonView&) {
               if (method == "session/resume") return Lines{error(-32601, "Method not found")};
               if (method == "session/load") return Lines{error(-32002, "Resource not found")};
               return Lines();
             }));
  rig.settle();
  ASSERT_EQ(rig.sink.attached_count, 1);
  EXPECT_EQ(rig.sink.attached.rung, Rung::history);
  EXPECT_NE(rig.sink.attached.agent_error.find("-32002"), std::string::npos);
  EXPECT_EQ(rig.sink.attached.native_session_id, "n1");
}

TEST(AcpAttach, AnErrorThatNobodyCanReadCostsNoMemory) {
  AcpRig rig;
  rig.attach(with_memory(rig), AcpRig::plain(kBoth, [](const std::string& method, const JsonView&) {
               return method == "session/resume" ? Lines{error(-32603, "disk on fire")} : Lines();
             }));
  rig.settle();
  ASSERT_EQ(rig.sink.failed_count, 1);
  EXPECT_TRUE(rig.sink.failure.needs_decision);
  EXPECT_TRUE(rig.sent_of("session/load").empty());
  EXPECT_TRUE(rig.sent_of("session/new").empty());
  EXPECT_EQ(rig.machine.live_processes(), 0U);
}

TEST(AcpAttach, TriesAgainWhatMayPass) {
  AcpRig rig;
  int asked = 0;
  rig.attach(with_memory(rig),
             AcpRig::plain(kBoth, [&](const std::string& method, const JsonView&) {
               if (method != "session/resume") return Lines();
               return ++asked < 3 ? Lines{error(-32603, "database is locked")} : Lines{kOk};
             }));
  rig.settle();
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(rig.sink.attached.rung, Rung::resume);
}

TEST(AcpAttach, SaysOfWhatNeverPassesThatItMayPassLater) {
  AcpRig rig;
  rig.attach(with_memory(rig), AcpRig::plain(kBoth, [](const std::string& method, const JsonView&) {
               return method == "session/resume" ? Lines{error(503, "overloaded")} : Lines();
             }));
  rig.settle();
  ASSERT_EQ(rig.sink.failed_count, 1);
  EXPECT_EQ(rig.sink.failure.error.kind, ErrorKind::unavailable);
  EXPECT_FALSE(rig.sink.failure.needs_decision);
  EXPECT_EQ(rig.sent_of("session/resume").size(), 4U);
}

TEST(AcpAttach, GivesServersAndDirectoriesOnEachRungAndLeavesOutWhatTheAgentRefuses) {
  AcpRig rig;
  AttachSpec spec = with_memory(rig);
  spec.mcp_servers = R"([{"name":"a","command":"/bin/a","args":[],"env":[]},)"
                     R"({"type":"sse","name":"b","url":"http://x","headers":[]}])";
  spec.additional_directories = {"/more"};
  rig.attach(spec, AcpRig::plain(
                       R"("sessionCapabilities":{"resume":{},"additionalDirectories":{}})",
                       [](const std::string& method, const JsonView& message) {
                         if (method != "session/resume") return Lines();
                         const bool bare = message.elements("params.mcpServers").empty() &&
                                           !message.find("params.additionalDirectories").present();
                         return bare ? Lines{kOk} : Lines{error(-32602, "no thanks")};
                       }));
  rig.settle();
  ASSERT_EQ(rig.sink.attached_count, 1);
  const std::vector<std::string> sent = rig.sent_of("session/resume");
  ASSERT_EQ(sent.size(), 3U);
  EXPECT_NE(sent[0].find(R"("additionalDirectories":["/more"])"), std::string::npos);
  EXPECT_NE(sent[0].find("/bin/a"), std::string::npos);
  EXPECT_EQ(sent[0].find("http://x"), std::string::npos) << "the agent takes no sse";
  EXPECT_EQ(sent[1].find("/more"), std::string::npos);
  EXPECT_EQ(rig.sink.attached.config_failures.size(), 3U);
}

TEST(AcpAttach, ANewSessionInThePlaceOfALostOneGetsTheServersAndDirectoriesToo) {
  AcpRig rig;
  AttachSpec spec = with_memory(rig);
  spec.mcp_servers = R"([{"name":"a","command":"/bin/a","args":[],"env":[]}])";
  spec.additional_directories = {"/more"};
  rig.attach(spec,
             AcpRig::plain(R"("sessionCapabilities":{"resume":{},"additionalDirectories":{}})",
                           [](const std::string& method, const JsonView&) {
                             if (method != "session/resume") return Lines();
                             return Lines{error(-32002, "Resource not found")};
                           }));
  rig.settle();
  ASSERT_EQ(rig.sink.attached_count, 1);
  EXPECT_EQ(rig.sink.attached.rung, Rung::history);
  const std::vector<std::string> sent = rig.sent_of("session/new");
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_NE(sent[0].find(R"("additionalDirectories":["/more"])"), std::string::npos);
  EXPECT_NE(sent[0].find("/bin/a"), std::string::npos);
  EXPECT_TRUE(rig.sink.attached.config_failures.empty());
}

TEST(AcpAttach, ALoginIsAStateWithInstructions) {
  AcpRig rig;
  rig.attach(rig.spec(), [](const std::string& method, const JsonView&) -> Lines {
    if (method == "initialize") {
      return {R"({"jsonrpc":"2.0","id":$ID,"result":{"protocolVersion":1,"authMethods":[)"
              R"({"id":"l","type":"terminal","name":"Log in","args":["--login"],)"
              R"("env":{"A":"b c"}},{"id":"k","name":"Key","description":"set KEY"}]}})"};
    }
    return {error(-32000, "Authentication required")};
  });
  rig.settle();
  ASSERT_EQ(rig.sink.failed_count, 1);
  const AttachFailure& failure = rig.sink.failure;
  EXPECT_STREQ(failure.error.code, "agent_needs_login");
  EXPECT_EQ(failure.error.kind, ErrorKind::denied);
  EXPECT_FALSE(failure.needs_decision);
  EXPECT_NE(failure.error.message.find("A='b c' peer --login"), std::string::npos);
  EXPECT_NE(failure.error.message.find("Key (set KEY)"), std::string::npos);
  EXPECT_NE(failure.auth_methods.find("--login"), std::string::npos);
  EXPECT_TRUE(rig.sent_of("authenticate").empty());
}

TEST(AcpAttach, NeitherStoresNorShowsWhatALoadReplays) {
  AcpRig rig;
  rig.attach(with_memory(rig),
             AcpRig::plain(R"("loadSession":true)", [](const std::string& method, const JsonView&) {
               if (method != "session/load") return Lines();
               return Lines{replayed("user_message_chunk", "old words"),
                            replayed("available_commands_update", "now"), kOk};
             }));
  rig.settle();
  EXPECT_EQ(rig.sink.attached.rung, Rung::load);
  EXPECT_EQ(rig.sink.count("update user_message_chunk"), 0);
  EXPECT_EQ(rig.sink.count("update available_commands_update"), 1);
}

TEST(AcpAttach, ShowsWhatComesBeforeTheFirstPromptOnlyIfItTellsOfThePresent) {
  AcpRig rig;
  rig.attach(with_memory(rig), AcpRig::plain(kBoth, [](const std::string& method, const JsonView&) {
               if (method != "session/resume") return Lines();
               return Lines{replayed("agent_message_chunk", "old"), kOk,
                            replayed("agent_message_chunk", "old too"),
                            replayed("usage_update", "now")};
             }));
  rig.settle();
  EXPECT_EQ(rig.sink.attached.rung, Rung::resume);
  EXPECT_EQ(rig.sink.count("update"), 1);
  EXPECT_EQ(rig.sink.count("update usage_update"), 1);
}

TEST(AcpAttach, WaitsForAReplayThatComesAfterTheReply) {
  AcpRig rig;
  rig.profile.replay_ends_with = "available_commands_update";
  rig.attach(with_memory(rig),
             AcpRig::plain(R"("loadSession":true)", [](const std::string& method, const JsonView&) {
               if (method != "session/load") return Lines();
               return Lines{kOk, replayed("user_message_chunk", "a"),
                            replayed("agent_message_chunk", "b"),
                            replayed("available_commands_update", "the mark")};
             }));
  rig.run_for(std::chrono::seconds(1));
  ASSERT_EQ(rig.sink.attached_count, 1);
  EXPECT_EQ(rig.sink.count("update"), 1);
}

TEST(AcpAttach, GoesOnWithoutTheMarkThatEndsAReplayWhenItDoesNotCome) {
  AcpRig rig;
  rig.profile.replay_ends_with = "available_commands_update";
  rig.attach(with_memory(rig),
             AcpRig::plain(R"("loadSession":true)", [](const std::string& method, const JsonView&) {
               return method == "session/load" ? Lines{kOk} : Lines();
             }));
  rig.run_for(std::chrono::seconds(1));
  EXPECT_EQ(rig.sink.attached_count, 0) << "too early";
  rig.settle();
  EXPECT_EQ(rig.sink.attached_count, 1);
}

TEST(AcpAttach, LetsTheMinutePassInWhichALoadWouldLoseTheSession) {
  AcpRig rig;
  rig.profile.waits_for_next_minute = true;
  const auto answer =
      AcpRig::plain(R"("loadSession":true)", [](const std::string& method, const JsonView&) {
        return method == "session/load" ? Lines{kOk} : Lines();
      });
  rig.attach(rig.spec(), answer);
  rig.run_for(std::chrono::seconds(1));
  ASSERT_EQ(rig.sink.attached_count, 1);
  const std::int64_t made = rig.machine.clock().wall().count() / 60'000;
  rig.agent->end(true);
  rig.run_for(std::chrono::seconds(1));
  ASSERT_EQ(rig.machine.clock().wall().count() / 60'000, made) << "the test began too late";
  AttachSpec again = rig.spec();
  again.native_session_id = "n1";
  rig.attach(again, answer);
  rig.run_for(std::chrono::seconds(1));
  EXPECT_EQ(rig.sink.attached_count, 1) << "too early";
  rig.run_for(std::chrono::minutes(1));
  ASSERT_EQ(rig.sink.attached_count, 2);
  EXPECT_EQ(rig.sink.attached.rung, Rung::load);
}

TEST(AcpAttach, EndsWithoutAProcessWhileItWaits) {
  AcpRig rig;
  rig.profile.waits_for_next_minute = true;
  rig.natives.made("old", rig.machine.clock().wall().count());
  rig.attach(with_memory(rig), AcpRig::plain({}));
  rig.agent->end(true);
  rig.run_for(std::chrono::milliseconds(10));
  EXPECT_EQ(rig.sink.failed_count, 1);
  EXPECT_TRUE(rig.sent().empty());
}

TEST(AcpAttach, RestoresModeAndOptionsAndSaysWhatDidNotWork) {
  AcpRig rig;
  AttachSpec spec = rig.spec();
  spec.mode = "plan";
  spec.config = R"({"model":"m2","fast":true})";
  rig.attach(
      spec, AcpRig::plain({}, [](const std::string& method, const JsonView& message) {
        if (method == "session/new") {
          return Lines{R"({"jsonrpc":"2.0","id":$ID,"result":{"sessionId":"n1","modes":{)"
                       R"("currentModeId":"ask","availableModes":[{"id":"ask","name":"Ask"}]}}})"};
        }
        if (method == "session/set_mode") return Lines{kOk};
        if (message.get_string("params.configId").value_or("") == "model") return Lines{kOk};
        return Lines{error(-32602, "no such option")};
      }));
  rig.settle();
  ASSERT_EQ(rig.sink.attached_count, 1);
  ASSERT_EQ(rig.sink.attached.config_failures.size(), 1U);
  EXPECT_TRUE(rig.sink.attached.config_failures[0].starts_with("fast: "));
  EXPECT_NE(rig.sent_of("session/set_config_option")
                .back()
                .find(R"("configId":"fast","type":"boolean","value":true)"),
            std::string::npos);
  EXPECT_EQ(rig.sink.count(R"(update current_mode_update {"sessionUpdate":"current_mode_update",)"
                           R"("currentModeId":"plan")"),
            1);
}

TEST(AcpAttach, SetsAModeThatIsOnlyAnOption) {
  AcpRig rig;
  AttachSpec spec = rig.spec();
  spec.mode = "plan";
  rig.attach(
      spec, AcpRig::plain({}, [](const std::string& method, const JsonView&) {
        if (method == "session/new") {
          return Lines{R"({"jsonrpc":"2.0","id":$ID,"result":{"sessionId":"n1","configOptions":[)"
                       R"({"id":"the-mode","name":"Mode","category":"mode","type":"select",)"
                       R"("currentValue":"build","options":[]}]}})"};
        }
        return method == "session/set_config_option" ? Lines{kOk} : Lines();
      }));
  rig.settle();
  ASSERT_EQ(rig.sent_of("session/set_config_option").size(), 1U);
  EXPECT_NE(rig.sent().back().find(R"("configId":"the-mode","value":"plan")"), std::string::npos);
  EXPECT_TRUE(rig.sink.attached.config_failures.empty());
}

TEST(AcpAttach, ANewSessionWithoutAnIdIsAnErrorAndLeavesNoProcess) {
  AcpRig rig;
  rig.attach(rig.spec(), AcpRig::plain({}, [](const std::string& method, const JsonView&) {
               return method == "session/new" ? Lines{kOk} : Lines();
             }));
  rig.settle();
  ASSERT_EQ(rig.sink.failed_count, 1);
  EXPECT_NE(rig.sink.failure.error.message.find("no sessionId"), std::string::npos);
  EXPECT_EQ(rig.machine.live_processes(), 0U);
}

TEST(AcpAttach, AWithdrawnTimeoutIsToldToTheAgent) {
  AcpRig rig;
  rig.profile.timeouts.session = std::chrono::seconds(2);
  rig.attach(rig.spec(), AcpRig::plain({}, [](const std::string&, const JsonView&) -> Lines {
               return {"not an answer"};
             }));
  rig.settle();
  ASSERT_EQ(rig.sink.failed_count, 1);
  EXPECT_EQ(rig.sink.failure.error.kind, ErrorKind::timed_out);
}

}  // namespace
}  // namespace berth::server
