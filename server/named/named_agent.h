// server/named/named_agent.h — one named agent: a session with one agent that berth keeps running,
// and the doors that scripts have to it.
#pragma once

#include <berth/core/mutex.h>
#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/server/named/inbox.h>
#include <berth/server/named/notices.h>
#include <berth/server/named/spec.h>
#include <berth/server/sessions/directory.h>

#include <memory>
#include <string>

namespace berth::server {

/// Prompts, queue, log, checkpoints and resume are its session's. What it adds: the agent is
/// started without a prompt and again when it ends, its queue goes on after a turn that failed,
/// prompts come from a FIFO too, and who wants to know is told how turns end.
///
/// Verbs come one at a time (NamedAgents holds verbs()). On the session's shard.
class NamedAgent final : private LogReader {
 public:
  /// `folder` is its runtime folder; it exists. `profile` is derived already and outlives it.
  NamedAgent(SessionContext& context, const AgentProfile& profile, std::string folder,
             NamedSpec spec, SessionUse session);
  ~NamedAgent();

  const NamedSpec& spec() const { return spec_; }
  Session& session() { return session_; }
  const Session& session() const { return session_; }
  /// Where the driver keeps checkpoints and output.
  std::string agent_folder() const;
  std::string fifo_path() const { return inbox_.path(); }
  const Binding* binding() const;
  bool running() const { return running_ != nullptr; }

  /// Stores the spec. Errors: those of the file; so are those of the next two.
  Task<Result<void>> save();
  /// Whether the next life of the server starts it.
  Task<Result<void>> want(bool wanted);
  Task<Result<void>> leave(NamedSpec::Leaving how);
  /// Begins to tell who wants to know; before anything can be asked of it.
  Task<Result<void>> watch();
  /// Keeps it running from now on.
  Task<Result<void>> start();
  /// Ends the agent: after the running turn, or at once. Prompts wait from now on. Whoever asks
  /// for `now` while another waits for the turn ends that, too: end_now().
  Task<void> stop(bool now);
  void end_now();
  /// Puts the checkpoints aside, so that the next process begins without memory. While stopped.
  Task<Result<void>> forget();
  /// For the end of the server: who waits in stop() need not any more.
  void go_down();
  /// After go_down() and the last verb; nothing is stored but what came from the FIFO.
  Task<void> shutdown();

 private:
  struct Running {
    explicit Running(Executor& executor) : scope(executor) {}
    StopSource stop;
    Scope scope;
  };

  void on_log_grew() override { changed_.set(); }
  Binding& bound();
  Task<void> keep_running(StopToken stop);
  Task<bool> pause_before_start(StopToken stop);
  Task<void> take_prompts(StopToken stop);
  Task<bool> take_one(const Inbox::Prompt* prompt, StopToken stop);
  void refuse(const CutPrompt& prompt, std::string_view reason);
  Task<void> halt();

  SessionContext& context_;
  const AgentProfile& profile_;
  std::string folder_;
  NamedSpec spec_;
  SessionUse use_;
  Session& session_;
  Inbox inbox_;
  Notices notices_;
  Event changed_;  // something happened in the session
  std::unique_ptr<Running> running_;
  int starts_in_a_row_ = 0;
  TimePoint started_at_;
  bool down_ = false;
};

}  // namespace berth::server
