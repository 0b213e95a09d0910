// What every driver keeps to, whatever it drives: the same steps for each, with a real process that
// speaks its protocol. What one cannot do it must say (AgentPort::abilities) and then refuse.
#include "agent_rig.h"

#include <berth/core/json_scan.h>
#include <berth/server/agents/drivers.h>

#include <signal.h>

#include <algorithm>
#include <optional>
#include <ostream>

namespace berth::server {
namespace {

/// One driver, its counterpart, and what that is told in a prompt.
struct Case {
  const char* name;
  Driver driver;
  bool v2 = false;
  const char* command = "/usr/bin/python3";
  std::vector<std::string> arguments;
  const char* hang = "hang";  ///< Says something, then nothing more until it is cancelled.
  const char* die = "die last words";
  const char* refuse = "refuse";
  const char* model = "\"large\"";       ///< A value of the option "model".
  bool late_words_have_a_place = false;  ///< They name their message, and are left out.
  Abilities abilities;                   ///< Of its counterpart.
};

std::ostream& operator<<(std::ostream& out, const Case& one) {
  return out << one.name;
}

Abilities of_acp() {
  Abilities can;
  can.resumes = can.stays = can.steers = can.asks = true;
  can.takes_mode = can.takes_options = can.answers_pings = true;
  return can;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  Case acp{.name = "acp", .driver = Driver::acp};
  acp.arguments = {BERTH_SCRIPTED_ACP};
  acp.abilities = of_acp();
  all.push_back(acp);

  acp.name = "acp2";
  acp.v2 = true;
  acp.arguments.emplace_back("--v2");
  all.push_back(acp);

  Case opencode{.name = "opencode", .driver = Driver::opencode};
  opencode.arguments = {BERTH_SCRIPTED_OPENCODE};
  opencode.hang = "hang on";
  opencode.model = "\"scripted/large\"";
  opencode.late_words_have_a_place = true;
  opencode.abilities = of_acp();
  opencode.abilities.answers_pings = false;
  all.push_back(opencode);

  Case checkpoint{.name = "checkpoint", .driver = Driver::checkpoint};
  checkpoint.command = BERTH_SCRIPTED_CHECKPOINT;
  checkpoint.hang = "slow 3600000";
  checkpoint.die = "die";
  checkpoint.refuse = "fail it was refused";
  checkpoint.abilities.resumes = checkpoint.abilities.stays = true;
  all.push_back(checkpoint);

  Case oneshot = checkpoint;
  oneshot.name = "oneshot";
  oneshot.driver = Driver::oneshot;
  oneshot.abilities = {};
  all.push_back(oneshot);
  return all;
}

class DriverContract : public AgentRig, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    ASSERT_NE(platform, nullptr);
    AgentProfile& profile = profiles["agent"];
    profile.name = "agent";
    profile.driver = GetParam().driver;
    profile.acp_v2 = GetParam().v2;
    profile.command = GetParam().command;
    profile.arguments = GetParam().arguments;
    profile.environment = {{"SCRIPTED_STORE", folder}};
    profile.timeouts.exit_grace = std::chrono::seconds(20);
    launches.emplace(LaunchSettings{}, platform->environment(), folder);
    drivers.emplace(*platform, scanner, *launches, profiles, folder, "berth-test-contract");
    AgentSink& sink = *this;
    Result<std::unique_ptr<AgentPort>> made = drivers->make("agent", sink);
    ASSERT_TRUE(made.has_value());
    port = std::move(*made);
  }
  void TearDown() override {
    shut_down();
    finish(drivers->shutdown());
    drivers.reset();
  }

  const Abilities& can() const { return GetParam().abilities; }
  void attach_well(std::string native = {}) {
    attach(std::move(native));
    ASSERT_TRUE(failures.empty()) << heard_failure;
  }
  std::string native() const { return attached.back().native_session_id; }
  /// A turn that has begun to speak.
  std::string begin(const std::string& text) {
    said.clear();
    const std::string turn = "turn" + std::to_string(++turns);
    port->prompt(turn, text_block(text));
    turn_until([&] { return !said.empty(); });
    return turn;
  }
  /// A turn to its end, after which the agent is live again: one that does not stay is attached.
  void run(const std::string& text) {
    const std::size_t ended = ends.size();
    const std::size_t exited = exits.size();
    prompt(text);
    turn_until([&] { return ends.size() > ended; });
    EXPECT_EQ(ended_turns.back(), "turn" + std::to_string(turns));
    if (!can().stays) turn_until([&] { return exits.size() > exited; });
    if (!port->live()) attach_well(native());
  }
  int refusals() const {
    return static_cast<int>(std::count(foreign.begin(), foreign.end(), "berth/config_refused"));
  }
  std::size_t calls() const {
    return attached.size() + failures.size() + updates.size() + questions.size() + foreign.size() +
           junk.size() + ends.size() + exits.size();
  }

