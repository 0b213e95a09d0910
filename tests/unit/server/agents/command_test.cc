#include "agent_rig.h"

#include <berth/io/sim_files.h>
#include <berth/server/agents/command/command_agent.h>

#include <signal.h>

#include <filesystem>
#include <fstream>

namespace berth::server {
namespace {

// --- what lines mean ---

TEST(CommandOutput, SaysTextThoughtsAndToolsInTheWordsOfAcp) {
  CommandOutput output;
  EXPECT_EQ(output.read(R"({"type":"text","text":"a\"b"})")->update,
            R"({"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"a\"b"}})");
  EXPECT_EQ(output.read(R"({"type":"thought","text":"hm"})")->kind, "agent_thought_chunk");
  const auto call = output.read(R"({"type":"tool_call","id":"c1","name":"sh","input":{"a":1}})");
  EXPECT_EQ(call->tool_call_id, "c1");
  EXPECT_NE(call->update.find(R"("rawInput":{"a":1})"), std::string::npos);
  const auto result =
      output.read(R"({"type":"tool_result","id":"c1","output":"no","is_error":true})");
  EXPECT_NE(result->update.find(R"("status":"failed")"), std::string::npos);
}

TEST(CommandOutput, PassesAnUpdateOfAcpAsItIs) {
  CommandOutput output;
  const std::string update = R"({"sessionUpdate":"plan","entries":[],"x":{"y":1}})";
  const auto said = output.read(update);
  EXPECT_EQ(said->update, update);
  EXPECT_EQ(said->kind, "plan");
}

TEST(CommandOutput, AddsUpWhatATurnUsed) {
  CommandOutput output;
  output.read(R"({"type":"usage","input_tokens":10,"output_tokens":4,"cost":0.25})");
  output.read(R"({"type":"usage","input_tokens":5,"output_tokens":1})");
  const auto said = output.read(R"({"type":"custom","custom_type":"agent_complete","data":{}})");
  EXPECT_EQ(said->ended->usage, R"({"inputTokens":15,"outputTokens":5,"totalTokens":20,)"
                                R"("cost":{"amount":0.25,"currency":"USD"}})");
  output.begin_turn();
  EXPECT_EQ(output.usage(), "");
}

TEST(CommandOutput, TellsTheAnswerOfTheEndOnlyWhenNothingWasSaidBefore) {
  const char* end =
      R"({"type":"custom","custom_type":"agent_complete","data":{"response":"all of it"}})";
  CommandOutput silent;
  EXPECT_NE(silent.read(end)->update.find("all of it"), std::string::npos);
  CommandOutput spoken;
  spoken.read(R"({"type":"text","text":"all of it"})");
  EXPECT_EQ(spoken.read(end)->update, "");
}

TEST(CommandOutput, NamesWhyATurnEnded) {
  const auto reason = [](const std::string& theirs) {
    CommandOutput output;
    return output
        .read(R"({"type":"custom","custom_type":"agent_complete","data":{"stop_reason":")" +
              theirs + "\"}}")
        ->ended->stop_reason;
  };
  EXPECT_EQ(reason("budget"), "max_tokens");
  EXPECT_EQ(reason("max_iterations"), "max_turn_requests");
  EXPECT_EQ(reason("interrupted"), "cancelled");
  EXPECT_EQ(reason(""), "end_turn");
}

TEST(CommandOutput, KeepsWhatItDoesNotKnowAndRefusesWhatIsNoObject) {
  CommandOutput output;
  EXPECT_EQ(output.read(R"({"type":"trace","x":1})")->foreign_type, "trace");
  EXPECT_EQ(output.read(R"({"x":1})")->foreign_type, "line");
  EXPECT_FALSE(output.read("[1]").has_value());
  EXPECT_FALSE(output.read("{\"type\":").has_value());
}

TEST(PromptText, JoinsWordsAndRefusesWhatHasNone) {
  EXPECT_EQ(prompt_text(R"([{"type":"text","text":"a"},{"type":"resource_link","uri":"file:///x"},
                            {"type":"resource","resource":{"text":"b"}}])"),
            "a\nfile:///x\nb");
  EXPECT_FALSE(prompt_text(R"([{"type":"image","data":"xx"}])").has_value());
}

