// An agent whose every word the test says: the counterpart of a session at AgentPort.
#pragma once

#include <berth/core/assert.h>
#include <berth/core/json_doc.h>
#include <berth/core/ndjson.h>
#include <berth/server/agents/drivers.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace berth::server {

/// One port; it remembers what the session wanted of it.
class Puppet final : public AgentPort {
 public:
  Puppet(AgentSink& sink, std::string name) : sink_(sink), name_(std::move(name)) {}

  // What the session says.
  void attach(AttachSpec spec) override {
    BERTH_ASSERT(!attaching && !live_);
    attaching = true;
    specs.push_back(std::move(spec));
  }
  void prompt(std::string turn, std::string blocks, std::string meta) override {
    BERTH_ASSERT(live_ && running.empty());
    running = std::move(turn);
    prompts.push_back(std::move(blocks));
    metas.push_back(std::move(meta));
  }
  bool steer(std::string_view turn, std::string_view blocks) override {
    if (!can_steer || running != turn) return false;
    steered.emplace_back(blocks);
    return true;
  }
  void cancel(std::string_view turn) override { cancelled.emplace_back(turn); }
  void answer(std::uint64_t reply_id, const AgentAnswer& answer) override {
    answers[reply_id].push_back(answer);
  }
  void set_mode(std::string_view) override {}
  void set_config_option(std::string_view, std::string_view) override {}
  void resume_reading() override {}
  void end(bool) override {
    if (attaching) return fails(ErrorKind::unavailable, "ended");
    if (live_) exits(true);
  }
  Task<void> shutdown() override {
    live_ = attaching = false;
    running.clear();
    co_return;
  }
  bool live() const override { return live_; }
  std::string stderr_tail() const override { return {}; }
  Abilities abilities() const override {
    Abilities can;
    can.resumes = can.stays = can.asks = can.takes_mode = can.takes_options = live_;
    can.steers = live_ && can_steer;
    return can;
  }

  bool ping() override {
    if (!live_ || !running.empty() || pinged.open_since) return false;
    pinged.open_since = TimePoint(std::chrono::seconds(1));
    return true;
  }
  PingState pings() const override { return pinged; }

  // What the agent says.
  void answers_ping() {
    pinged.open_since.reset();
    ++pinged.answered;
  }
  std::int64_t epoch() const { return specs.back().attach_epoch; }
  void attaches(Rung rung, std::string native_id) {
    attaching = false;
    live_ = true;
    pinged = {};
    Attached attached;
    attached.rung = rung;
    attached.native_session_id = std::move(native_id);
    attached.process.pid = 4711;
    attached.config_failures = config_failures;
    sink_.on_attached(epoch(), attached);
  }
  void fails(ErrorKind kind, const char* message, std::string agent_error = {},
             bool needs_decision = false) {
    attaching = false;
    AttachFailure failure;
    failure.error = make_error(kind, "agent_error", message);
    failure.agent_error = std::move(agent_error);
    failure.needs_decision = needs_decision;
    sink_.on_attach_failed(epoch(), std::move(failure));
  }
  void finds_no_seat() {
    attaching = false;
    AttachFailure failure;
    failure.error = make_error(ErrorKind::unavailable, kNoSeat, "no seat");
    sink_.on_attach_failed(epoch(), std::move(failure));
  }
  void says(const std::string& update, std::int64_t of_epoch = 0) {
    const Result<JsonDoc> doc = JsonDoc::parse(update);
    const std::string kind(doc->root().get_string("sessionUpdate").value_or(""));
    const std::string call(doc->root().get_string("toolCallId").value_or(""));
    sink_.on_update(of_epoch == 0 ? epoch() : of_epoch, {update, kind, call, false});
  }
  /// The same in a line with memory of its own; whether the session took that.
  bool says_in_own_memory(const std::string& update) {
    struct Sink final : LineSink {
      void on_line(Line& line) override {
        AgentUpdate told{line.text().substr(begin, size), "agent_message_chunk", {}, false, &line};
        sink->on_update(epoch, told);
        taken = !line.owned();
      }
      void on_overlong(std::uint64_t, std::string_view) override {}
      AgentSink* sink = nullptr;
      std::int64_t epoch = 0;
      std::size_t begin = 0;
      std::size_t size = 0;
      bool taken = false;
    } lines;
    const std::string head = R"({"params":{"update":)";
    lines.sink = &sink_;
    lines.epoch = epoch();
    lines.begin = head.size();
    lines.size = update.size();
    LineFramer framer(lines);
    for (std::string part : {head + update, std::string("}}\n")}) {
      const std::size_t bytes = part.size();
      part.resize(bytes + kLinePadding);
      framer.feed(std::string_view(part).substr(0, bytes));
    }
    return lines.taken;
  }
  void says_text(const std::string& text) {
    says(R"({"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":")" + text +
         R"("}})");
  }
  std::uint64_t asks(QuestionKind kind, const std::string& params, std::string_view child = {}) {
    const std::uint64_t id = ++last_question_;
    sink_.on_question(epoch(), {kind, id, params, child});
    return id;
  }
  void ends(std::string stop_reason, std::string usage = {}) {
    const std::string turn = std::exchange(running, {});
    PromptEnd end;
    end.stop_reason = std::move(stop_reason);
    end.usage = std::move(usage);
    if (end.stop_reason.empty()) {
      end.error = make_error(ErrorKind::invalid, "agent_error", "refused");
      end.agent_error = R"({"code":-32603,"message":"no"})";
    }
    sink_.on_prompt_ended(epoch(), turn, std::move(end));
  }
  /// An answer to a prompt that the session has settled long ago.
  void ends_again(const std::string& turn) {
    PromptEnd end;
    end.stop_reason = "end_turn";
    sink_.on_prompt_ended(epoch(), turn, std::move(end));
  }
  void exits(bool expected, bool prompt_untouched = false) {
    live_ = false;
    running.clear();
    AgentExit exit;
    exit.process.pid = 4711;
    exit.expected = expected;
    exit.prompt_untouched = prompt_untouched;
    sink_.on_exited(epoch(), std::move(exit));
  }

  std::vector<AttachSpec> specs;
  std::vector<std::string> prompts;
  std::vector<std::string> metas;  // of these
  std::vector<std::string> steered;
  std::vector<std::string> cancelled;
  std::map<std::uint64_t, std::vector<AgentAnswer>> answers;
  std::vector<std::string> config_failures;
  std::string running;
  PingState pinged;
  bool attaching = false;
  bool can_steer = false;

 private:
  AgentSink& sink_;
  std::string name_;
  bool live_ = false;
  std::uint64_t last_question_ = 0;
};

/// Two profiles, "one" and "two"; remembers the port that it made last for each.
class Puppets final : public AgentFactory {
 public:
  Puppets() {
    for (const char* name : {"one", "two"}) profiles_[name].name = name;
  }
  Result<std::unique_ptr<AgentPort>> make(const std::string& profile, AgentSink& sink) override {
    auto made = std::make_unique<Puppet>(sink, profile);
    last[profile] = made.get();
    return made;
  }
  const AgentProfile* find(std::string_view profile) const override {
    const auto found = profiles_.find(profile);
    return found == profiles_.end() ? nullptr : &found->second;
  }
  AgentProfile& profile(const std::string& name) { return profiles_.at(name); }
  std::map<std::string, Puppet*, std::less<>> last;

 private:
  AgentProfiles profiles_;
};

}  // namespace berth::server