  JsonScanner scanner;
  AgentProfiles profiles;
  std::optional<LaunchPolicy> launches;
  std::optional<Drivers> drivers;
};

TEST_P(DriverContract, IsNotLiveBeforeItIsAttachedAndCanDoNothingThen) {
  EXPECT_FALSE(port->live());
  EXPECT_FALSE(port->abilities().stays);
  EXPECT_FALSE(port->abilities().answers_pings);
  EXPECT_FALSE(port->ping());
  EXPECT_FALSE(port->steer("turn1", text_block("say more")));
  port->end(true);
  EXPECT_EQ(calls(), 0U);
}

TEST_P(DriverContract, SaysWhatItCanDo) {
  attach_well();
  EXPECT_TRUE(port->live());
  const Abilities says = port->abilities();
  EXPECT_EQ(says.resumes, can().resumes);
  EXPECT_EQ(says.stays, can().stays);
  EXPECT_EQ(says.steers, can().steers);
  EXPECT_EQ(says.asks, can().asks);
  EXPECT_EQ(says.takes_mode, can().takes_mode);
  EXPECT_EQ(says.takes_options, can().takes_options);
  EXPECT_EQ(says.answers_pings, can().answers_pings);
}

TEST_P(DriverContract, ANewSessionIsNewAndHasAName) {
  attach_well();
  EXPECT_EQ(attached.back().rung, Rung::new_session);
  EXPECT_NE(native(), "");
  EXPECT_EQ(attached.back().process.pid != 0, can().stays) << "a process before the first turn";
}

TEST_P(DriverContract, EveryTurnHasOneEndingAndItsOwnWords) {
  attach_well();
  for (const char* words : {"one", "two", "three"}) {
    run(std::string("say ") + words);
    EXPECT_EQ(said, words);
    EXPECT_EQ(ends.back().stop_reason, "end_turn");
  }
  EXPECT_EQ(ended_turns, (std::vector<std::string>{"turn1", "turn2", "turn3"}));
  EXPECT_EQ(exits.size(), can().stays ? 0U : 3U);
}

TEST_P(DriverContract, AnErrorEndsTheTurnAndNotTheAgent) {
  attach_well();
  run(GetParam().refuse);
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].stop_reason, "");
  EXPECT_STREQ(ends[0].error.code, "agent_error");
  EXPECT_NE(ends[0].agent_error, "");
  run("say well");
  EXPECT_EQ(said, "well");
}

TEST_P(DriverContract, ComesBackToItsMemoryOrSaysThatItHasNone) {
  attach_well();
  const std::string first = native();
  run("remember heron");
  end();
  EXPECT_TRUE(exits.back().expected);
  EXPECT_FALSE(port->live());
  attach_well(first);
  if (can().resumes) {
    EXPECT_TRUE(attached.back().rung == Rung::resume || attached.back().rung == Rung::load);
    EXPECT_EQ(native(), first);
    run("recall");
    EXPECT_EQ(said, "heron");
  } else {
    EXPECT_EQ(attached.back().rung, Rung::history);
    EXPECT_NE(attached.back().reason, "");
  }
}

TEST_P(DriverContract, ASessionThatTheAgentDoesNotKnowBeginsAnew) {
  attach_well("native-that-nobody-knows");
  EXPECT_EQ(attached.back().rung, Rung::history);
  EXPECT_NE(native(), "native-that-nobody-knows");
  run("say well");
  EXPECT_EQ(said, "well");
}