// --- checkpoints ---

class Checkpoints : public testing::Test {
 protected:
  Checkpoints() { EXPECT_TRUE(files.make_directories(folders.written, 0700).has_value()); }
  void write(const std::string& name, std::string_view text) {
    ASSERT_TRUE(files.write_atomic(folders.written + "/" + name, text, 0600).has_value());
  }
  std::vector<std::string> names(const std::string& folder) {
    std::vector<std::string> all;
    const std::vector<io::FolderEntry> entries = files.list(folder).value();
    for (const io::FolderEntry& entry : entries) all.push_back(entry.name);
    return all;
  }

  io::SimDisk disk;
  io::SimFiles files{disk};
  CheckpointFolders folders{"/a/checkpoints", "/a/kept"};
};

TEST_F(Checkpoints, TheNewestThatIsWholeIsChosen) {
  write("session-latest.json", R"({"n":1})");
  const ChosenCheckpoint chosen = choose_checkpoint(files, folders, 7).value();
  EXPECT_EQ(chosen.path, "/a/checkpoints/session-latest.json");
  EXPECT_EQ(chosen.reason, "");
}

TEST_F(Checkpoints, ATornOneIsSetAsideAndTheLastCopyTakesItsPlace) {
  write("session-latest.json", R"({"n":1})");
  ASSERT_TRUE(keep_checkpoint(files, folders).value());
  write("session-latest.json", R"({"n":2})");
  ASSERT_TRUE(keep_checkpoint(files, folders).value());
  write("session-latest.json", R"({"n":)");
  EXPECT_FALSE(keep_checkpoint(files, folders).value());
  const ChosenCheckpoint chosen = choose_checkpoint(files, folders, 7).value();
  EXPECT_EQ(files.read(chosen.path, 100).value(), R"({"n":2})");
  EXPECT_NE(chosen.reason.find("torn"), std::string::npos);
  EXPECT_EQ(files.read("/a/checkpoints/bad-7-session-latest.json", 100).value(), R"({"n":)");
}

TEST_F(Checkpoints, ACopyThatRottedIsSetAsideToo) {
  write("session-latest.json", R"({"n":1})");
  ASSERT_TRUE(keep_checkpoint(files, folders).value());
  write("session-latest.json", R"({"n":2})");
  ASSERT_TRUE(keep_checkpoint(files, folders).value());
  const std::string newest = names(folders.kept).back();
  ASSERT_TRUE(files.write_atomic(folders.kept + "/" + newest, R"({"n":3})", 0600).has_value());
  write("session-latest.json", "");
  const ChosenCheckpoint chosen = choose_checkpoint(files, folders, 7).value();
  EXPECT_EQ(files.read(chosen.path, 100).value(), R"({"n":1})");
  EXPECT_TRUE(files.exists(folders.kept + "/bad-7-" + newest));
}

TEST_F(Checkpoints, WithNoneWholeTheAgentStartsWithoutAndTheReasonIsTold) {
  write("session-latest.json", "{");
  const ChosenCheckpoint chosen = choose_checkpoint(files, folders, 7).value();
  EXPECT_EQ(chosen.path, "");
  EXPECT_NE(chosen.reason, "");
}

TEST_F(Checkpoints, FiveCopiesAreKeptAndNoneTwice) {
  for (int n = 1; n <= 8; ++n) {
    write("session-latest.json", "{\"n\":" + std::to_string(n) + "}");
    ASSERT_TRUE(keep_checkpoint(files, folders).value());
    ASSERT_TRUE(keep_checkpoint(files, folders).value());
  }
  EXPECT_EQ(names(folders.kept).size(), 5U);
}

// --- the driver, with a real agent program ---

