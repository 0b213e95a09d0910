#include <berth/core/scope.h>
#include <berth/io/awaitables.h>
#include <berth/io/dial.h>
#include <berth/io/sim_platform.h>
#include <berth/io/stream.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>
#include <vector>

namespace berth::inline v0::io {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// `size` bytes that differ at each position.
std::string numbered_bytes(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; text.size() < size; ++i) text += std::to_string(i) + ' ';
  text.resize(size);
  return text;
}

/// Reads until the end; false if the end was an error.
Task<bool> read_all(ByteStream& stream, std::string& to) {
  for (;;) {
    Result<std::string_view> bytes = co_await stream.read();
    if (!bytes.has_value()) co_return false;
    if (bytes->empty()) co_return true;
    to.append(*bytes);
  }
}

/// Sends back what comes, until the end of the stream.
Task<bool> echo(ByteStream& stream) {
  for (;;) {
    Result<std::string_view> bytes = co_await stream.read();
    if (!bytes.has_value()) co_return false;
    if (bytes->empty()) co_return true;
    Result<void> sent = co_await stream.write(*bytes);
    if (!sent.has_value()) co_return false;
  }
}

Task<void> echo_connection(Reactor& reactor, Handle handle) {
  std::unique_ptr<ByteStream> stream = make_stream(reactor, handle);
  co_await echo(*stream);
  co_await stream->close();
}

/// Accepts and echoes until it is cancelled.
class EchoServer final : private AcceptOp {
 public:
  explicit EchoServer(Reactor& reactor) : reactor_(reactor), scope_(reactor) {
    listener = reactor.listen({"127.0.0.1:8420"}).value();
    reactor_.start(*this);
  }
  ~EchoServer() {
    if (listener != kNoHandle) reactor_.close(listener);
  }
  void stop() { reactor_.cancel(*this); }
  bool ended() const { return !started() && scope_.size() == 0; }
  int accepted = 0;

 private:
  void on_accept(Handle connection) override {
    ++accepted;
    scope_.spawn(echo_connection(reactor_, connection));
  }
  void on_accept_end(int) override {}

  Reactor& reactor_;
  Scope scope_;
};

struct ClientView {
  std::string received;
  bool sent_all = false;
  bool clean_end = false;
  bool ended = false;
};

Task<void> send_text(ByteStream& stream, std::string_view text, ClientView& view) {
  Result<void> sent = co_await stream.write(text);
  view.sent_all = sent.has_value();
  stream.shutdown_write();
}

Task<void> client(Reactor& reactor, std::string_view text, ClientView& view) {
  Result<Handle> connection = co_await dial(&reactor, {}, "127.0.0.1:8420");
  while (!connection.has_value()) connection = co_await dial(&reactor, {}, "127.0.0.1:8420");
  std::unique_ptr<ByteStream> stream = make_stream(reactor, *connection);
  Scope scope(reactor);
  scope.spawn(send_text(*stream, text, view));
  view.clean_end = co_await read_all(*stream, view.received);
  co_await scope.join();
  co_await stream->close();
  view.ended = true;
}

struct EchoRun {
  ClientView view;
  std::uint64_t hash = 0;
  FaultCounts fired;
};

EchoRun run_echo(std::uint64_t seed, FaultPlan faults, const std::string& text) {
  EchoRun run;
  SimMachine machine(seed, faults);
  SimReactor server_side(machine, "server");
  SimReactor client_side(machine, "client");
  EchoServer server(server_side);
  machine.run_task(client_side, client(client_side, text, run.view));
  server.stop();
  EXPECT_EQ(machine.run_until([&] { return server.ended(); }), SimMachine::Outcome::reached);
  EXPECT_EQ(client_side.open_handles(), 0U);
  EXPECT_EQ(server_side.open_handles(), 1U);
  run.hash = machine.trace_hash();
  run.fired = machine.fired();
  return run;
}

Task<void> sleep_until(Reactor& reactor, TimePoint when, std::vector<int>& order, int name) {
  co_await Sleep(reactor, when);
  order.push_back(name);
}

