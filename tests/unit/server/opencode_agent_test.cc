// The opencode driver against a scripted server, by way of the port that sessions use.
#include <berth/core/json_doc.h>
#include <berth/core/json_scan.h>
#include <berth/core/log.h>
#include <berth/core/scope.h>
#include <berth/io/member_timer.h>
#include <berth/io/platform_linux.h>
#include <berth/server/agents/drivers.h>

#include <gtest/gtest.h>

#include <array>

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace berth::server {
namespace {

/// Keeps all that a port says.
class Recorder final : public AgentSink {
 public:
  void on_attached(std::int64_t, const Attached& told) override { attached = told; }
  void on_attach_failed(std::int64_t, AttachFailure failure) override {
    failed = std::move(failure);
  }
  void on_update(std::int64_t, const AgentUpdate& update) override {
    const Result<JsonDoc> doc = JsonDoc::parse(update.update);
    kinds.emplace_back(update.kind);
    if (update.kind == "agent_message_chunk") text += *doc->root().get_string("content.text");
  }
  void on_question(std::int64_t, const AgentQuestion& question) override {
    questions.push_back(question.reply_id);
    asked_by.emplace_back(question.child);
    kind = question.kind;
  }
  void on_question_withdrawn(std::int64_t, std::uint64_t) override { ++withdrawn; }
  void on_foreign_message(std::int64_t, std::string_view method, std::string_view) override {
    foreign.emplace_back(method);
  }
  void on_junk(std::int64_t, const char*, std::uint64_t, std::string_view) override {}
  void on_prompt_ended(std::int64_t, std::string_view turn, PromptEnd end) override {
    ended_turns.emplace_back(turn);
    ended = std::move(end);
  }
  void on_exited(std::int64_t, AgentExit exit) override { exited = std::move(exit); }
  bool wants_more() const override { return reading; }

  std::optional<Attached> attached;
  std::optional<AttachFailure> failed;
  std::optional<PromptEnd> ended;
  std::optional<AgentExit> exited;
  std::vector<std::string> ended_turns;
  std::vector<std::string> kinds;
  std::vector<std::string> foreign;
  std::vector<std::uint64_t> questions;
  std::vector<std::string> asked_by;  // child sessions, one a question
  QuestionKind kind = QuestionKind::client_tool;
  int withdrawn = 0;
  std::string text;
  bool reading = true;
};

class OpencodeAgent : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "berth-opencode-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    Result<std::unique_ptr<io::Platform>> platform = io::make_linux_platform(log_, {});
    ASSERT_TRUE(platform.has_value()) << platform.error().message;
    platform_ = std::move(*platform);
    AgentProfile& profile = profiles_["scripted"];
    profile.name = "scripted";
    profile.driver = Driver::opencode;
    profile.command = "/usr/bin/python3";
    profile.arguments = {BERTH_SCRIPTED_OPENCODE};
    profile.environment = {{"SCRIPTED_STORE", folder_}};
    profile.timeouts.initialize = std::chrono::seconds(20);
    launches_.emplace(LaunchSettings{}, platform_->environment(), folder_);
    drivers_.emplace(*platform_, scanner_, *launches_, profiles_, folder_, "berth-test");
  }

  void TearDown() override {
    for (const auto& port : ports_) finish(port->shutdown());
    ports_.clear();
    finish(drivers_->shutdown());
    drivers_.reset();
    platform_.reset();
    std::filesystem::remove_all(folder_);
  }

  /// Runs a task to its end.
  void finish(Task<void> task) {
    bool done = false;
    Scope scope(platform_->reactor());
    scope.spawn(mark(std::move(task), &done));
    ASSERT_TRUE(until([&] { return done; }));
  }
  static Task<void> mark(Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
  }

  bool until(const std::function<bool()>& happened) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!happened()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      if (!platform_->reactor().poll()) wait_a_little();
    }
    return true;
  }
  void wait_a_little() {
    io::Reactor& reactor = platform_->reactor();
    io::MemberTimer<&io::Reactor::stop> wake(reactor);
    reactor.arm(wake, reactor.clock().now() + std::chrono::milliseconds(2));
    reactor.run();
  }

  AgentPort& make(Recorder& recorder) {
    Result<std::unique_ptr<AgentPort>> port = drivers_->make("scripted", recorder);
    EXPECT_TRUE(port.has_value());
    return *ports_.emplace_back(std::move(*port));
  }
  void attach(AgentPort& port, Recorder& recorder, std::string native = {}) {
    AttachSpec spec;
    spec.attach_epoch = 1;
    spec.profile = "scripted";
    spec.session_key = "key";
    spec.directory = folder_;
    spec.native_session_id = std::move(native);
    spec.mode = mode_;
    recorder.attached.reset();
    port.attach(std::move(spec));
    ASSERT_TRUE(until([&] { return recorder.attached || recorder.failed; }));
  }
  void run_turn(AgentPort& port, Recorder& recorder, const std::string& text) {
    recorder.ended.reset();
    recorder.text.clear();
    port.prompt("turn " + text, blocks(text));
    ASSERT_TRUE(until([&] { return recorder.ended.has_value(); })) << text;
  }
  static std::string blocks(const std::string& text) {
    return R"([{"type":"text","text":")" + text + R"("}])";
  }

  std::string folder_;
  std::string mode_;
  NullLog log_;
  std::unique_ptr<io::Platform> platform_;
  JsonScanner scanner_;
  AgentProfiles profiles_;
  std::optional<LaunchPolicy> launches_;
  std::optional<Drivers> drivers_;
  std::vector<std::unique_ptr<AgentPort>> ports_;
};

