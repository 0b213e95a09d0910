// server/agents/acp_process.h — a process of an ACP agent and the sessions that have a seat in it.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/server/agents/agent_port.h>
#include <berth/server/agents/launch.h>
#include <berth/server/agents/profile.h>
#include <berth/server/agents/replay_guard.h>
#include <berth/server/agents/rpc_connection.h>

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// A session's end of a process. Views are valid during the call.
class AcpSeat {
 public:
  /// `initialize` was answered, or never will be.
  virtual void on_started() = 0;
  virtual void on_notification(const RoutedLine& line) = 0;
  /// An update that came before its session was known to be this one.
  virtual void on_early_update(const AgentUpdate& update) = 0;
  /// Must lead to exactly one reply() or reply_error() of the connection.
  virtual void on_request(const RoutedLine& line) = 0;
  virtual void on_junk(const char* reason, std::uint64_t bytes, std::string_view head) = 0;
  virtual bool wants_more() = 0;
  /// The process is gone, or this seat was left; nothing comes after it.
  virtual void on_over() = 0;

 protected:
  ~AcpSeat() = default;
};

/// One process, initialized once. What it says goes to the seat of the session that it names:
/// where there may be several seats, what names a session without a seat is nobody's, so that no
/// session ever hears of another. What names none (junk, notifications of the whole process) goes
/// to all. A seat that wants no more stops all of them until it does. Above the limits of
/// AgentProfile::generation nobody gets a seat any more.
///
/// Whoever leaves the last seat ends the process and keeps this until on_over().
class AcpProcess final : private RpcPeer {
 public:
  /// `platform`, `scanner` and `profile` outlive it.
  AcpProcess(io::Platform& platform, JsonScanner& scanner, const AgentProfile& profile);

  /// Asks for the process and sends `initialize`.
  void start(const AgentLaunch& launch);
  /// The answer to `initialize`; null until on_started().
  const RpcReply* initialized() const { return initialized_.get(); }
  RpcConnection& connection() { return connection_; }

  bool takes_seats() const;
  /// Apart from how many sit in it.
  bool is_open() const;
  bool is_empty() const { return seats_.empty(); }
  bool is_alone(const AcpSeat& seat) const { return seats_.size() == 1 && seats_[0] == &seat; }
  void sit(AcpSeat& seat);
  /// The session of a seat, by the id that the agent gave it; empty while it is not known.
  void name(AcpSeat& seat, std::string_view native_session_id);
  /// Its calls are given up and it hears on_over(); the process goes on with the others.
  void leave(AcpSeat& seat);
  /// Between these a turn of a seat runs.
  void turn_begins() { ++turns_; }
  void turn_ended() {
    --turns_;
    worked_ = clock_.now();
  }
  std::size_t turns() const { return turns_; }
  /// When the last turn ended.
  TimePoint worked() const { return worked_; }
  /// No further session gets a seat: something is wrong with it.
  void retire() { retired_ = true; }
  /// What it and all that it started holds resident.
  void weigh(std::uint64_t bytes) { memory_bytes_ = bytes; }
  /// Sends session/close for a session that has left; nobody waits for the answer.
  void close_behind(std::string_view native_session_id);

 private:
  struct Initialize final : RpcCall {
    explicit Initialize(AcpProcess& owner) : owner(owner) {}
    void on_reply(RpcReply reply) override { owner.on_initialized(std::move(reply)); }
    AcpProcess& owner;
  };
  struct Unheard final : RpcCall {
    void on_reply(RpcReply) override {}
  };

  void on_notification(const RoutedLine& line) override;
  void on_request(const RoutedLine& line) override;
  void on_junk(const char* reason, std::uint64_t bytes, std::string_view head) override;
  bool wants_more() override;
  void on_gone() override;
  void initialize(bool v2);
  void on_initialized(RpcReply reply);
  AcpSeat* seat_of(std::string_view native_session_id) const;
  AcpSeat* asked_by(const RoutedLine& line) const;
  void keep_early(const RoutedLine& line);
  bool forget_early_if_all_are_named();

  const AgentProfile& profile_;
  const Clock& clock_;
  TimePoint began_;
  std::size_t seats_max_;
  std::uint64_t memory_bytes_ = 0;
  std::uint64_t served_ = 0;
  std::size_t turns_ = 0;
  TimePoint worked_{};
  bool retired_ = false;
  bool asked_for_v2_ = false;
  std::vector<AcpSeat*> seats_;
  std::map<std::string, AcpSeat*, std::less<>> by_session_;
  /// Updates of sessions whose seats do not know their ids yet.
  std::map<std::string, std::vector<ReplayGuard::Update>, std::less<>> early_;
  std::size_t early_bytes_ = 0;
  std::unique_ptr<RpcReply> initialized_;
  Initialize initialize_{*this};
  Unheard unheard_;
  RpcConnection connection_;
};

/// The processes of one profile, on one shard.
class AcpProcesses {
 public:
  /// The references outlive it. `directory` is where a process runs that serves many sessions.
  AcpProcesses(io::Platform& platform, JsonScanner& scanner, const LaunchPolicy& launches,
               const AgentProfile& profile, std::string directory, std::string tag);

  /// One that takes a seat: one that runs, else, if that may be, a new one that its caller starts,
  /// else null.
  std::shared_ptr<AcpProcess> acquire(bool may_start);
  /// Looks at how big those that run have become, for acquire().
  Task<void> weigh();
  /// What to start for `spec`, which is one session of many where processes are shared.
  /// `git_folders`: see AttachSpec. Errors: of LaunchPolicy::launch.
  Result<AgentLaunch> launch_spec(const AttachSpec& spec, GitFolders git_folders) const;

 private:
  io::Platform& platform_;
  JsonScanner& scanner_;
  const LaunchPolicy& launches_;
  const AgentProfile& profile_;
  std::string directory_;
  std::string tag_;
  std::vector<std::weak_ptr<AcpProcess>> processes_;
};

}  // namespace berth::server