TEST(SimMachine, MovesItsClockOnlyWhenNothingCanRun) {
  SimMachine machine(1);
  SimReactor reactor(machine, "test");
  const TimePoint start = machine.now();
  const WallTime wall = machine.clock().wall();
  std::vector<int> order;
  Scope scope(reactor);
  scope.spawn(sleep_until(reactor, start + hours(2), order, 2));
  scope.spawn(sleep_until(reactor, start + hours(1), order, 1));
  EXPECT_EQ(machine.run_until([&] { return order.size() == 1; }), SimMachine::Outcome::reached);
  EXPECT_EQ(machine.now(), start + hours(1));
  EXPECT_EQ(machine.clock().wall(), wall + hours(1));
  EXPECT_EQ(machine.run_until([&] { return scope.size() == 0; }), SimMachine::Outcome::reached);
  EXPECT_EQ(machine.now(), start + hours(2));
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(SimMachine, SaysWhenNothingWillEverHappen) {
  SimMachine machine(1);
  SimReactor reactor(machine, "test");
  EXPECT_FALSE(machine.step());
  EXPECT_EQ(machine.run_until([] { return false; }), SimMachine::Outcome::stuck);
}

TEST(SimMachine, StopsAtTheLimitOfVirtualTime) {
  SimMachine machine(1);
  SimReactor reactor(machine, "test");
  std::vector<int> order;
  Scope scope(reactor);
  const TimePoint start = machine.now();
  scope.spawn(sleep_until(reactor, start + hours(2), order, 1));
  EXPECT_EQ(machine.run_until([] { return false; }, seconds(5)), SimMachine::Outcome::timed_out);
  EXPECT_EQ(machine.now(), start + seconds(5));
  machine.run_for(hours(2));
  EXPECT_EQ(scope.size(), 0U);
  EXPECT_EQ(machine.now(), start + hours(2) + seconds(5));
}

TEST(SimMachine, RepeatsARunExactlyAndOtherSeedsDiffer) {
  const std::string text = numbered_bytes(20'000);
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const EchoRun once = run_echo(seed, FaultPlan::gentle(), text);
    const EchoRun again = run_echo(seed, FaultPlan::gentle(), text);
    EXPECT_EQ(once.hash, again.hash) << "seed " << seed;
    hashes.insert(once.hash);
  }
  EXPECT_EQ(hashes.size(), 50U);
}

TEST(SimReactor, CarriesEveryByteInOrderWhateverTheSeed) {
  const std::string text = numbered_bytes(150'000);
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const EchoRun run = run_echo(seed, FaultPlan::gentle(), text);
    EXPECT_TRUE(run.view.sent_all && run.view.clean_end) << "seed " << seed;
    EXPECT_TRUE(run.view.received == text) << "seed " << seed;
  }
}

TEST(SimReactor, ResetsEndBothSidesAndTheClientHasAPrefix) {
  const std::string text = numbered_bytes(50'000);
  FaultPlan faults = FaultPlan::gentle();
  faults.set(Fault::reset, 50);
  int broken = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const EchoRun run = run_echo(seed, faults, text);
    EXPECT_EQ(text.compare(0, run.view.received.size(), run.view.received), 0) << "seed " << seed;
    if (!run.view.clean_end) ++broken;
  }
  EXPECT_GT(broken, 20);
}

/// Keeps the span that it was given, as no callee may.
struct Keeper final : ReadOp {
  void on_read(std::span<char> bytes) override {
    seen.append(bytes.data(), bytes.size());
    kept = bytes.data();
  }
  void on_read_end(int error) override {
    ended = true;
    end_error = error;
  }
  std::string seen;
  const char* kept = nullptr;
  bool ended = false;
  int end_error = -1;
};

struct Writer final : WriteOp {
  explicit Writer(std::string text) : bytes(std::move(text)) {
    part = iovec{bytes.data(), bytes.size()};
    parts = std::span(&part, 1);
  }
  void on_written(int error) override {
    ended = true;
    end_error = error;
  }
  std::string bytes;
  iovec part;
  bool ended = false;
  int end_error = -1;
};

#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
TEST(SimReactor, ScribblesOverTheBytesOfAReadAfterItsCallback) {
  SimMachine machine(3, FaultPlan::none());
  SimReactor reactor(machine, "test");
  const std::pair<Handle, Handle> ends = machine.make_pipe();
  Keeper reading;
  reading.handle = reactor.adopt(ends.first).value();
  Writer writing("hello");
  writing.handle = reactor.adopt(ends.second).value();
  reactor.start(reading);
  reactor.start(writing);
  machine.run_until([&] { return !reading.seen.empty(); });
  EXPECT_EQ(reading.seen, "hello");
  EXPECT_NE(*reading.kept, 'h');
  reactor.cancel(reading);
  machine.run_until([&] { return reading.ended && writing.ended; });
}
#endif

TEST(SimReactor, CancelRacesBothWays) {
  int data = 0;
  int cancelled_empty = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SimMachine machine(seed);
    SimReactor reactor(machine, "test");
    const std::pair<Handle, Handle> ends = machine.make_pipe();
    Keeper reading;
    reading.handle = reactor.adopt(ends.first).value();
    Writer writing("hello");
    writing.handle = reactor.adopt(ends.second).value();
    reactor.start(writing);
    machine.run_until([&] { return writing.ended; });
    reactor.start(reading);
    reactor.cancel(reading);
    machine.run_until([&] { return reading.ended; });
    EXPECT_EQ(reading.end_error, ECANCELED);
    (reading.seen.empty() ? cancelled_empty : data) += 1;
  }
  EXPECT_GT(data, 10);
  EXPECT_GT(cancelled_empty, 10);
}