TEST_P(DriverContract, ACancelEndsTheTurnThatItNamesAndNoOther) {
  attach_well();
  port->cancel("turn1");  // before: there is none
  const std::string turn = begin(GetParam().hang);
  port->cancel("another");
  EXPECT_TRUE(ends.empty());
  port->cancel(turn);
  port->cancel(turn);
  turn_until([&] { return !ends.empty(); });
  EXPECT_EQ(ends[0].stop_reason, "cancelled");
  EXPECT_EQ(ended_turns[0], turn);
  if (!can().stays) turn_until([&] { return !exits.empty(); });
  if (!port->live()) attach_well(native());
  port->cancel(turn);  // after: it is over
  run("say next");
  EXPECT_EQ(said, "next");
  EXPECT_EQ(ends.size(), 2U);
  EXPECT_EQ(ends[1].stop_reason, "end_turn");
}

TEST_P(DriverContract, WordsAfterTheEndingEndNothingAndAreNotOfTheNextTurn) {
  attach_well();
  run("linger late");
  if (!GetParam().late_words_have_a_place) {
    turn_until([&] { return said == "donelate"; });
  }
  run("say next");
  EXPECT_EQ(said, "next");
  EXPECT_EQ(ends.size(), 2U);
}

TEST_P(DriverContract, ADeathInATurnIsToldOnceAndItsWordsAreKept) {
  attach_well();
  port->prompt("dying", text_block(GetParam().die));
  turn_until([&] { return !exits.empty(); });
  EXPECT_EQ(said, "last words");
  EXPECT_FALSE(port->live());
  if (can().stays) {
    EXPECT_TRUE(ends.empty()) << "the ending is the session's to write";
    EXPECT_FALSE(exits[0].expected);
    EXPECT_FALSE(exits[0].prompt_untouched);
    EXPECT_EQ(exits[0].status.value, 3);
  } else {
    ASSERT_EQ(ends.size(), 1U) << "its process and its turn are one";
    EXPECT_EQ(ends[0].stop_reason, "");
  }
  said.clear();
  attach_well(native());
  run("say again");
  EXPECT_EQ(said, "again");
  EXPECT_EQ(exits.size(), can().stays ? 1U : 2U);
}

TEST_P(DriverContract, ADeathBetweenTurnsIsTold) {
  attach_well();
  if (!can().stays) return;  // there is no process then
  run("say one");
  ASSERT_EQ(::kill(attached.back().process.pid, SIGKILL), 0);
  turn_until([&] { return !exits.empty(); });
  EXPECT_FALSE(exits[0].expected);
  EXPECT_EQ(ends.size(), 1U);
  attach_well(native());
  run("say two");
  EXPECT_EQ(said, "two");
}

TEST_P(DriverContract, SteersTheRunningTurnOrSaysThatItCannot) {
  attach_well();
  EXPECT_FALSE(port->steer("turn1", text_block("nothing runs")));
  const std::string turn = begin(can().steers ? "hold" : GetParam().hang);
  port->cancel("another");
  EXPECT_FALSE(port->steer("another", text_block("of another turn")));
  EXPECT_EQ(port->steer(turn, text_block("elsewhere")), can().steers);
  if (!can().steers) port->cancel(turn);
  turn_until([&] { return !ends.empty(); });
  EXPECT_EQ(said.find("elsewhere") != std::string::npos, can().steers) << said;
  EXPECT_EQ(ends.size(), 1U);
  EXPECT_FALSE(port->steer(turn, text_block("it is over")));
}

TEST_P(DriverContract, AnAnswerReachesTheAgentOnce) {
  attach_well();
  port->answer(4711, {AgentAnswer::Outcome::selected, "once", {}});  // nobody asked
  if (can().asks) {
    port->prompt("asking", text_block("ask"));
    turn_until([&] { return !reply_ids.empty(); });
    port->answer(reply_ids[0], {AgentAnswer::Outcome::selected, "once", {}});
    port->answer(reply_ids[0], {AgentAnswer::Outcome::cancelled, {}, {}});
    turn_until([&] { return !ends.empty(); });
    EXPECT_EQ(said, "reply once");
    said.clear();
  }
  run("say well");
  EXPECT_EQ(said, "well");
  EXPECT_EQ(questions.size(), can().asks ? 1U : 0U);
}

TEST_P(DriverContract, TakesSettingsOrRefusesThemInWords) {
  attach_well();
  port->set_mode("plan");
  port->set_config_option("model", GetParam().model);
  if (can().takes_mode && can().takes_options) {
    for (int i = 0; i < 50 && said != "plan large"; ++i) run("settings");  // a mode may take time
    EXPECT_EQ(said, "plan large");
    EXPECT_EQ(refusals(), 0);
  } else {
    EXPECT_EQ(refusals(), 2);
  }
  const int before = refusals();
  port->set_mode("nowhere");
  port->set_config_option("unheard-of", "\"value\"");
  turn_until([&] { return refusals() == before + 2; });
  EXPECT_TRUE(port->live());
}

