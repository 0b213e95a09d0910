// io/direct_child.h — one child of the direct host from its start until it is reaped (private to
// process_direct.cc).
#pragma once

#include <berth/core/executor.h>
#include <berth/core/log.h>
#include <berth/io/child_start.h>
#include <berth/io/fd.h>
#include <berth/io/member_timer.h>
#include <berth/io/process_direct.h>
#include <berth/io/process_tree.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace berth::inline v0::io {

class DirectChild;

/// What a child wants of its host.
class DirectParent {
 public:
  virtual LogSink& log() = 0;
  virtual const DirectOptions& options() const = 0;
  /// Kills the child's tree by a walk over /proc, later in this turn, and then calls swept().
  virtual void sweep_later(DirectChild& child) = 0;
  /// Destroys the child.
  virtual void forget(DirectChild& child) = 0;

 protected:
  ~DirectParent() = default;
};

/// What the caller of spawn() holds.
class DirectProcess final : public Process {
 public:
  ~DirectProcess() override;
  ProcessId id() const override { return process_id; }
  void kill_tree() override;
  void signal(int number) override;

  ProcessId process_id;
  DirectChild* child = nullptr;  // null once the exit has been told
};

/// What the caller of spawn() holds when the start has failed, which his listener hears later in
/// the turn.
class FailedProcess final : public Process, private Runnable {
 public:
  FailedProcess(Reactor& reactor, ProcessListener& listener, Error error)
      : listener_(listener), error_(std::move(error)) {
    reactor.post(*this);
  }
  ProcessId id() const override { return {}; }
  void kill_tree() override {}
  void signal(int) override {}

 private:
  /// The listener may drop this.
  void run() override { listener_.on_start_failed(std::move(error_)); }

  ProcessListener& listener_;
  Error error_;
};

/// Lives on its reactor's thread, in the host's table.
///
///   started --told so--> running --pidfd readable--> ending its tree --tree gone, reaped-->
///   last words of stderr, on_exit --> forgotten
///
/// A zombie root is reaped only when its tree is gone: until then its pid, and with it the number
/// of its session and of its group, belongs to nobody else.
class DirectChild {
 public:
  DirectChild(DirectParent& parent, Reactor& reactor, std::uint64_t number, std::string marker);
  ~DirectChild();

  /// Takes over a started process with the read end of its stderr, and begins to watch them. On an
  /// error the process is still the caller's.
  Result<void> adopt(StartedChild& started, Fd errors, ProcessListener& listener,
                     DirectProcess& process);

  void kill_tree();
  void signal(int number);
  /// The holder is gone, or the host goes: end it, tell nobody.
  void abandon();
  /// Stops watching what does not die, and forgets it in a later turn.
  void give_up();
  /// What a walk has found and killed of the tree.
  void swept(const TreeSweep& answer);

  std::uint64_t number() const { return number_; }
  Reactor& reactor() { return reactor_; }
  TreeSeed seed() const;

 private:
  struct StartNotice final : Runnable {
    explicit StartNotice(DirectChild& of) : child(of) {}
    void run() override { child.tell_start(); }
    DirectChild& child;
  };
  struct ExitPoll final : PollOp {
    explicit ExitPoll(DirectChild& of) : child(of) {}
    void on_ready(int error) override { child.on_exited(error); }
    DirectChild& child;
  };

  struct Errors final : ReadOp {
    explicit Errors(DirectChild& of) : child(of) {}
    void on_read(std::span<char> bytes) override { child.say({bytes.data(), bytes.size()}); }
    void on_read_end(int) override { child.on_errors_end(); }
    DirectChild& child;
  };

  void on_errors_end();
  void say(std::string_view bytes);
  void say_last_words();
  /// The first thing that is told: what is seen sooner does not come before it.
  void tell_start();
  void on_exited(int error);
  void end_tree();
  void tree_is_gone();
  void tree_still_lives();
  bool reap();
  void tell();
  void tell_end();
  void leave();

  DirectParent& parent_;
  Reactor& reactor_;
  const std::uint64_t number_;
  const std::string marker_;
  TreeGroups groups_;
  ProcessId id_;
  Handle pidfd_ = kNoHandle;
  ProcessListener* listener_ = nullptr;
  DirectProcess* process_ = nullptr;
  StartNotice start_notice_;
  ExitPoll exit_poll_;
  Errors errors_;
  MemberTimer<&DirectChild::end_tree> retry_;
  bool told_start_ = false;
  bool exited_ = false;  // the process itself; its tree may live
  bool reaped_ = false;
  bool told_ = false;
  bool given_up_ = false;
  bool leaving_ = false;  // forgotten when the read of its stderr is over
  ExitStatus status_;     // "killed, unknown" until the kernel says something else
  Duration next_retry_;
  TimePoint patience_end_;
};

}  // namespace berth::inline v0::io
