// server/agents/acp_agent.h — the driver for agents that speak the Agent Client Protocol on stdio:
// v1, and the draft v2 where the profile asks for it.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/io/member_timer.h>
#include <berth/server/agents/acp2_translator.h>
#include <berth/server/agents/acp_messages.h>
#include <berth/server/agents/acp_process.h>
#include <berth/server/agents/agent_port.h>
#include <berth/server/agents/native_sessions.h>
#include <berth/server/agents/profile.h>
#include <berth/server/agents/replay_guard.h>
#include <berth/server/agents/update_filter.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace berth::server {

/// One native session in a process that is its own, or shared with other sessions of the profile
/// (AgentProfile::sessions_per_process). `platform`, `processes` and `natives` (the shard's),
/// `profile` and `sink` outlive it; await shutdown() before it goes.
///
/// acp_attach.cc brings it to a native session, acp_agent.cc is all that comes after. What an agent
/// says in v2 is told in the words of v1 (acp2_translator.h); the session knows no difference.
class AcpAgent final : public AgentPort, private AcpSeat {
 public:
  AcpAgent(io::Platform& platform, AcpProcesses& processes, NativeSessions& natives,
           const AgentProfile& profile, AgentSink& sink);
  ~AcpAgent();

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
    return process_ == nullptr ? io::ProcessId() : connection().process_id();
  }
  std::string stderr_tail() const override;
  Abilities abilities() const override;
  bool takes_others() const override { return process_ == nullptr || process_->is_open(); }
  bool ping() override;
  PingState pings() const override;

 private:
  enum class State : std::uint8_t { none, attaching, live };

  struct PromptCall final : RpcCall {
    explicit PromptCall(AcpAgent& owner) : owner(owner) {}
    void on_reply(RpcReply reply) override { owner.on_prompt_reply(std::move(reply)); }
    AcpAgent& owner;
    std::string turn;
    bool open = false;
    bool cancelled = false;  // session/cancel was sent: never twice
  };
  struct CloseCall final : RpcCall {
    explicit CloseCall(AcpAgent& owner) : owner(owner) {}
    void on_reply(RpcReply) override { owner.on_session_closed(); }
    AcpAgent& owner;
    bool open = false;
  };
  struct PingCall final : RpcCall {
    explicit PingCall(AcpAgent& owner) : owner(owner) {}
    void on_reply(RpcReply reply) override { owner.on_ping_reply(reply); }
    AcpAgent& owner;
  };
  struct OpenQuestion {
    std::string raw_id;
    QuestionKind kind = QuestionKind::permission;
  };

  // acp_attach.cc
  Task<void> run(AttachSpec spec);
  Task<void> wait_for_next_minute(const AttachSpec* spec);
  Result<void> take_seat(const AttachSpec& spec, GitFolders git_folders);
  Task<Result<void>> handshake(const AttachSpec* spec, Attached* attached, AttachFailure* failure);
  Task<Result<void>> open_native_session(const AttachSpec* spec, Attached* attached,
                                         AttachFailure* failure);
  Task<Result<bool>> restore(const AttachSpec* spec, const acp::OpenParams* wanted, Rung rung,
                             Attached* attached, AttachFailure* failure);
  Task<RpcReply> open_call(std::string method, acp::OpenParams* params, Attached* attached);
  Task<void> let_replay_end();
  Task<void> restore_config(const AttachSpec* spec, Attached* attached);
  Task<bool> restore_mode(std::string mode, Attached* attached);
  void read_hello(const JsonView& root, Attached* attached);
  void read_session_state(const JsonView& result);
  void show_session_state();
  Task<void> pause(Duration duration);
  void name_session(std::string_view native_session_id);
  Error attach_error(std::string_view method, const RpcReply& reply, AttachFailure* failure) const;

  // acp_agent.cc
  RpcConnection& connection() const { return process_->connection(); }
  RpcConnection::Owner self() const { return static_cast<const AcpSeat*>(this); }
  Task<RpcReply> call(std::string method, std::string params);
  void leave_process(bool at_once);
  void answer_raw(const OpenQuestion& question, const AgentAnswer& answer);
  Task<void> send_config(std::string method, std::string params, std::string what);
  Task<void> send_steer(std::string blocks);
  void on_prompt_reply(RpcReply reply);
  void forget_turn();
  void end_turn(PromptEnd end);
  PromptEnd prompt_error(const std::string& error) const;
  void on_session_closed();
  void on_ping_reply(const RpcReply& reply);
  void take_any_update(const AgentUpdate& update);
  void take_update(const AgentUpdate& update);
  void show_update(const AgentUpdate& update);
  void show_all(const std::vector<ReplayGuard::Update>& updates);
  bool replays() const { return capabilities_.load && !capabilities_.resume; }
  void ask(const RoutedLine& line, QuestionKind kind, std::string_view child);
  void refuse(const RoutedLine& line);
  std::string mode_call(std::string_view mode, std::string* method) const;
  std::string config_call(std::string_view id, std::string_view json_value) const;

  void on_started() override { started_.set(); }
  void on_notification(const RoutedLine& line) override;
  void on_early_update(const AgentUpdate& update) override;
  void on_request(const RoutedLine& line) override;
  void on_junk(const char* reason, std::uint64_t bytes, std::string_view head) override;
  bool wants_more() override { return silent_ || sink_.wants_more(); }
  void on_over() override;

  io::Platform& platform_;
  AcpProcesses& processes_;
  NativeSessions& natives_;
  const AgentProfile& profile_;
  AgentSink& sink_;
  Scope scope_;
  State state_ = State::none;
  bool silent_ = false;   // shutting down: the sink hears nothing more
  bool give_up_ = false;  // end() came while attaching
  bool expected_end_ = false;
  std::int64_t attach_epoch_ = 0;
  std::string native_session_id_;
  bool v2_ = false;
  acp2::Translator translator_;  // of v2
  acp::Capabilities capabilities_;
  std::string auth_methods_;    // raw JSON array or empty
  std::string mode_option_;     // id of the config option that is the mode, if modes are not given
  std::string modes_;           // raw SessionModeState or empty
  std::string config_options_;  // raw array or empty
  UpdateFilter filter_;
  ReplayGuard replay_;
  std::uint64_t last_replayed_ = 0;      // the last notification of the process that was left out
  Said said_;                            // in this turn; kept for agents that replay
  std::shared_ptr<AcpProcess> process_;  // while an attach lasts
  bool left_ = false;                    // the process goes on without this session
  Event started_;
  Event over_;
  Event rung_;  // by the alarm, or because it does not matter any more
  io::MemberTimer<&Event::set> alarm_{rung_};
  PromptCall prompt_call_{*this};
  CloseCall close_call_{*this};
  PingCall ping_call_{*this};
  PingState pings_;
  std::uint64_t next_reply_id_ = 1;
  std::unordered_map<std::uint64_t, OpenQuestion> open_questions_;
};

}  // namespace berth::server