TEST_F(OpencodeAgent, RunsATurnAndCountsItsSteps) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  mode_ = "nowhere";
  attach(port, recorder);
  ASSERT_TRUE(recorder.attached) << recorder.failed->error.message;
  EXPECT_EQ(recorder.attached->rung, Rung::new_session);
  EXPECT_TRUE(recorder.attached->native_session_id.starts_with("ses_"));
  ASSERT_EQ(recorder.attached->config_failures.size(), 1U);
  EXPECT_EQ(recorder.attached->config_failures[0], "mode: opencode has no agent nowhere");
  run_turn(port, recorder, "say one two three");
  EXPECT_EQ(recorder.ended->stop_reason, "end_turn");
  EXPECT_EQ(recorder.text, "one two three");
  EXPECT_EQ(recorder.ended->usage, R"({"inputTokens":3,"outputTokens":2,"totalTokens":5,)"
                                   R"("cost":{"amount":0.5,"currency":"USD"}})");
}

TEST_F(OpencodeAgent, IgnoresTerminalsThatComeBeforeTheTurn) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  attach(port, recorder);
  run_turn(port, recorder, "late but whole");
  EXPECT_EQ(recorder.ended->stop_reason, "end_turn");
  EXPECT_EQ(recorder.text, "but whole");
}

TEST_F(OpencodeAgent, CancelsATurnAndRunsTheNext) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  attach(port, recorder);
  recorder.ended.reset();
  port.prompt("hanging", blocks("hang on"));
  ASSERT_TRUE(until([&] { return recorder.text == "on"; }));
  port.cancel("hanging");
  ASSERT_TRUE(until([&] { return recorder.ended.has_value(); }));
  EXPECT_EQ(recorder.ended->stop_reason, "cancelled");
  run_turn(port, recorder, "say next");
  EXPECT_EQ(recorder.text, "next");
}

TEST_F(OpencodeAgent, AnswersAQuestionOnce) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  attach(port, recorder);
  port.prompt("asking", blocks("ask"));
  ASSERT_TRUE(until([&] { return !recorder.questions.empty(); }));
  port.answer(recorder.questions[0], {AgentAnswer::Outcome::selected, "always", {}});
  port.answer(recorder.questions[0], {AgentAnswer::Outcome::selected, "reject", {}});
  ASSERT_TRUE(until([&] { return recorder.ended.has_value(); }));
  EXPECT_EQ(recorder.text, "reply always");
}

TEST_F(OpencodeAgent, FindsAPermissionThatWasAskedInAHoleOfTheStream) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  attach(port, recorder);
  port.prompt("asking", blocks("unheard permission"));
  ASSERT_TRUE(until([&] { return !recorder.questions.empty(); }));
  EXPECT_EQ(recorder.kind, QuestionKind::permission);
  EXPECT_EQ(recorder.asked_by, std::vector<std::string>{""});
  port.answer(recorder.questions[0], {AgentAnswer::Outcome::selected, "once", {}});
  ASSERT_TRUE(until([&] { return recorder.ended.has_value(); }));
  EXPECT_EQ(recorder.text, "reply once");
  EXPECT_EQ(recorder.questions.size(), 1U);
}