class CommandAgentTest : public AgentRig {
 protected:
  void make(Driver driver) {
    profile.name = "cmd";
    profile.driver = driver;
    profile.command = BERTH_SCRIPTED_CHECKPOINT;
    AgentSink& sink = *this;
    launches.emplace(LaunchSettings{}, platform->environment(), folder);
    port = std::make_unique<CommandAgent>(*platform, *launches, profile, folder + "/agents",
                                          "berth-test-cmd", sink);
  }
  std::string file(const std::string& name) {
    std::ifstream in(folder + "/agents/01key-cmd/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// Returns when the process is a zombie or gone; its files are closed then.
  static void await_death(int pid) {
    for (char state = 'R'; state != 'Z' && state != '\0';) {
      std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
      const std::string text{std::istreambuf_iterator<char>(stat), {}};
      const std::size_t end = text.rfind(") ");
      state = end == std::string::npos ? '\0' : text[end + 2];
    }
  }
  AgentProfile profile;
  std::optional<LaunchPolicy> launches;
};

TEST_F(CommandAgentTest, StaysWarmOverTurnsAndLogsWhatItPrints) {
  make(Driver::checkpoint);
  attach();
  ASSERT_EQ(attached.size(), 1U);
  EXPECT_EQ(attached[0].rung, Rung::new_session);
  prompt("remember heron");
  prompt("recall");
  EXPECT_EQ(said, "heron");
  EXPECT_EQ(ends.back().stop_reason, "end_turn");
  prompt("usage");
  EXPECT_NE(ends.back().usage.find("\"totalTokens\":20"), std::string::npos);
  end();
  EXPECT_TRUE(exits[0].expected);
  EXPECT_EQ(exits[0].status.value, 0);
  EXPECT_NE(file("output.jsonl").find("heron"), std::string::npos);
}

TEST_F(CommandAgentTest, TurnsItsLogOverWhenThatIsFull) {
  constexpr std::uintmax_t kFull = std::uintmax_t{64} << 20;
  make(Driver::checkpoint);
  attach();
  prompt("say before");
  end();
  const std::string log = folder + "/agents/01key-cmd/output";
  std::filesystem::resize_file(log + ".jsonl", kFull);
  attach(attached[0].native_session_id);
  prompt("say after");
  end();
  EXPECT_EQ(std::filesystem::file_size(log + ".1.jsonl"), kFull);
  EXPECT_LT(std::filesystem::file_size(log + ".jsonl"), 10'000U);
  EXPECT_NE(file("output.jsonl").find("after"), std::string::npos);
}

TEST_F(CommandAgentTest, RemembersAcrossTheDeathOfItsProcess) {
  make(Driver::checkpoint);
  attach();
  prompt("remember heron");
  prompt("die");
  ASSERT_EQ(exits.size(), 1U);
  EXPECT_FALSE(exits[0].expected);
  EXPECT_EQ(said, "last words");
  attach(attached[0].native_session_id);
  EXPECT_EQ(attached[1].rung, Rung::resume);
  prompt("recall");
  EXPECT_EQ(said, "heron");
}

TEST_F(CommandAgentTest, SaysThatAPromptDidNotReachADeadProcess) {
  make(Driver::checkpoint);
  attach();
  const int pid = attached[0].process.pid;
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  await_death(pid);  // its pipes are closed, and nobody has told us yet
  prompt("say hello");
  ASSERT_EQ(exits.size(), 1U);
  EXPECT_TRUE(exits[0].prompt_untouched);
  attach(attached[0].native_session_id);
  prompt("die");
  ASSERT_EQ(exits.size(), 2U);
  EXPECT_FALSE(exits[1].prompt_untouched) << "it read it";
  attach(attached[0].native_session_id);
  end();
  EXPECT_FALSE(exits[2].prompt_untouched) << "there was none";
}

TEST_F(CommandAgentTest, ATornCheckpointCostsNoMoreThanTheLastTurn) {
  make(Driver::checkpoint);
  attach();
  prompt("remember heron");
  prompt("say something so that the copy of the turn before is made");
  prompt("tear");
  attach(attached[0].native_session_id);
  ASSERT_EQ(attached.size(), 2U);
  EXPECT_EQ(attached[1].rung, Rung::resume);
  EXPECT_NE(attached[1].reason.find("torn"), std::string::npos);
  prompt("recall");
  EXPECT_EQ(said, "heron");
}

TEST_F(CommandAgentTest, CancelEndsTheTurnAndNotTheAgent) {
  make(Driver::checkpoint);
  attach();
  prompt("remember heron");
  port->prompt("slow", text_block("slow 20000"));
  turn_until([&] { return said.find('.') != std::string::npos; });
  port->cancel("slow");
  turn_until([&] { return ends.size() == 2; });
  EXPECT_EQ(ends.back().stop_reason, "cancelled");
  prompt("recall");
  EXPECT_EQ(said, "heron");
  EXPECT_TRUE(exits.empty());
}

TEST_F(CommandAgentTest, ACancelBeforeThePromptWasReadEndsTheTurnToo) {
  make(Driver::checkpoint);
  attach();
  prompt("remember heron");
  for (int i = 0; i < 5; ++i) {
    const std::string turn = "at once " + std::to_string(i);
    const std::size_t before = ends.size();
    port->prompt(turn, text_block("slow 600000"));
    port->cancel(turn);
    turn_until([&] { return ends.size() > before; });
    ASSERT_EQ(ends.size(), before + 1);
    EXPECT_EQ(ends.back().stop_reason, "cancelled");
  }
  prompt("recall");
  EXPECT_EQ(said, "heron");
  EXPECT_TRUE(exits.empty());
}

TEST_F(CommandAgentTest, AGracefulEndLetsTheTurnComeToItsEnd) {
  make(Driver::checkpoint);
  profile.timeouts.exit_grace = std::chrono::seconds(20);
  attach();
  port->prompt("slow", text_block("slow 200"));
  turn_until([&] { return said.find('.') != std::string::npos; });
  end();
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].stop_reason, "end_turn");
  EXPECT_EQ(exits[0].status.value, 0);
}

TEST_F(CommandAgentTest, ErrorsAndBudgetsEndATurnWithACheckpoint) {
  make(Driver::checkpoint);
  attach();
  prompt("fail no such model");
  EXPECT_EQ(ends.back().stop_reason, "");
  EXPECT_NE(ends.back().agent_error.find("no such model"), std::string::npos);
  prompt("budget");
  EXPECT_EQ(ends.back().stop_reason, "max_tokens");
  end();
  attach(attached[0].native_session_id);
  prompt("count");
  EXPECT_EQ(said, "3");
}

TEST_F(CommandAgentTest, TakesNoPictureAndNoNul) {
  make(Driver::checkpoint);
  attach();
  port->prompt("a", R"([{"type":"image","data":"xx"}])");
  port->prompt("b", R"([{"type":"text","text":"x\u0000y"}])");
  ASSERT_EQ(ends.size(), 2U);
  EXPECT_STREQ(ends[0].error.code, "text_only");
  EXPECT_STREQ(ends[1].error.code, "nul_in_prompt");
  prompt("junk");
  EXPECT_EQ(junk, std::vector<std::string>{"bad_json"});
}

TEST_F(CommandAgentTest, AMissingProgramFailsTheAttach) {
  make(Driver::checkpoint);
  profile.command = "/no/such/agent";
  attach();
  ASSERT_EQ(failures.size(), 1U);
  EXPECT_TRUE(exits.empty());
}

TEST_F(CommandAgentTest, AOneShotAgentIsAProcessATurnWithTheSameEvents) {
  make(Driver::checkpoint);
  attach();
  prompt("tool x");
  const std::vector<std::string> warm = updates;
  end();
  updates.clear();
  shut_down();
  make(Driver::oneshot);
  attach();
  EXPECT_EQ(attached.back().rung, Rung::new_session);
  EXPECT_EQ(attached.back().process.pid, 0);
  port->prompt("one", text_block("tool x"));
  turn_until([&] { return exits.size() == 2; });
  EXPECT_EQ(updates, warm);
  EXPECT_EQ(ended_turns.back(), "one");
  EXPECT_EQ(ends.back().stop_reason, "end_turn");
  EXPECT_TRUE(exits.back().expected);
  attach(attached.back().native_session_id);
  EXPECT_EQ(attached.back().rung, Rung::history);
  port->prompt("two", text_block("die"));
  turn_until([&] { return exits.size() == 3; });
  EXPECT_EQ(ends.back().stop_reason, "");
}

}  // namespace
}  // namespace berth::server