TEST(SimReactor, GivesNothingToAPausedReadUntilItIsResumed) {
  SimMachine machine(7);
  SimReactor reactor(machine, "test");
  const std::pair<Handle, Handle> ends = machine.make_pipe();
  Keeper reading;
  reading.handle = reactor.adopt(ends.first).value();
  Writer writing("hello");
  writing.handle = reactor.adopt(ends.second).value();
  reactor.start(reading);
  reactor.pause(reading);
  reactor.start(writing);
  machine.run_for(seconds(1));
  EXPECT_EQ(reading.seen, "");
  reactor.resume(reading);
  machine.run_until([&] { return reading.seen == "hello"; });
  reactor.close(writing.handle);
  EXPECT_EQ(machine.run_until([&] { return reading.ended; }), SimMachine::Outcome::reached);
  EXPECT_EQ(reading.end_error, 0);
}

TEST(SimReactor, RefusesAnAddressThatIsTakenAndNumbersPortZero) {
  SimMachine machine(1);
  SimReactor reactor(machine, "test");
  const Handle first = reactor.listen({"127.0.0.1:0"}).value();
  const Address address = reactor.local_address(first).value();
  EXPECT_NE(address.text, "127.0.0.1:0");
  EXPECT_FALSE(reactor.listen(address).has_value());
  reactor.close(first);
  EXPECT_TRUE(reactor.listen(address).has_value());
}