TEST_F(OpencodeAgent, FindsAQuestionThatWasAskedInAHoleOfTheStream) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  attach(port, recorder);
  port.prompt("asking", blocks("unheard question"));
  ASSERT_TRUE(until([&] { return !recorder.questions.empty(); }));
  EXPECT_EQ(recorder.kind, QuestionKind::elicitation);
  port.answer(recorder.questions[0], {AgentAnswer::Outcome::accepted, {}, R"({"q0":"blue"})"});
  ASSERT_TRUE(until([&] { return recorder.ended.has_value(); }));
  EXPECT_EQ(recorder.text, "reply blue");
}

TEST_F(OpencodeAgent, AsksWhoseChildASessionIsThatAsksInAHoleOfTheStream) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  attach(port, recorder);
  Recorder other;
  attach(make(other), other);
  port.prompt("delegating", blocks("unheard child"));
  ASSERT_TRUE(until([&] { return !recorder.questions.empty(); }));
  EXPECT_TRUE(recorder.asked_by[0].starts_with("ses_"));
  EXPECT_NE(recorder.asked_by[0], recorder.attached->native_session_id);
  port.answer(recorder.questions[0], {AgentAnswer::Outcome::selected, "once", {}});
  ASSERT_TRUE(until([&] { return recorder.ended.has_value(); }));
  EXPECT_EQ(recorder.text, "reply once");
  EXPECT_TRUE(other.questions.empty()) << "asked at a session that is not above it";
}

TEST_F(OpencodeAgent, FailsARefusedPromptAndNeverRepeatsOneThatMayHaveArrived) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  attach(port, recorder);
  run_turn(port, recorder, "refuse");
  EXPECT_EQ(recorder.ended->stop_reason, "");
  EXPECT_NE(recorder.ended->agent_error.find("BadRequest"), std::string::npos);
  run_turn(port, recorder, "drop it");
  EXPECT_EQ(recorder.ended->stop_reason, "end_turn");
  EXPECT_EQ(recorder.text, "it") << "although the request was never answered";
  run_turn(port, recorder, "count");
  EXPECT_EQ(recorder.text, "3");
}

TEST_F(OpencodeAgent, GivesTheWholeTextWhenTheStreamIsCut) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  attach(port, recorder);
  run_turn(port, recorder, "lose one two three four");
  EXPECT_EQ(recorder.text, "one two three four");
  EXPECT_EQ(recorder.ended->stop_reason, "end_turn");
}

TEST_F(OpencodeAgent, GivesTheWholeTextWhenTheStreamIsCutWhileTheSessionIsFull) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  attach(port, recorder);
  recorder.reading = false;
  port.prompt("turn", blocks("lose one two three four"));
  const auto later = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  EXPECT_TRUE(until([&] { return std::chrono::steady_clock::now() >= later; }));
  recorder.reading = true;
  port.resume_reading();
  ASSERT_TRUE(until([&] { return recorder.ended.has_value(); }));
  EXPECT_EQ(recorder.text, "one two three four");
}

TEST_F(OpencodeAgent, FailsAPromptThatIsStoredAndNeverRun) {
  Recorder recorder;
  Recorder other;
  AgentPort& keeper = make(other);
  attach(keeper, other);  // the server is up
  profiles_["scripted"].timeouts.session = std::chrono::seconds(1);
  AgentPort& port = make(recorder);
  attach(port, recorder);
  const TimePoint asked = platform_->reactor().clock().now();
  run_turn(port, recorder, "forget it");
  EXPECT_LT(platform_->reactor().clock().now() - asked, std::chrono::seconds(10));
  EXPECT_EQ(recorder.ended->stop_reason, "");
  EXPECT_STREQ(recorder.ended->error.code, "prompt_not_started");
  run_turn(port, recorder, "say on");
  EXPECT_EQ(recorder.text, "on");
}

TEST_F(OpencodeAgent, KeepsTheTextOfAServerThatDiesAndRestoresItsSessions) {
  Recorder one;
  Recorder two;
  AgentPort& first = make(one);
  AgentPort& second = make(two);
  attach(first, one);
  attach(second, two);
  EXPECT_EQ(one.attached->process.pid, two.attached->process.pid) << "one server for both";
  const std::string native = one.attached->native_session_id;
  first.prompt("dying", blocks("die in the middle"));
  ASSERT_TRUE(until([&] { return one.exited && two.exited; }));
  EXPECT_EQ(one.text, "in the middle");
  EXPECT_FALSE(one.exited->expected);
  EXPECT_EQ(one.exited->status.value, 3);
  EXPECT_FALSE(one.ended) << "the ending is the session's to write";

  attach(first, one, native);
  ASSERT_TRUE(one.attached);
  EXPECT_EQ(one.attached->rung, Rung::resume);
  EXPECT_EQ(one.attached->native_session_id, native);
  run_turn(first, one, "say again");
  EXPECT_EQ(one.text, "again");
}

