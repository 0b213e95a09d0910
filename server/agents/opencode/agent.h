// server/agents/opencode/agent.h — the driver for `opencode serve` 1.x: one session of a shared
// server.
#pragma once

#include <berth/core/mutex.h>
#include <berth/core/scope.h>
#include <berth/core/stop.h>
#include <berth/io/member_timer.h>
#include <berth/server/agents/agent_port.h>
#include <berth/server/agents/opencode/message_ids.h>
#include <berth/server/agents/opencode/requests.h>
#include <berth/server/agents/opencode/servers.h>
#include <berth/server/agents/opencode/tracker.h>
#include <berth/server/agents/profile.h>
#include <berth/server/agents/trace_meta.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace berth::server::opencode {

/// Commands go out as requests on connections of their own; what comes back comes by the server's
/// event stream, and by GETs where that had a hole or does not say enough. `platform`, `servers`,
/// `profile` and `sink` outlive it; await shutdown() before it goes.
class Agent final : public AgentPort, private ServerClient, private TrackerSink {
 public:
  Agent(io::Platform& platform, Servers& servers, const AgentProfile& profile, AgentSink& sink);
  ~Agent() override;

  void attach(AttachSpec spec) override;
  void prompt(std::string turn, std::string blocks, std::string meta) override;
  bool steer(std::string_view turn, std::string_view blocks) override;
  void cancel(std::string_view turn) override;
  void answer(std::uint64_t reply_id, const AgentAnswer& answer) override;
  void set_mode(std::string_view mode) override;
  void set_config_option(std::string_view id, std::string_view json_value) override;
  void resume_reading() override;
  void end(bool at_once) override;
  Task<void> shutdown() override;
  bool live() const override { return state_ == State::live; }
  io::ProcessId process() const override {
    return server_ == nullptr ? io::ProcessId() : server_->process_id();
  }
  bool takes_others() const override {
    return server_ == nullptr || servers_.takes_sessions(*server_);
  }
  std::string stderr_tail() const override;
  Abilities abilities() const override;

 private:
  enum class State : std::uint8_t { none, attaching, live, leaving };

  struct Question {
    QuestionKind kind = QuestionKind::permission;
    std::string request_id;
    std::string asked;  // of an elicitation: the questions, raw JSON
  };
  struct HeldFrame {
    std::string raw;
    std::string child;
  };

  // --- attach (agent_attach.cc) ---
  Task<void> run(AttachSpec spec);
  Task<Result<void>> open(const AttachSpec* spec, Attached* attached, AttachFailure* failure);
  Task<Result<bool>> restore(const AttachSpec* spec, Attached* attached, AttachFailure* failure);
  Task<Result<void>> create(const AttachSpec* spec, AttachFailure* failure);
  Task<void> configure(const AttachSpec* spec, Attached* attached);
  Task<void> learn_models();
  Task<bool> has_agent(std::string name);
  Task<AgentExit> leave();
  Task<void> stop_late(TimePoint when, StopSource* late);
  bool choose(std::string_view id, JsonView value);

  // --- requests ---
  Task<Result<HttpAnswer>> call(std::string method, std::string path, std::string body,
                                HttpHeaders headers = {});
  Task<void> post_prompt(std::string message_id, std::string blocks, TraceMeta trace);
  Task<void> post_abort();
  Task<void> post_answer(Question question, AgentAnswer answer);
  Task<void> change_mode(std::string mode);
  Task<void> probe(bool after_connect);
  Task<void> learn_askers(JsonView listed);
  void refuse_config(std::string_view what, std::string_view why);

  void abort_if_wanted();
  void arm_probe();
  void on_probe_time();
  void deliver(const EventFrame& frame, std::string_view child);
  void drain(bool all);

  // --- ServerClient ---
  void on_frame(const EventFrame& frame, std::string_view raw, std::string_view child) override;
  void on_stream_lost() override;
  void on_stream_connected() override;
  void on_server_ended(const AgentExit& exit) override;

  // --- TrackerSink ---
  void on_update(std::string_view update, std::string_view kind,
                 std::string_view tool_call_id) override;
  void on_question(QuestionKind kind, std::string_view request_id, JsonView asked,
                   std::string_view child) override;
  void on_question_gone(std::string_view request_id) override;
  void on_notice(std::string_view method, std::string_view params) override;
  void on_turn_ended(std::string_view turn, PromptEnd end) override;

  TimePoint now() { return reactor_.clock().now(); }

  io::Platform& platform_;
  io::Reactor& reactor_;
  Servers& servers_;
  const AgentProfile& profile_;
  AgentSink& sink_;
  MessageIds ids_;
  Scope scope_;
  Mutex prompting_;  // prompts reach opencode in the order in which they were given
  State state_ = State::none;
  bool silent_ = false;  // shutting down: the sink hears nothing more
  bool expected_end_ = false;
  std::int64_t attach_epoch_ = 0;
  std::string directory_;
  PromptChoice choice_;

  // Of the current attach; null or empty between two.
  std::unique_ptr<StopSource> stop_;
  std::unique_ptr<Scope> requests_;
  std::unique_ptr<Event> gone_;
  Server* server_ = nullptr;
  std::unique_ptr<Tracker> tracker_;
  std::optional<AgentExit> server_exit_;
  std::deque<HeldFrame> held_;
  bool reconciling_ = false;  // frames wait for the answers to the GETs after a connect
  bool probing_ = false;
  bool probe_again_ = false;
  io::MemberTimer<&Agent::on_probe_time> probe_timer_{*this};
  std::uint64_t next_reply_id_ = 1;
  std::map<std::uint64_t, Question> questions_;
};

}  // namespace berth::server::opencode
