// server/sessions/git_command_process.h — the git program for the git layer, run by the process
// host.
#pragma once

#include <berth/core/sync.h>
#include <berth/git/git_command.h>
#include <berth/io/platform.h>

#include <mutex>
#include <string>

namespace berth::server {

/// Git starts on the reactor and is waited for on the offload lane's thread that asked. Its tree is
/// killed when the deadline passes or the work is cancelled.
///
/// Made and destroyed on the reactor's thread. Before the reactor stops for good, await close():
/// a lane that waited for git would wait for ever.
class GitCommandProcess final : public git::GitCommand {
 public:
  /// `platform` outlives it. `scratch_folder` exists.
  GitCommandProcess(io::Platform& platform, std::string scratch_folder);
  ~GitCommandProcess() override;

  /// On a thread of an offload lane, never on the reactor's. `cancelled` after close().
  Result<git::GitOutput> run(const git::GitRun& run) override;
  std::string scratch_folder() const override { return scratch_folder_; }

  /// Kills what runs, lets nothing else start, and waits until all is gone. Idempotent.
  Task<void> close();

 private:
  class Running;

  /// Of a run that has begun: false when it is too late for that.
  bool enter();
  /// On the reactor.
  void left(Running& running);

  io::Platform& platform_;
  std::string scratch_folder_;
  std::string path_;  // PATH
  Event idle_;
  IntrusiveList<Running> running_;  // the reactor's
  std::mutex mutex_;
  int entered_ = 0;       // guarded by mutex_
  bool closing_ = false;  // guarded by mutex_; written on the reactor
};

}  // namespace berth::server
