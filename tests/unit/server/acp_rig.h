// tests/unit/server/acp_rig.h — the ACP driver against a peer that a test scripts, on a simulated
// machine.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/io/sim_platform.h>
#include <berth/io/stream.h>
#include <berth/server/agents/acp_agent.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// What the session heard, as lines of text in order.
class HeardSink final : public AgentSink {
 public:
  std::vector<std::string> heard;
  std::vector<std::uint64_t> questions;
  std::vector<std::string> children;  ///< Of the questions.
  Attached attached;
  AttachFailure failure;
  PromptEnd end;
  AgentExit exit;
  int attached_count = 0;
  int failed_count = 0;
  int ended_count = 0;
  int exited_count = 0;
  int offered_lines = 0;  ///< With updates in memory of their own.
  bool reading = true;

  /// How many lines begin with `what`.
  int count(std::string_view what) const;

  void on_attached(std::int64_t, const Attached& what) override;
  void on_attach_failed(std::int64_t, AttachFailure what) override;
  void on_update(std::int64_t, const AgentUpdate& update) override;
  void on_question(std::int64_t, const AgentQuestion& question) override;
  void on_question_withdrawn(std::int64_t, std::uint64_t reply_id) override;
  void on_foreign_message(std::int64_t, std::string_view method, std::string_view params) override;
  void on_junk(std::int64_t, const char* reason, std::uint64_t, std::string_view) override;
  void on_prompt_ended(std::int64_t, std::string_view turn, PromptEnd what) override;
  void on_exited(std::int64_t, AgentExit exit) override;
  bool wants_more() const override { return reading; }
};

/// One driver, and the peer: for each message that berth sends, `answer(method, message)` gives the
/// lines that the agent writes. In a line, $ID stands for the id of the message.
class AcpRig {
 public:
  using Answer =
      std::function<std::vector<std::string>(const std::string& method, const JsonView& message)>;

  /// As a line: what follows is written a second later.
  static constexpr const char* kLater = "$LATER";
  /// As a line: the process ends here, without a word.
  static constexpr const char* kDie = "$DIE";

  explicit AcpRig(std::uint64_t seed = 7);
  ~AcpRig();

  /// Answers initialize with `capabilities` (members of agentCapabilities) and session/new with
  /// "n1"; other methods go to `other`.
  static Answer plain(std::string capabilities, Answer other = {});

  AttachSpec spec() const;
  void attach(AttachSpec spec, Answer answer);
  /// Runs until nothing happens any more, time passing; at most `limit`.
  void settle(Duration limit = std::chrono::minutes(5));
  void run_for(Duration span) { machine.run_for(span); }
  /// Everything that berth sent, one message each.
  const std::deque<std::string>& sent() const { return sent_; }
  /// The messages of one method.
  std::vector<std::string> sent_of(std::string_view method) const;

  /// Another session's driver, which hears by `other_sink`; it and its sink go before the rig.
  std::unique_ptr<AcpAgent> another(AgentSink& other_sink);
  /// Instead of attach(), where there are several drivers.
  void answer_with(Answer answer) { answer_ = std::move(answer); }
  void shut_down(AcpAgent& one) { machine.run_task(platform.reactor(), one.shutdown()); }

  io::SimMachine machine;
  io::SimPlatform platform{machine, "berth"};
  JsonScanner scanner;
  NativeSessions natives;
  AgentProfile profile;
  LaunchPolicy launches{{}, platform.environment(), "/state"};
  HeardSink sink;
  std::unique_ptr<AcpProcesses> processes;  // made with the first driver: `profile` is set by then
  std::unique_ptr<AcpAgent> agent;

 private:
  Task<int> peer(io::SimProcess& process);

  Answer answer_;
  std::deque<std::string> sent_;
};

}  // namespace berth::server
