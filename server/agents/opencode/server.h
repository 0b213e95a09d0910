// server/agents/opencode/server.h — one running `opencode serve` and its one event stream, shared
// by sessions.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/sse.h>
#include <berth/core/sync.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/server/agents/agent_port.h>
#include <berth/server/agents/launch.h>
#include <berth/server/agents/line_process.h>
#include <berth/server/agents/opencode/event_frame.h>
#include <berth/server/agents/opencode/http_call.h>
#include <berth/server/agents/profile.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace berth::server::opencode {

/// What a server tells a session that is attached to it, in the order of the stream.
class ServerClient {
 public:
  /// `raw` is the frame's text; `child` the id of the sub-agent's session below this one that the
  /// event is of, empty for the session itself. Both are valid during the call.
  virtual void on_frame(const EventFrame& frame, std::string_view raw, std::string_view child) = 0;
  /// Events are missing from here on.
  virtual void on_stream_lost() = 0;
  /// Events come again; what was missed must be asked for.
  virtual void on_stream_connected() = 0;
  /// The process and its tree are gone; the server forgets the client.
  virtual void on_server_ended(const AgentExit& exit) = 0;

 protected:
  ~ServerClient() = default;
};

/// One process from spawn to its end, and the only connection to its `/global/event` (opencode
/// queues without bound for each). On one shard; owned by Servers, which awaits run().
class Server final : private LinePeer, private SseSink {
 public:
  /// The references outlive it. `tag` names its processes.
  Server(io::Platform& platform, const LaunchPolicy& launches, const AgentProfile& profile,
         std::string directory, std::string tag);
  ~Server();

  /// Spawns it and follows its stream until it is gone; returns when nothing of it is left.
  Task<void> run();
  /// Set when it takes sessions or has failed to start (failure()).
  Event& started() { return started_; }
  const Error& failure() const { return failure_; }
  /// Set when run() is about to return.
  Event& ended() { return ended_; }
  bool live() const { return state_ == State::live; }
  /// Ends the process with its tree.
  void kill();

  /// From now on `client` hears of `session_id` and of the sessions below it.
  void add(std::string session_id, ServerClient& client);
  void remove(ServerClient& client);
  /// Bytes of frames that clients keep because their sessions are full: above a bound the stream
  /// is not read.
  void add_held(std::ptrdiff_t bytes);
  /// Set when the stream gave an event of any session: some versions send only server.connected.
  Event& spoke() { return spoke_; }

  const Endpoint& endpoint() const { return endpoint_; }
  const std::string& version() const { return version_; }
  io::ProcessId process_id() const { return process_->process_id(); }
  io::ExitStatus exit_status() const { return process_->exit_status(); }
  std::string stderr_tail() const { return process_->stderr_tail(); }

  /// Learns which session is above which; empty `parent`: none.
  void learn_parent(std::string_view child, std::string_view parent);
  bool knows(std::string_view session) const { return parents_.contains(session); }
  /// The topmost session above `session`, or itself.
  std::string_view root_of(std::string_view session) const;

 private:
  enum class State : std::uint8_t { starting, live, ended };

  Task<Result<void>> start();
  Task<Result<void>> spawn_once();
  std::unique_ptr<LineProcess> make_process();
  Task<void> end_late(TimePoint when, StopToken stop);
  Task<void> give_up_late(TimePoint when, StopToken stop);
  Task<Result<void>> check_version();
  Task<void> follow();
  Task<void> follow_once();
  Result<AgentLaunch> launch_spec(int port) const;
  Result<int> free_port();

  void on_line(Line& line) override;
  void on_overlong(std::uint64_t, std::string_view) override {}
  bool wants_more() override { return true; }
  void on_gone() override;
  void on_event(const SseEvent& event) override;

  io::Platform& platform_;
  const LaunchPolicy& launches_;
  io::Reactor& reactor_;
  const AgentProfile& profile_;
  std::string directory_;
  std::string tag_;
  std::string password_;
  State state_ = State::starting;
  std::unique_ptr<LineProcess> process_;  // never null
  Scope scope_;
  StopSource stop_;         // of the stream
  StopSource stream_over_;  // the stream's last connection has ended
  Event announced_;         // the ready line, or the end
  Event started_;
  Event connected_event_;
  Event spoke_;
  Event room_;
  Event ended_;
  std::string url_;
  std::string version_;
  Endpoint endpoint_;
  Error failure_;
  bool gone_ = false;
  bool connected_ = false;
  bool expected_end_ = false;
  std::size_t held_ = 0;
  std::map<std::string, ServerClient*, std::less<>> clients_;
  std::map<std::string, std::string, std::less<>> parents_;
};

}  // namespace berth::server::opencode
