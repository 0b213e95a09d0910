// What only the simulated engine can be asked about its operations: time, misfortune, crashes.
#include "reactor_conformance.h"

#include <berth/io/awaitables.h>
#include <berth/io/sim_platform.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <cerrno>
#include <map>
#include <set>

namespace berth::inline v0::io {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class Step final : public FileOp {
 public:
  explicit Step(Kind what) { kind = what; }
  void on_file(std::int64_t value) override {
    result = value;
    ++calls;
  }
  std::int64_t result = -1;
  int calls = 0;
};

class ChildWait final : public WaitOp {
 public:
  explicit ChildWait(int child) { pid = child; }
  void on_ended(int error_value) override {
    error = error_value;
    ++calls;
  }
  int error = -1;
  int calls = 0;
};

Task<int> patient_program(SimProcess& process) {
  co_await Sleep(process.reactor(), process.clock().now() + seconds(10), process.stop_token());
  co_return 4;
}

// --- connections ---

TEST(SimConnect, FailsInEachWayThatNetworksFailAndATimeoutTakesMinutes) {
  std::map<int, int> outcomes;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    FaultPlan faults = FaultPlan::gentle();
    faults.set(Fault::connect_failure, 600).set(Fault::no_descriptor, 200);
    SimMachine machine(seed, faults);
    SimReactor reactor(machine, "test");
    Listener listener;
    listener.listener = reactor.listen({"127.0.0.1:1"}).value();
    reactor.start(listener);
    Connector connector({"127.0.0.1:1"});
    const TimePoint begun = machine.now();
    reactor.start(connector);
    ASSERT_EQ(machine.run_until([&] { return connector.calls == 1; }),
              SimMachine::Outcome::reached);
    ++outcomes[connector.error];
    EXPECT_EQ(machine.now() - begun >= minutes(2), connector.error == ETIMEDOUT);
    machine.run_for(seconds(1));
    EXPECT_EQ(listener.connections.size(), connector.error == 0 ? 1U : 0U);
    reactor.cancel(listener);
    machine.run_until([&] { return listener.over; });
  }
  for (const int error : {0, ETIMEDOUT, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EMFILE}) {
    EXPECT_GT(outcomes[error], 5) << error;
  }
}

TEST(SimConnect, CancelRacesBothWaysAndTheListenerSeesOneThatEndsAtOnceOrNone) {
  int made = 0;
  int stillborn = 0;
  int unseen = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SimMachine machine(seed);
    SimReactor reactor(machine, "test");
    Listener listener;
    listener.listener = reactor.listen({"127.0.0.1:1"}).value();
    reactor.start(listener);
    Connector connector({"127.0.0.1:1"});
    reactor.start(connector);
    reactor.cancel(connector);
    machine.run_until([&] { return connector.calls == 1; });
    machine.run_for(seconds(1));
    if (connector.error == 0) {
      ++made;
      EXPECT_EQ(listener.connections.size(), 1U);
    } else {
      EXPECT_EQ(connector.error, ECANCELED);
      ++(listener.connections.empty() ? unseen : stillborn);
    }
    reactor.cancel(listener);
    machine.run_until([&] { return listener.over; });
  }
  EXPECT_GT(made, 20);
  EXPECT_GT(stillborn, 20);
  EXPECT_GT(unseen, 20);
}

