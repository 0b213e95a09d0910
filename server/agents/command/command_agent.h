// server/agents/command/command_agent.h — the driver for command-line agents: NUL-ended prompts on
// stdin, JSON lines on stdout; kept warm with checkpoints, or a process a turn.
#pragma once

#include <berth/core/scope.h>
#include <berth/io/member_timer.h>
#include <berth/server/agents/agent_port.h>
#include <berth/server/agents/command/checkpoints.h>
#include <berth/server/agents/command/output.h>
#include <berth/server/agents/launch.h>
#include <berth/server/agents/line_process.h>
#include <berth/server/agents/profile.h>
#include <berth/server/agents/trace_meta.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace berth::server {

/// Driver::checkpoint: one process for many turns, started with
/// `--provider P --model M --run-id ID --json --checkpoint-dir DIR [--resume FILE]` and the
/// profile's own arguments. SIGINT cancels a turn, SIGTERM drains, end of stdin ends.
/// Driver::oneshot: the same without checkpoints, a process a turn with a data directory of its
/// own (`--data-dir`), its stdin closed behind the prompt.
///
/// A warm agent outlives its turns, so the trace of the one that runs is in a file, written before
/// its prompt is sent (`BERTH_TRACE_FILE`); a one-shot agent has it in its environment.
///
/// What the agent prints is also added to a file of the agent (`output.jsonl`, turned at 64 MiB).
/// The references outlive it; await shutdown() before it goes.
class CommandAgent final : public AgentPort, private LinePeer {
 public:
  /// `state` is berth's folder for what agents keep: "<state>/<session key>-<profile>" is ours.
  CommandAgent(io::Platform& platform, const LaunchPolicy& launches, const AgentProfile& profile,
               std::string state, std::string tag, AgentSink& sink);
  ~CommandAgent() override;

  void attach(AttachSpec spec) override;
  void prompt(std::string turn, std::string blocks, std::string meta) override;
  void cancel(std::string_view turn) override;
  void answer(std::uint64_t reply_id, const AgentAnswer& answer) override;
  void set_mode(std::string_view mode) override;
  void set_config_option(std::string_view id, std::string_view json_value) override;
  void resume_reading() override;
  void end(bool at_once) override;
  Task<void> shutdown() override;
  /// A one-shot agent is not, from the end of its turn on.
  bool live() const override { return state_ == State::live && !expected_end_; }
  std::string stderr_tail() const override;
  Abilities abilities() const override;

 private:
  enum class State : std::uint8_t { none, attaching, live };

  bool warm() const { return profile_.driver == Driver::checkpoint; }
  Task<void> run(AttachSpec spec);
  Task<Result<ChosenCheckpoint>> prepare();
  Result<void> start(const std::string& checkpoint, const TraceMeta& trace = {});
  std::string told_folder() const { return folder_ + "/told"; }
  std::string trace_file() const { return told_folder() + "/trace"; }
  Result<AgentLaunch> launch_spec(const std::string& checkpoint) const;
  void refuse(std::string_view what);
  void finish_prompt(PromptEnd end);
  void finish_at_exit();
  void log_line(std::string_view line);
  Task<void> write_log();
  Task<void> keep();
  Task<void> tell_trace();
  void send_held();
  void interrupt();
  void interrupt_again();

  void on_line(Line& line) override;
  void on_overlong(std::uint64_t total_bytes, std::string_view head) override;
  bool wants_more() override { return sink_.wants_more(); }
  void on_gone() override;

  io::Platform& platform_;
  const LaunchPolicy& launches_;
  const AgentProfile& profile_;
  std::string state_folder_;
  std::string tag_;
  AgentSink& sink_;
  Scope scope_;
  std::string folder_;  // of this agent in this session
  CheckpointFolders checkpoints_;
  AttachSpec spec_;
  GitFolders git_folders_;
  State state_ = State::none;
  bool silent_ = false;  // shutting down: the sink hears nothing more
  bool expected_end_ = false;
  std::unique_ptr<LineProcess> process_;
  Event ended_;  // a one-shot agent has no process to wait for between attach and prompt
  CommandOutput output_;
  std::string turn_;                // that runs; empty: none
  bool unsent_ = false;             // its process was gone already
  std::uint64_t taken_before_ = 0;  // bytes that the process took before its prompt
  bool heard_ = false;              // a line since the prompt was sent: it has read it
  bool cancelled_ = false;
  io::MemberTimer<&CommandAgent::interrupt_again> again_{*this};
  std::optional<PromptEnd> told_end_;  // a one-shot agent's own words, until its process ends
  std::string unwritten_;              // lines for output.jsonl
  Event written_;                      // set while nothing is being written
  bool keeping_ = false;
  std::string untold_trace_;  // of the turn, for the trace file
  bool telling_trace_ = false;
  std::string held_;  // the prompt, until its trace is told and the checkpoint before it is kept
};

}  // namespace berth::server