TEST_F(OpencodeAgent, TellsAForgottenSessionFromABrokenOne) {
  Recorder forgotten;
  attach(make(forgotten), forgotten, "ses_unknown");
  ASSERT_TRUE(forgotten.attached);
  EXPECT_EQ(forgotten.attached->rung, Rung::history);
  EXPECT_NE(forgotten.attached->native_session_id, "ses_unknown");

  Recorder broken;
  attach(make(broken), broken, "ses_broken");
  ASSERT_TRUE(broken.failed);
  EXPECT_TRUE(broken.failed->needs_decision);
  EXPECT_NE(broken.failed->agent_error.find("UnknownError"), std::string::npos);
}

TEST_F(OpencodeAgent, HoldsTheStreamOfASessionThatIsFullAndLosesNothing) {
  Recorder recorder;
  AgentPort& port = make(recorder);
  attach(port, recorder);
  recorder.reading = false;
  port.prompt("full", blocks("say one two three"));
  Recorder other;
  AgentPort& neighbour = make(other);
  attach(neighbour, other);
  run_turn(neighbour, other, "say meanwhile");
  EXPECT_EQ(other.text, "meanwhile");
  EXPECT_EQ(recorder.text, "");
  recorder.reading = true;
  port.resume_reading();
  ASSERT_TRUE(until([&] { return recorder.ended.has_value(); }));
  EXPECT_EQ(recorder.text, "one two three");
}

TEST_F(OpencodeAgent, SendsNewSessionsToANewServerWhenTheOldOneIsTooBig) {
  profiles_["scripted"].generation.memory_max = 1;
  Recorder one;
  Recorder two;
  AgentPort& first = make(one);
  AgentPort& second = make(two);
  attach(first, one);
  attach(second, two);
  EXPECT_NE(one.attached->process.pid, two.attached->process.pid);
  run_turn(first, one, "say still here");
  EXPECT_EQ(one.text, "still here");
  first.end(true);
  ASSERT_TRUE(until([&] { return one.exited.has_value(); }));
  EXPECT_TRUE(one.exited->expected);
  run_turn(second, two, "say and here");
  EXPECT_EQ(two.text, "and here");
}

TEST_F(OpencodeAgent, SendsNewSessionsToANewServerWhenTheOldOneHasServedEnough) {
  profiles_["scripted"].generation.sessions_max = 2;
  std::array<Recorder, 3> recorders;
  std::array<AgentPort*, 3> ports{};
  for (std::size_t i = 0; i < ports.size(); ++i) {
    ports[i] = &make(recorders[i]);
    attach(*ports[i], recorders[i]);
    ASSERT_TRUE(recorders[i].attached) << i;
  }
  EXPECT_EQ(recorders[0].attached->process.pid, recorders[1].attached->process.pid);
  EXPECT_NE(recorders[0].attached->process.pid, recorders[2].attached->process.pid);
  EXPECT_FALSE(ports[0]->takes_others());
  EXPECT_TRUE(ports[2]->takes_others());
}

TEST_F(OpencodeAgent, RefusesVersionsThatSpeakSomethingElse) {
  profiles_["scripted"].environment.emplace_back("SCRIPTED_VERSION", "2.0.1");
  Recorder recorder;
  attach(make(recorder), recorder);
  ASSERT_TRUE(recorder.failed);
  EXPECT_STREQ(recorder.failed->error.code, "protocol_version");
}

TEST_F(OpencodeAgent, RefusesAVersionThatStreamsNothingOfItsSessions) {
  profiles_["scripted"].environment.emplace_back("SCRIPTED_SILENT", "1");
  profiles_["scripted"].timeouts.session = std::chrono::seconds(2);
  Recorder recorder;
  attach(make(recorder), recorder);
  ASSERT_TRUE(recorder.failed);
  EXPECT_STREQ(recorder.failed->error.code, "agent_silent");
}

TEST_F(OpencodeAgent, SaysWhyAServerDoesNotStart) {
  profiles_["scripted"].arguments = {"-c", "import sys; sys.exit('no such thing')"};
  Recorder recorder;
  attach(make(recorder), recorder);
  ASSERT_TRUE(recorder.failed);
  EXPECT_NE(recorder.failed->stderr_tail.find("no such thing"), std::string::npos);
}

}  // namespace
}  // namespace berth::server