TEST(SimReactor, EndsAWriteToAPipeWithoutReaderByEpipe) {
  SimMachine machine(1);
  SimReactor reactor(machine, "test");
  const std::pair<Handle, Handle> ends = machine.make_pipe();
  const Handle reader = reactor.adopt(ends.first).value();
  Writer writing(numbered_bytes(200'000));
  writing.handle = reactor.adopt(ends.second).value();
  reactor.start(writing);
  machine.run_for(seconds(1));
  EXPECT_FALSE(writing.ended);
  EXPECT_GT(writing.written, 0U);
  EXPECT_LE(writing.written, kSimPipeBytes);
  reactor.close(reader);
  machine.run_until([&] { return writing.ended; });
  EXPECT_EQ(writing.end_error, EPIPE);
}

struct Job final : OffloadJob {
  Job(std::vector<int>& worked_in, std::vector<int>& done_in, int number)
      : worked(worked_in), done(done_in), name(number) {}
  void work() override { worked.push_back(name); }
  void on_done() override { done.push_back(name); }
  std::vector<int>& worked;
  std::vector<int>& done;
  int name;
};

TEST(SimOffload, RunsTheJobsOfALaneInOrderAndTakesVirtualTime) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SimMachine machine(seed);
    SimPlatform platform(machine, "server");
    std::vector<int> worked;
    std::vector<int> done;
    Job first(worked, done, 1);
    Job second(worked, done, 2);
    Job third(worked, done, 3);
    for (Job* job : {&first, &second, &third}) {
      ASSERT_TRUE(platform.offload().submit(Lane::store, platform.reactor(), *job).has_value());
    }
    EXPECT_TRUE(worked.empty());
    machine.run_until([&] { return done.size() == 3; });
    EXPECT_EQ(worked, (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(done, (std::vector<int>{1, 2, 3}));
  }
}

/// A program that echoes its input and exits with 7, or with 9 if it was killed.
Task<int> echo_program(SimProcess& process) {
  std::unique_ptr<ByteStream> stream =
      make_duplex_stream(process.reactor(), process.stdin_handle, process.stdout_handle);
  const bool clean = co_await echo(*stream);
  co_await stream->close();
  co_return clean ? 7 : 9;
}

/// A program that never does anything, but ends when it is terminated.
Task<int> patient_program(SimProcess& process) {
  StopSource either(process.stop_token());
  struct Relay final : StopListener {
    void on_stop() override { to->request_stop(); }
    StopSource* to = nullptr;
  } relay;
  relay.to = &either;
  process.handle_terminate().listen(relay);
  co_await Sleep(process.reactor(), TimePoint::max(), either.token());
  co_return 3;
}

struct Exit final : ProcessListener {
  void on_started() override {
    EXPECT_FALSE(started || error || status);
    started = true;
  }
  void on_start_failed(Error why) override {
    EXPECT_FALSE(started || error || status);
    error = std::move(why);
  }
  void on_stderr(std::string_view bytes) override {
    EXPECT_TRUE(started && !status) << "the end is the last word";
    errors += bytes;
  }
  void on_exit(ExitStatus ended) override {
    EXPECT_TRUE(started && !status);
    status = ended;
  }
  bool started = false;
  std::optional<Error> error;
  std::string errors;
  std::optional<ExitStatus> status;
};

LaunchSpec spec_of(const char* command) {
  LaunchSpec spec;
  spec.command = command;
  spec.working_directory = "/";
  spec.tag = "berth-test-1";
  return spec;
}

Task<void> converse(Reactor& reactor, Process& process, std::string_view text, std::string& heard) {
  std::unique_ptr<ByteStream> in = make_stream(reactor, process.stdin_handle);
  std::unique_ptr<ByteStream> out = make_stream(reactor, process.stdout_handle);
  Result<void> sent = co_await in->write(text);
  co_await in->close();
  co_await read_all(*out, heard);
  co_await out->close();
}

TEST(SimProcessHost, RunsAProgramThatTalksAndExits) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SimMachine machine(seed);
    machine.add_program("echo", echo_program);
    SimPlatform platform(machine, "server");
    Exit exit;
    std::unique_ptr<Process> process =
        platform.processes().spawn(platform.reactor(), spec_of("/usr/bin/echo"), exit).value();
    std::string heard;
    machine.run_task(platform.reactor(),
                     converse(platform.reactor(), *process, "hello agent", heard));
    EXPECT_EQ(heard, "hello agent");
    machine.run_until([&] { return exit.status.has_value(); });
    EXPECT_EQ(exit.status->kind, ExitStatus::Kind::exited);
    EXPECT_EQ(exit.status->value, 7);
    EXPECT_EQ(platform.reactor().open_handles(), 0U);
    EXPECT_EQ(machine.live_processes(), 0U);
  }
}

void close_pipes(Reactor& reactor, Process& process) {
  reactor.close(process.stdin_handle);
  reactor.close(process.stdout_handle);
}

/// More than a small pipe holds, and then the end at once.
constexpr std::size_t kComplaint = 3000;
Task<int> complaining_program(SimProcess& process) {
  std::unique_ptr<ByteStream> errors = make_stream(process.reactor(), process.stderr_handle);
  const std::string text(kComplaint, '!');
  const Result<void> said = co_await errors->write(text);
  co_await errors->close();
  co_return said.has_value() ? 6 : 9;
}

TEST(SimProcessHost, TellsAllOfStderrBeforeTheEnd) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SimMachine machine(seed);
    machine.add_program("complain", complaining_program);
    SimPlatform platform(machine, "server");
    Exit exit;
    std::unique_ptr<Process> process =
        platform.processes().spawn(platform.reactor(), spec_of("complain"), exit).value();
    machine.run_until([&] { return exit.status.has_value(); });
    EXPECT_EQ(exit.status->value, 6) << seed;
    EXPECT_EQ(exit.errors, std::string(kComplaint, '!')) << seed;
    close_pipes(platform.reactor(), *process);
    EXPECT_EQ(platform.reactor().open_handles(), 0U);
  }
}