TEST(SimAccept, GoesOnWhenThereAreDescriptorsAgain) {
  FaultPlan faults = FaultPlan::none();
  SimMachine machine(3, faults.set(Fault::accept_starved, 1'000));
  SimReactor reactor(machine, "test");
  Listener listener;
  listener.listener = reactor.listen({"127.0.0.1:1"}).value();
  reactor.start(listener);
  connect_to(reactor, {"127.0.0.1:1"});
  machine.run_for(seconds(1));
  EXPECT_TRUE(listener.connections.empty());
  EXPECT_FALSE(listener.over);
  machine.faults() = FaultPlan::none();
  machine.run_for(seconds(1));
  EXPECT_EQ(listener.connections.size(), 1U);
  reactor.cancel(listener);
  machine.run_until([&] { return listener.over; });
}

TEST(SimSocket, AHalfCloseEndsOneDirectionOnly) {
  FaultPlan faults = FaultPlan::none();
  SimMachine machine(3, faults.set(Fault::half_close, 1'000));
  SimReactor reactor(machine, "test");
  const std::pair<Handle, Handle> ends = machine.make_connection();
  Source here(reactor, reactor.adopt(ends.first).value());
  Source there(reactor, reactor.adopt(ends.second).value());
  Sink at_here(reactor, here.handle);
  Sink at_there(reactor, there.handle);
  here.write("one");
  at_there.begin();
  machine.run_until([&] { return at_there.over; });
  EXPECT_EQ(at_there.text, "one");
  EXPECT_EQ(at_there.error, 0);
  here.write("two");
  machine.run_until([&] { return here.done; });
  EXPECT_EQ(here.error, EPIPE);
  machine.faults() = FaultPlan::none();
  there.write("answer");
  at_here.begin();
  machine.run_until([&] { return at_here.text == "answer"; });
  EXPECT_EQ(at_here.text, "answer");
  reactor.cancel(at_here);
  machine.run_until([&] { return at_here.over; });
}

// --- children ---

TEST(SimWait, KnowsWhoseChildItIsAndTwoLoopsOfOneProcessShareIt) {
  SimMachine machine(5);
  machine.add_program("patient", patient_program);
  SimReactor parent(machine, "parent");
  SimReactor shard(machine, "shard of the parent");
  SimReactor stranger(machine, "stranger");
  shard.share_process_of(parent);
  const int pid = machine.start_child(parent, "patient", {}).value();
  ChildWait by_shard(pid);
  ChildWait by_stranger(pid);
  shard.start(by_shard);
  stranger.start(by_stranger);
  machine.run_for(seconds(1));
  EXPECT_EQ(by_stranger.error, ECHILD);
  EXPECT_EQ(by_shard.calls, 0);
  EXPECT_EQ(machine.reap(parent, pid).error().kind, ErrorKind::busy);
  machine.run_until([&] { return by_shard.calls == 1; });
  EXPECT_EQ(by_shard.error, 0);
  EXPECT_EQ(machine.reap(stranger, pid).error().kind, ErrorKind::not_found);
  EXPECT_EQ(machine.reap(parent, pid).value().value, 4);
  EXPECT_EQ(machine.reap(parent, pid).error().kind, ErrorKind::not_found);
}

TEST(SimWait, HearsOfADeathThatNobodyPlanned) {
  SimMachine machine(5);
  machine.add_program("patient", patient_program);
  SimReactor reactor(machine, "test");
  const int pid = machine.start_child(reactor, "patient", {}).value();
  ChildWait wait(pid);
  reactor.start(wait);
  machine.run_for(seconds(1));
  machine.find_process(pid)->kill(9);
  machine.run_until([&] { return wait.calls == 1; });
  const ExitStatus status = machine.reap(reactor, pid).value();
  EXPECT_EQ(status.kind, ExitStatus::Kind::killed);
  EXPECT_EQ(status.value, 9);
}

TEST(SimWait, TheDeadHearCancelled) {
  SimMachine machine(5);
  machine.add_program("patient", patient_program);
  SimPlatform platform(machine, "server");
  const int pid = machine.start_child(platform.reactor(), "patient", {}).value();
  ChildWait wait(pid);
  platform.reactor().start(wait);
  platform.crash();
  machine.run_until([&] { return wait.calls == 1; });
  EXPECT_EQ(wait.error, ECANCELED);
}

// --- files ---

Handle open_now(SimMachine& machine, SimReactor& reactor, const char* path) {
  Step step(FileOp::Kind::open);
  step.path = path;
  step.flags = O_RDWR | O_CREAT;
  reactor.start(step);
  machine.run_until([&] { return step.calls == 1; });
  return static_cast<Handle>(step.result);
}

TEST(SimFileOps, ACrashInTheMiddleFindsAStepDoneOrUndoneAndTheDiskStays) {
  int found_done = 0;
  int found_undone = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SimMachine machine(seed);
    {
      SimPlatform platform(machine, "server");
      Step step(FileOp::Kind::write);
      step.file = open_now(machine, platform.reactor(), "/data");
      const std::string_view text = "x";
      step.from = text;
      platform.reactor().start(step);
      platform.reactor().interrupt_after(1 + machine.random().below(2), [&] { platform.crash(); });
      machine.run_until([&] { return step.calls == 1; });
      EXPECT_EQ(step.result, -ECANCELED);
      platform.reactor().close(step.file);
    }
    const SimDisk::Node* file = machine.disk().find("/data");
    ASSERT_NE(file, nullptr);
    ++(file->content.empty() ? found_undone : found_done);
  }
  EXPECT_GT(found_done, 10);
  EXPECT_GT(found_undone, 10);
}

TEST(SimFileOps, AFullDiskRefusesWhatGrows) {
  FaultPlan faults = FaultPlan::none();
  SimMachine machine(1, faults);
  SimReactor reactor(machine, "test");
  const Handle file = open_now(machine, reactor, "/data");
  machine.faults().set(Fault::disk_full, 1'000);
  EXPECT_EQ(open_now(machine, reactor, "/more"), -ENOSPC);
  Step step(FileOp::Kind::write);
  step.file = file;
  const std::string_view text = "x";
  step.from = text;
  reactor.start(step);
  machine.run_until([&] { return step.calls == 1; });
  EXPECT_EQ(step.result, -ENOSPC);
  EXPECT_EQ(machine.disk().find("/data")->content, "");
}

// --- all of it ---

/// A few of each operation under every fault there is; what happens, happens, but each ends once.
struct Turmoil {
  explicit Turmoil(std::uint64_t seed) : machine(seed, plan()), reactor(machine, "test") {
    machine.add_program("patient", patient_program);
    Listener listener;
    listener.listener = reactor.listen({"127.0.0.1:1"}).value();
    reactor.start(listener);
    std::deque<Connector> connectors;
    for (int i = 0; i < 5; ++i) reactor.start(connectors.emplace_back(Address{"127.0.0.1:1"}));
    reactor.cancel(connectors[4]);
    const Result<int> child = machine.start_child(reactor, "patient", {});
    ChildWait wait(child.has_value() ? *child : 1);
    reactor.start(wait);
    const Handle file = open_now(machine, reactor, "/data");
    const bool ended = machine.run_until([&] { return all_called(connectors) && wait.calls == 1; },
                                         hours(1)) == SimMachine::Outcome::reached;
    EXPECT_TRUE(ended) << "seed " << seed;
    if (file >= 0) {
      Step write(FileOp::Kind::write);
      write.file = file;
      const std::string text = pattern(1'000, seed);
      write.from = text;
      reactor.start(write);
      machine.run_until([&] { return write.calls == 1; });
    }
    machine.run_for(seconds(1));
    converse(connectors, listener);
    reactor.cancel(listener);
    machine.run_until([&] { return listener.over; });
  }

  static FaultPlan plan() {
    FaultPlan faults = FaultPlan::hostile();
    for (const Fault fault : {Fault::reset, Fault::half_close, Fault::disk_full,
                              Fault::no_descriptor, Fault::connect_failure}) {
      faults.set(fault, 100);
    }
    return faults;
  }
  static bool all_called(const std::deque<Connector>& connectors) {
    return std::all_of(connectors.begin(), connectors.end(),
                       [](const Connector& connector) { return connector.calls == 1; });
  }
  void converse(const std::deque<Connector>& connectors, const Listener& listener) {
    std::deque<Source> sources;
    std::deque<Sink> sinks;
    for (const Connector& connector : connectors) {
      if (connector.error == 0) sources.emplace_back(reactor, connector.connection).write("hello");
    }
    for (const Handle connection : listener.connections) {
      sinks.emplace_back(reactor, connection).way = ReadOp::Way::buffers;
      sinks.back().begin();
    }
    machine.run_for(seconds(1));
    for (Source& source : sources) reactor.cancel(source);
    for (Sink& sink : sinks) reactor.cancel(sink);
    machine.run_until([&] { return reactor.started_operations() == 1; });
    for (const Source& source : sources) EXPECT_EQ(source.ends, 1);
    for (const Sink& sink : sinks) EXPECT_EQ(sink.ends, 1);
  }

  SimMachine machine;
  SimReactor reactor;
};

TEST(SimMachine, EveryFaultThatOperationsMeetFiresAndEachRunRepeatsExactly) {
  FaultCounts fired;
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const Turmoil once(seed);
    const Turmoil again(seed);
    EXPECT_EQ(once.machine.trace_hash(), again.machine.trace_hash()) << "seed " << seed;
    hashes.insert(once.machine.trace_hash());
    fired.add(once.machine.fired());
  }
  EXPECT_EQ(hashes.size(), 100U);
  FaultPlan met = Turmoil::plan();
  // Those of processes and blocking jobs: sim_test.cc.
  for (const Fault fault : {Fault::offload_stall, Fault::agent_kill, Fault::orphan}) {
    met.set(fault, 0);
  }
  EXPECT_EQ(fired.never_fired(met), "") << fired.summary();
}

}  // namespace
}  // namespace berth::inline v0::io