TEST_P(DriverContract, APingIsAnsweredByAnAgentThatIsWellAndByNoOther) {
  attach_well();
  EXPECT_EQ(port->ping(), can().answers_pings);
  if (!can().answers_pings) {
    EXPECT_FALSE(port->pings().open_since.has_value());
    return;
  }
  turn_until([&] { return port->pings().answered == 1; });
  EXPECT_FALSE(port->pings().open_since.has_value());

  const int pid = attached.back().process.pid;
  ASSERT_EQ(::kill(pid, SIGSTOP), 0);
  EXPECT_TRUE(port->ping());
  EXPECT_FALSE(port->ping()) << "one at a time";
  for (int i = 0; i < 20; ++i) platform->reactor().poll();
  EXPECT_TRUE(port->pings().open_since.has_value());
  ASSERT_EQ(::kill(pid, SIGCONT), 0);
  turn_until([&] { return port->pings().answered == 2; });
  EXPECT_TRUE(foreign.empty()) << "nobody is told of it";

  const std::string turn = begin(GetParam().hang);
  EXPECT_FALSE(port->ping()) << "it has something to do";
  port->cancel(turn);
  turn_until([&] { return !ends.empty(); });
}

TEST_P(DriverContract, KeepsWhatTheAgentWritesToStderr) {
  attach_well();
  const std::string turn = begin(GetParam().hang);
  turn_until([&] { return port->stderr_tail().find("is here") != std::string::npos; });
  port->cancel(turn);
  turn_until([&] { return !ends.empty(); });
}

TEST_P(DriverContract, AProgramThatCannotBeStartedIsToldAndTriedAgain) {
  AgentProfile& profile = profiles["agent"];
  const std::string command = std::exchange(profile.command, "/no/such/agent");
  attach();
  if (GetParam().driver == Driver::oneshot) {  // it starts with its turn
    port->prompt("turn", text_block("say one"));
    turn_until([&] { return !ends.empty(); });
    EXPECT_EQ(ends[0].stop_reason, "");
    EXPECT_STREQ(ends[0].error.code, "command_not_found");
    turn_until([&] { return !exits.empty(); });
    EXPECT_TRUE(exits[0].expected);
  } else {
    ASSERT_EQ(failures.size(), 1U);
    EXPECT_STREQ(failures[0].error.code, "command_not_found");
    EXPECT_TRUE(exits.empty());
  }
  EXPECT_FALSE(port->live());
  failures.clear();
  profile.command = command;
  attach_well();
  run("say one");
  EXPECT_EQ(said, "one");
}

TEST_P(DriverContract, AnEndWhileItAttachesIsOneFailureOrOneExit) {
  AttachSpec spec;
  spec.attach_epoch = ++epoch;
  spec.session_key = "01key";
  spec.directory = folder;
  port->attach(std::move(spec));
  port->end(true);
  turn_until([&] { return failures.size() + exits.size() == 1; });
  EXPECT_EQ(attached.size(), exits.size());
  EXPECT_FALSE(port->live());
  failures.clear();
  attach_well();
  run("say one");
  EXPECT_EQ(said, "one");
}

TEST_P(DriverContract, AnEndAtOnceInATurnIsOneExpectedExit) {
  attach_well();
  begin(GetParam().hang);
  port->end(true);
  turn_until([&] { return !exits.empty(); });
  EXPECT_TRUE(exits[0].expected);
  EXPECT_EQ(exits.size(), 1U);
  EXPECT_LE(ends.size(), 1U) << "one that it can still tell is told before its exit";
  EXPECT_FALSE(port->live());
}

TEST_P(DriverContract, AfterAShutdownNobodyIsToldAnything) {
  attach_well();
  begin(GetParam().hang);
  const std::size_t before = calls();
  finish(port->shutdown());
  const std::size_t after = calls();
  EXPECT_FALSE(port->live());
  for (int i = 0; i < 20; ++i) platform->reactor().poll();
  EXPECT_EQ(calls(), after);
  EXPECT_EQ(ends.size() + exits.size(), 0U);
  EXPECT_LE(before, after);
}

INSTANTIATE_TEST_SUITE_P(Drivers, DriverContract, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace berth::server