TEST(SimProcessHost, KillEndsAProgramThatWaits) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SimMachine machine(seed);
    machine.add_program("echo", echo_program);
    SimPlatform platform(machine, "server");
    Exit exit;
    std::unique_ptr<Process> process =
        platform.processes().spawn(platform.reactor(), spec_of("echo"), exit).value();
    machine.run_for(milliseconds(machine.random().below(300)));
    process->kill_tree();
    machine.run_until([&] { return exit.status.has_value() && machine.live_processes() == 0; });
    EXPECT_EQ(exit.status->kind, ExitStatus::Kind::killed);
    EXPECT_EQ(exit.status->value, 9);
    close_pipes(platform.reactor(), *process);
  }
}

TEST(SimProcessHost, LetsAProgramHandleTermination) {
  SimMachine machine(5);
  machine.add_program("patient", patient_program);
  SimPlatform platform(machine, "server");
  Exit exit;
  std::unique_ptr<Process> process =
      platform.processes().spawn(platform.reactor(), spec_of("patient"), exit).value();
  machine.run_for(seconds(1));
  process->signal(15);
  machine.run_until([&] { return exit.status.has_value(); });
  EXPECT_EQ(exit.status->kind, ExitStatus::Kind::exited);
  EXPECT_EQ(exit.status->value, 3);
  close_pipes(platform.reactor(), *process);
}

/// A program that starts another in its tree, and ends by _exit(5) in the middle of what it does.
Task<int> parent_program(SimProcess& process) {
  process.spawn_child("patient", {});
  co_await Sleep(process.reactor(), process.clock().now() + seconds(3), process.stop_token());
  process.exit(5);
  co_await Sleep(process.reactor(), TimePoint::max(), process.stop_token());
  co_return 0;
}

TEST(SimProcessHost, EndsTheWholeTreeWithItsRoot) {
  for (const bool kill : {false, true}) {
    SimMachine machine(5);
    machine.add_program("patient", patient_program);
    machine.add_program("parent", parent_program);
    SimPlatform platform(machine, "server");
    Exit exit;
    std::unique_ptr<Process> process =
        platform.processes().spawn(platform.reactor(), spec_of("parent"), exit).value();
    machine.run_for(seconds(2));
    EXPECT_EQ(machine.live_processes(), 2U);
    if (kill) process->kill_tree();
    machine.run_for(seconds(2));
    EXPECT_EQ(machine.live_processes(), 0U);
    ASSERT_TRUE(exit.status.has_value());
    EXPECT_EQ(exit.status->kind, kill ? ExitStatus::Kind::killed : ExitStatus::Kind::exited);
    EXPECT_EQ(exit.status->value, kill ? 9 : 5);
    close_pipes(platform.reactor(), *process);
  }
}

TEST(SimProcessHost, DroppingAProcessKillsItAndTellsNobody) {
  SimMachine machine(5);
  machine.add_program("patient", patient_program);
  SimPlatform platform(machine, "server");
  Exit exit;
  std::unique_ptr<Process> process =
      platform.processes().spawn(platform.reactor(), spec_of("patient"), exit).value();
  machine.run_for(seconds(1));
  EXPECT_EQ(machine.live_processes(), 1U);
  close_pipes(platform.reactor(), *process);
  process.reset();
  machine.run_for(seconds(1));
  EXPECT_EQ(machine.live_processes(), 0U);
  EXPECT_FALSE(exit.status.has_value());
}

TEST(SimProcessHost, FailsToStartWhatIsNotThere) {
  SimMachine machine(5);
  machine.add_program("patient", patient_program);
  SimPlatform platform(machine, "server");
  LaunchSpec homeless = spec_of("patient");
  homeless.working_directory = "/missing";
  for (const LaunchSpec& spec : {spec_of("nothing"), homeless}) {
    Exit exit;
    std::unique_ptr<Process> process =
        platform.processes().spawn(platform.reactor(), spec, exit).value();
    EXPECT_FALSE(exit.error.has_value());
    machine.run_until([&] { return exit.error.has_value(); });
    EXPECT_EQ(exit.error->kind, ErrorKind::not_found);
    EXPECT_EQ(process->id(), ProcessId());
    process->kill_tree();
    close_pipes(platform.reactor(), *process);
  }
  machine.run_for(seconds(1));
  EXPECT_EQ(platform.reactor().open_handles(), 0U);
}

