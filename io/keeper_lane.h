// io/keeper_lane.h — one reactor's socket to the keeper (private to process_keeper.cc).
#pragma once

#include <berth/core/clock.h>
#include <berth/core/log.h>
#include <berth/io/child_stdio.h>
#include <berth/io/fd.h>
#include <berth/io/keeper_socket.h>
#include <berth/io/keeper_wire.h>
#include <berth/io/member_timer.h>
#include <berth/io/process_host.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

namespace berth::inline v0::io::keeper {

class LaneEnd;

/// What the caller of spawn() holds.
class KeptProcess final : public Process {
 public:
  ~KeptProcess() override;
  ProcessId id() const override { return process_id; }
  void kill_tree() override;
  void signal(int number) override;

  ProcessId process_id;
  std::uint64_t number = 0;
  LaneEnd* lane = nullptr;  // null once the exit has been told, or the keeper is lost
};

/// What a lane tells its host.
class LaneOwner {
 public:
  virtual LogSink& log() = 0;
  /// How long the keeper may be silent while it owes us something.
  virtual Duration silence_max() const = 0;
  /// The keeper is gone, or does not make sense, or does not answer: called once, not from within a
  /// spawn(). What it had started has to be ended by other means before this returns.
  virtual void on_lane_lost(LaneEnd& lane) = 0;

 protected:
  ~LaneOwner() = default;
};

/// Used on its reactor's thread only, which never waits here. Starts are sent at once, other
/// requests are gathered and sent later in the turn; what the socket has no room for waits in a
/// queue. Reports are read when the socket is readable.
class LaneEnd {
 public:
  LaneEnd(LaneOwner& owner, Reactor& reactor) : owner_(owner), reactor_(reactor) {}
  LaneEnd(const LaneEnd&) = delete;
  LaneEnd& operator=(const LaneEnd&) = delete;
  ~LaneEnd();

  /// Takes our end of a socket to the keeper of that instance; again after a loss was told.
  Result<void> open(Fd socket, const std::string& instance);

  /// See ProcessHost::spawn. A child that was asked for when the keeper is lost hears
  /// `unavailable` ("keeper_lost").
  Result<std::unique_ptr<Process>> spawn(std::uint64_t number, const LaunchSpec& spec,
                                         ProcessListener& listener);
  void kill(std::uint64_t number);
  void signal(std::uint64_t number, int signal);
  /// The holder of the process is gone: nobody wants to know.
  void abandon(std::uint64_t number);

  /// False before open() and once a loss was told: then open() it (again).
  bool usable() const { return socket_ != kNoHandle && !loss_told_; }
  const std::string& instance() const { return instance_; }
  Reactor& reactor() { return reactor_; }
  /// Tells nobody anything any more and stops watching; turns the reactor for that.
  void close();

 private:
  struct Child {
    ProcessListener* listener = nullptr;  // null: abandoned
    KeptProcess* process = nullptr;
    std::uint64_t run = 0;  // of the keeper that was asked
    bool started = false;
  };
  struct Packet {
    std::string bytes;
    Fd memory;                          // of a long spec
    std::unique_ptr<ChildStdio> stdio;  // of a Start: the child's ends, closed when it is sent
  };
  struct Readable final : PollOp {
    explicit Readable(LaneEnd& of) : lane(of) {}
    void on_ready(int error) override { lane.on_readable(error); }
    LaneEnd& lane;
  };
  struct Later final : Runnable {
    explicit Later(LaneEnd& of) : lane(of) {}
    void run() override { lane.on_turn(); }
    LaneEnd& lane;
  };

  void on_readable(int error);
  void on_turn();
  void later();
  void receive();
  void dispatch();
  void tell_stderr(const Stderr& said);
  void tell_start(const Started& started);
  void tell_failure(std::uint64_t number, Error error);
  void tell_end(const Ended& ended);
  /// The child as it was, empty if there is none.
  Child forget(std::uint64_t number);
  void request(const Request& request);
  void flush();
  /// The keeper owes us something from now on.
  void expect();
  void on_silence();
  void lose(const std::string& why);

  LaneOwner& owner_;
  Reactor& reactor_;
  Handle socket_ = kNoHandle;
  std::string instance_;
  std::uint64_t run_ = 0;  // counts the keepers that were lost
  Readable readable_{*this};
  Later later_{*this};
  PacketReader packet_;
  MemberTimer<&LaneEnd::flush> room_{*this};  // no operation waits for room in a socket
  MemberTimer<&LaneEnd::on_silence> silence_{*this};
  TimePoint heard_{};            // when we last heard of the keeper, or had nothing to hear
  std::deque<Packet> outgoing_;  // the last one may still be filled, unless it is a Start
  std::deque<Report> incoming_;  // read, not told yet
  std::unordered_map<std::uint64_t, Child> children_;
  std::size_t unanswered_ = 0;  // starts
  bool stuck_ = false;          // there was no room for the front of outgoing_
  bool lost_ = false;
  bool loss_told_ = false;
  bool closing_ = false;
};

}  // namespace berth::inline v0::io::keeper
