// tests/unit/io/reactor_conformance.h — the suite that every engine passes: what the Reactor
// interface promises.
//
// An engine's own test file instantiates it:
//   INSTANTIATE_TEST_SUITE_P(Uring, ReactorConformance, testing::Values(EngineUnderTest{"uring",
//   make_uring_rig}), ...);
#pragma once

#include <berth/core/scope.h>
#include <berth/core/task.h>
#include <berth/io/reactor.h>

#include <gtest/gtest.h>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

struct PipeEnds {
  Handle reader = kNoHandle;
  Handle writer = kNoHandle;
};

/// One engine, ready to run, and the world around it: `FdRig` (fd_rig.h) for those on the
/// kernel, `SimRig` (sim_rig.h).
class ReactorRig {
 public:
  virtual ~ReactorRig() = default;
  virtual Reactor& reactor() = 0;
  /// A pipe whose two ends are handles of the reactor.
  virtual PipeEnds make_pipe() = 0;
  /// Handles open now; a test ends with as many as it began with.
  virtual std::size_t open_handles() = 0;

  /// A second loop of the same engine, on the same thread and in the same process.
  virtual Reactor& other() { return reactor(); }
  /// Does `steps` in order on another thread, which nobody waits for before the rig ends. (In the
  /// simulator: in turns of another loop.)
  virtual void elsewhere(std::vector<std::function<void()>> steps) { static_cast<void>(steps); }
  /// Waits as somebody else's loop does, for wait_fd() or the deadline of `which`; false when
  /// neither came for long.
  virtual bool wait_outside(Reactor& which) { return which.poll(); }
  /// A folder for files, gone with the rig.
  virtual std::string folder() { return {}; }
  /// A child of this process that runs until it is told to end; then it waits to be reaped.
  virtual int start_child() { return -1; }
  virtual void end_child(int pid) { static_cast<void>(pid); }
  /// Its exit code; waits for it.
  virtual int reap_child(int pid) { return pid; }
  /// The pid of a process that is nobody's child here.
  virtual int stranger() { return 1; }
};

struct EngineUnderTest {
  std::string name;
  std::function<std::unique_ptr<ReactorRig>()> make;
};
inline void PrintTo(const EngineUnderTest& engine, std::ostream* out) {
  *out << engine.name;
}

/// `size` letters, the same for the same seed.
std::string pattern(std::size_t size, std::uint64_t seed = 1);

/// How all Sinks read: an engine may offer two ways, with the same promises.
inline ReadOp::Way sink_way = ReadOp::Way::readiness;

/// Reads into a string.
class Sink final : public ReadOp {
 public:
  Sink(Reactor& reactor, Handle reader) : reactor_(reactor) { handle = reader; }
  void on_read(std::span<char> bytes) override;
  void on_read_end(int error_value) override;
  /// Starts again after an end; what was read stays.
  void begin();

  std::string text;
  bool over = false;
  int error = -1;
  int ends = 0;
  std::size_t reads = 0;
  std::size_t most_at_once = 0;
  std::function<void(Sink&)> after_read;

 private:
  Reactor& reactor_;
};

/// Writes strings it owns, one at a time.
class Source final : public WriteOp {
 public:
  Source(Reactor& reactor, Handle writer) : reactor_(reactor) { handle = writer; }
  void on_written(int error_value) override;
  void write(std::string bytes);

  bool done = true;
  int error = 0;
  int ends = 0;
  std::string sent;  // what the kernel took, of all writes
  std::function<void()> after_write;

 private:
  Reactor& reactor_;
  std::string bytes_;
  iovec part_ = {};
};

/// Accepts connections and keeps them.
class Listener final : public AcceptOp {
 public:
  void on_accept(Handle connection) override { connections.push_back(connection); }
  void on_accept_end(int error_value) override {
    over = true;
    error = error_value;
  }
  std::vector<Handle> connections;
  bool over = false;
  int error = -1;
};

class Alarm final : public TimerOp {
 public:
  explicit Alarm(std::function<void()> fn) : fn_(std::move(fn)) {}
  void on_timer() override { fn_(); }

 private:
  std::function<void()> fn_;
};

class Job final : public Runnable {
 public:
  explicit Job(std::function<void()> fn) : fn_(std::move(fn)) {}
  void run() override { fn_(); }

 private:
  std::function<void()> fn_;
};

class Waiter final : public PollOp {
 public:
  void on_ready(int error_value) override {
    error = error_value;
    ++calls;
  }
  int error = -1;
  int calls = 0;
};

/// Makes one connection.
class Connector final : public ConnectOp {
 public:
  explicit Connector(Address to) { address = std::move(to); }
  void on_connected(Handle handle, int error_value) override {
    EXPECT_FALSE(started());
    EXPECT_EQ(handle != kNoHandle, error_value == 0);
    connection = handle;
    error = error_value;
    ++calls;
  }
  Handle connection = kNoHandle;
  int error = -1;
  int calls = 0;
};

/// A connection to `address`, made while `reactor` turns; fails the test without one.
Handle connect_to(Reactor& reactor, const Address& address);

class ReactorConformance : public testing::TestWithParam<EngineUnderTest> {
 protected:
  ReactorConformance();
  ~ReactorConformance() override;
  void SetUp() override;
  void TearDown() override;

  Reactor& reactor() { return rig_->reactor(); }
  /// Runs the loop until `happened()` is true at the end of a turn; false after ten seconds of the
  /// reactor's time.
  bool run_until(std::function<bool()> happened);
  /// The same for reactor() and rig_->other() side by side, by poll().
  bool run_both_until(const std::function<bool()>& happened);
  /// Runs turns without waiting until nothing happens any more.
  void settle();
  /// Runs one coroutine to its end; false if it does not come to it.
  bool run_task(Task<void> task);
  PipeEnds make_pipe() { return rig_->make_pipe(); }
  void close(PipeEnds& pipe);
  /// Two ends of a connection over loopback TCP: {client, server}.
  std::pair<Handle, Handle> make_connection();

  std::unique_ptr<ReactorRig> rig_;

 private:
  class Watcher;
  std::unique_ptr<Watcher> watcher_;
  std::size_t handles_before_ = 0;
};

}  // namespace berth::inline v0::io