TEST(SimProcessHost, TellsTheStartBeforeTheEndAndNeverWithinTheCall) {
  int killed_unstarted = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SimMachine machine(seed);
    machine.add_program("echo", echo_program);
    SimPlatform platform(machine, "server");
    Exit exit;
    std::unique_ptr<Process> process =
        platform.processes().spawn(platform.reactor(), spec_of("echo"), exit).value();
    EXPECT_FALSE(exit.started);
    EXPECT_EQ(process->id(), ProcessId());
    process->kill_tree();
    machine.run_until([&] { return exit.started || exit.status.has_value(); });
    EXPECT_NE(process->id(), ProcessId());
    if (machine.live_processes() == 0) ++killed_unstarted;
    machine.run_until([&] { return exit.status.has_value(); });  // Exit says if it was out of turn
    close_pipes(platform.reactor(), *process);
  }
  EXPECT_GT(killed_unstarted, 0);
  EXPECT_LT(killed_unstarted, 50);
}

TEST(SimFiles, KeepsTheDiskAcrossACrashAndRefusesTheDead) {
  SimMachine machine(1);
  SimPlatform first(machine, "first");
  ASSERT_TRUE(first.files().make_directories("/var/berth", 0700).has_value());
  ASSERT_TRUE(first.files().write_atomic("/var/berth/token", "secret", 0600).has_value());
  ASSERT_TRUE(first.files().lock_exclusively("/var/berth/lock").has_value());
  SimPlatform second(machine, "second");
  EXPECT_EQ(second.files().lock_exclusively("/var/berth/lock").error().kind, ErrorKind::conflict);
  first.crash();
  EXPECT_FALSE(first.files().write_atomic("/var/berth/token", "late", 0600).has_value());
  EXPECT_TRUE(second.files().lock_exclusively("/var/berth/lock").has_value());
  EXPECT_EQ(second.files().read("/var/berth/./token", 100).value(), "secret");
  EXPECT_EQ(second.files().read("/var/berth/token", 3).error().kind, ErrorKind::invalid);
  EXPECT_EQ(second.files().canonical("/var/x/../berth//token").value(), "/var/berth/token");
}

TEST(SimPlatform, AnswersNamesVariablesAndUsage) {
  SimMachine machine(1);
  machine.add_host("agents.example:80", {Address{"127.0.0.1:81"}});
  machine.add_program("patient", patient_program);
  SimPlatform platform(machine, "server");
  platform.set_environment("HOME", "/home/x");
  EXPECT_EQ(platform.environment().get("HOME").value(), "/home/x");
  EXPECT_FALSE(platform.environment().get("PATH").has_value());
  EXPECT_EQ(platform.resolver().resolve("agents.example:80").value()[0].text, "127.0.0.1:81");
  EXPECT_EQ(platform.resolver().resolve("localhost:7").value()[0].text, "127.0.0.1:7");
  EXPECT_EQ(platform.resolver().resolve("nowhere:7").error().kind, ErrorKind::not_found);
  Exit exit;
  std::unique_ptr<Process> process =
      platform.processes().spawn(platform.reactor(), spec_of("patient"), exit).value();
  machine.run_until([&] { return exit.started; });
  EXPECT_TRUE(platform.process_table().usage(process->id()).has_value());
  process->kill_tree();
  machine.run_until([&] { return exit.status.has_value(); });
  EXPECT_EQ(platform.process_table().usage(process->id()).error().kind, ErrorKind::not_found);
  close_pipes(platform.reactor(), *process);
}

