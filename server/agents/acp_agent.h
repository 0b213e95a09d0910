// server/agents/acp_agent.h — the driver for agents that speak the Agent Client Protocol v1 on
// stdio.
#pragma once

#include <berth/core/scope.h>
#include <berth/server/agents/agent_port.h>
#include <berth/server/agents/profile.h>
#include <berth/server/agents/rpc_connection.h>

#include <memory>
#include <string>
#include <unordered_map>

namespace berth::server {

/// One process for one native session. `platform`, `scanner` (the shard's), `profile` and `sink`
/// outlive it; await shutdown() before it goes.
class AcpAgent final : public AgentPort, private RpcPeer {
 public:
  AcpAgent(io::Platform& platform, JsonScanner& scanner, const AgentProfile& profile,
           std::string tag, AgentSink& sink);
  ~AcpAgent();

  void attach(AttachSpec spec) override;
  void prompt(std::string turn, std::string blocks) override;
  void cancel(std::string_view turn) override;
  void answer(std::uint64_t reply_id, const AgentAnswer& answer) override;
  void set_mode(std::string_view mode) override;
  void set_config_option(std::string_view id, std::string_view json_value) override;
  void resume_reading() override;
  void end(bool at_once) override;
  Task<void> shutdown() override;
  bool live() const override { return state_ == State::live; }
  std::string stderr_tail() const override;

 private:
  enum class State : std::uint8_t { none, attaching, live };

  struct PromptCall final : RpcCall {
    explicit PromptCall(AcpAgent& owner) : owner(owner) {}
    void on_reply(RpcReply reply) override { owner.on_prompt_reply(std::move(reply)); }
    AcpAgent& owner;
    std::string turn;
  };
  /// A call whose answer only matters when it is an error.
  struct ConfigCall;

  Task<void> run(AttachSpec spec);
  Task<Result<void>> handshake(const AttachSpec* spec, Attached* attached, AttachFailure* failure);
  Task<Result<void>> open_native_session(const AttachSpec* spec, Attached* attached,
                                         AttachFailure* failure);
  Task<void> restore_config(const AttachSpec* spec, Attached* attached);
  Task<void> send_config(std::string method, std::string params, std::string what);
  void on_prompt_reply(RpcReply reply);

  void on_notification(const RoutedLine& line) override;
  void on_request(const RoutedLine& line) override;
  void on_junk(const char* reason, std::uint64_t bytes, std::string_view head) override;
  bool wants_more() override { return sink_.wants_more(); }

  io::LaunchSpec launch_spec(const AttachSpec& spec) const;

  io::Platform& platform_;
  JsonScanner& scanner_;
  const AgentProfile& profile_;
  std::string tag_;
  AgentSink& sink_;
  Scope scope_;
  State state_ = State::none;
  bool silent_ = false;     // shutting down: the sink hears nothing more
  bool replaying_ = false;  // session/load: what it replays is in the log already
  bool expected_end_ = false;
  std::int64_t attach_epoch_ = 0;
  std::string native_session_id_;
  std::unique_ptr<RpcConnection> connection_;
  PromptCall prompt_call_{*this};
  bool prompt_open_ = false;
  std::uint64_t next_reply_id_ = 1;
  std::unordered_map<std::uint64_t, std::string> open_requests_;  // reply id -> raw JSON id
};

}  // namespace berth::server
