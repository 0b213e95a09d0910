// tests/unit/server/agents/agent_rig.h — a driver on a real platform, and a session's side that
// writes down what it is told.
#pragma once

#include <berth/core/scope.h>
#include <berth/io/platform_linux.h>
#include <berth/server/agents/agent_port.h>

#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace berth::server {

class AgentRig : public testing::Test, public AgentSink {
 protected:
  AgentRig() {
    char name[] = "/tmp/berth-agent-XXXXXX";
    folder = ::mkdtemp(name);
    Result<std::unique_ptr<io::Platform>> made = io::make_linux_platform(log_, {});
    if (made.has_value()) platform = std::move(*made);
  }
  ~AgentRig() override {
    shut_down();
    platform.reset();
    std::filesystem::remove_all(folder);
  }

  void shut_down() {
    if (port == nullptr) return;
    finish(port->shutdown());
    port.reset();
  }
  /// Runs a task to its end.
  void finish(Task<void> task) {
    bool done = false;
    Scope scope(platform->reactor());
    scope.spawn(mark(std::move(task), &done));
    turn_until([&] { return done; });
  }
  /// Turns the reactor until `done`; half a minute is a failure.
  void turn_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) {
        ADD_FAILURE() << "nothing came; heard so far: " << heard();
        return;
      }
      if (platform->reactor().poll()) continue;
      pollfd waiting{platform->reactor().wait_fd(), POLLIN, 0};
      ::poll(&waiting, 1, 50);
    }
  }

  void attach(std::string native_session_id = {}) {
    AttachSpec spec;
    spec.attach_epoch = ++epoch;
    spec.session_key = "01key";
    spec.directory = folder;
    spec.native_session_id = std::move(native_session_id);
    const std::size_t before = attached.size() + failures.size();
    port->attach(std::move(spec));
    turn_until([&] { return attached.size() + failures.size() > before; });
  }
  static std::string text_block(std::string_view text) {
    return R"([{"type":"text","text":")" + std::string(text) + R"("}])";
  }
  /// One turn to its end, or to the end of the process.
  void prompt(std::string_view text) {
    ASSERT_TRUE(port->live()) << heard_failure;
    said.clear();
    const std::size_t before = ends.size() + exits.size();
    port->prompt("turn" + std::to_string(++turns), text_block(text));
    turn_until([&] { return ends.size() + exits.size() > before; });
  }
  void end() {
    const std::size_t before = exits.size();
    port->end(false);
    turn_until([&] { return exits.size() > before; });
  }
  std::string heard() const {
    std::string all;
    for (const std::string& update : updates) all += update + "\n";
    return all;
  }

  void on_attached(std::int64_t, const Attached& what) override { attached.push_back(what); }
  void on_attach_failed(std::int64_t, AttachFailure failure) override {
    heard_failure = failure.error.message;
    failures.push_back(std::move(failure));
  }
  void on_update(std::int64_t, const AgentUpdate& update) override {
    updates.emplace_back(update.update);
    const std::string_view text = update.update;
    const std::size_t at = text.find("\"text\":\"");
    if (update.kind == "agent_message_chunk" && at != std::string_view::npos) {
      said += text.substr(at + 8, text.find('"', at + 8) - at - 8);
    }
  }
  void on_question(std::int64_t, const AgentQuestion& question) override {
    questions.emplace_back(question.params);
    reply_ids.push_back(question.reply_id);
  }
  void on_question_withdrawn(std::int64_t, std::uint64_t) override {}
  void on_foreign_message(std::int64_t, std::string_view method, std::string_view) override {
    foreign.emplace_back(method);
  }
  void on_junk(std::int64_t, const char* reason, std::uint64_t, std::string_view) override {
    junk.emplace_back(reason);
  }
  void on_prompt_ended(std::int64_t, std::string_view turn, PromptEnd end) override {
    ended_turns.emplace_back(turn);
    ends.push_back(std::move(end));
  }
  void on_exited(std::int64_t, AgentExit exit) override { exits.push_back(std::move(exit)); }
  bool wants_more() const override { return true; }

  std::string folder;
  std::unique_ptr<io::Platform> platform;
  std::unique_ptr<AgentPort> port;
  std::int64_t epoch = 0;
  int turns = 0;
  std::string heard_failure;
  std::string said;  // the text of the last turn
  std::vector<Attached> attached;
  std::vector<AttachFailure> failures;
  std::vector<std::string> updates;
  std::vector<std::string> questions;
  std::vector<std::uint64_t> reply_ids;  // of the questions
  std::vector<std::string> foreign;
  std::vector<std::string> junk;
  std::vector<std::string> ended_turns;
  std::vector<PromptEnd> ends;
  std::vector<AgentExit> exits;

 private:
  static Task<void> mark(Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
  }

  NullLog log_;
};

}  // namespace berth::server