TEST(SimPlatform, CrashCutsTheClientOffAndTheNextLifeServesTheSameAddress) {
  const std::string text = numbered_bytes(100'000);
  int cut_off = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SimMachine machine(seed);
    SimReactor client_side(machine, "client");
    ClientView before;
    ClientView after;
    Scope clients(client_side);
    {
      SimPlatform platform(machine, "server");
      EchoServer server(platform.reactor());
      clients.spawn(client(client_side, text, before));
      platform.crash_soon(60, 1);
      machine.run_until([&] { return platform.crashed() || before.ended; });
      platform.crash();
      EXPECT_EQ(machine.run_until([&] { return server.ended(); }), SimMachine::Outcome::reached);
    }
    EXPECT_EQ(machine.run_until([&] { return before.ended; }), SimMachine::Outcome::reached);
    if (before.received.size() < text.size()) ++cut_off;
    EXPECT_EQ(text.compare(0, before.received.size(), before.received), 0) << "seed " << seed;
    SimPlatform platform(machine, "server again");
    EchoServer server(platform.reactor());
    machine.run_task(client_side, client(client_side, text, after));
    EXPECT_TRUE(after.received == text) << "seed " << seed;
    server.stop();
    machine.run_until([&] { return server.ended(); });
  }
  EXPECT_GT(cut_off, 40);
}

TEST(SimPlatform, CrashLeavesOrphansThatTheNextLifeReaps) {
  FaultPlan faults = FaultPlan::none();
  faults.set(Fault::orphan, 500);
  int orphans = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SimMachine machine(seed, faults);
    machine.add_program("patient", patient_program);
    {
      SimPlatform platform(machine, "server");
      Exit exit;
      std::unique_ptr<Process> process =
          platform.processes().spawn(platform.reactor(), spec_of("patient"), exit).value();
      machine.run_for(seconds(1));
      platform.crash();
      machine.run_until([&] { return exit.status.has_value(); }, seconds(1));
      EXPECT_EQ(exit.status->kind, ExitStatus::Kind::killed);
      close_pipes(platform.reactor(), *process);
    }
    machine.run_for(seconds(5));
    SimPlatform platform(machine, "server again");
    EXPECT_EQ(platform.processes().reap_orphans("other-").value(), 0);
    orphans += platform.processes().reap_orphans("berth-test-").value();
    machine.run_for(seconds(1));
    EXPECT_EQ(machine.live_processes(), 0U);
  }
  EXPECT_GT(orphans, 5);
  EXPECT_LT(orphans, 35);
}

/// Starts an echo program under the plan, talks to it, ends it; adds what went wrong to `fired`.
void run_process_scenario(std::uint64_t seed, FaultCounts& fired) {
  FaultPlan faults = FaultPlan::hostile();
  faults.set(Fault::offload_stall, 200).set(Fault::reset, 50);
  SimMachine machine(seed, faults);
  machine.add_program("echo", echo_program);
  machine.add_program("patient", patient_program);
  {
    SimPlatform platform(machine, "server");
    Exit exit;
    std::vector<int> order;
    Job job(order, order, 1);
    ASSERT_TRUE(platform.offload().submit(Lane::git, platform.reactor(), job).has_value());
    auto spawned = platform.processes().spawn(platform.reactor(), spec_of("echo"), exit);
    if (spawned.has_value()) {
      std::string heard;
      machine.run_task(platform.reactor(),
                       converse(platform.reactor(), **spawned, numbered_bytes(10'000), heard));
    }
    Exit exit_of_patient;
    auto patient =
        platform.processes().spawn(platform.reactor(), spec_of("patient"), exit_of_patient);
    platform.crash();
    if (spawned.has_value()) machine.run_until([&] { return exit.status.has_value(); });
    if (patient.has_value()) {
      machine.run_until([&] { return exit_of_patient.status.has_value(); });
      close_pipes(platform.reactor(), **patient);
    }
    machine.run_until([&] { return order.size() == 2; });
    EXPECT_EQ(order.size(), 2U);
  }
  fired.add(machine.fired());
}

TEST(SimMachine, EveryFaultOfItsPlanThatProcessesAndStreamsMeetFires) {
  FaultCounts fired;
  FaultPlan faults = FaultPlan::hostile();
  faults.set(Fault::reset, 20);
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    run_process_scenario(seed, fired);
    fired.add(run_echo(seed, faults, numbered_bytes(10'000)).fired);
  }
  // Those of the other operations: sim_ops_test.cc.
  faults.set(Fault::no_buffers, 0).set(Fault::connect_failure, 0);
  faults.set(Fault::no_descriptor, 0).set(Fault::disk_full, 0);
  EXPECT_EQ(fired.never_fired(faults), "");
}

}  // namespace
}  // namespace berth::inline v0::io
