// Connecting, waiting for children and files on real descriptors, each in both ways: by the ring
// and by plain system calls.
#include "allocation_count.h"
#include "plain_rig.h"

#include <berth/io/net.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

namespace {

class Dial final : public ConnectOp {
 public:
  explicit Dial(std::string text) { address.text = std::move(text); }
  void on_connected(Handle made, int error_value) override {
    connection = made;
    error = error_value;
    ++calls;
  }
  Handle connection = kNoHandle;
  int error = -1;
  int calls = 0;
};

class Wait final : public WaitOp {
 public:
  explicit Wait(int child) { pid = child; }
  void on_ended(int error_value) override {
    error = error_value;
    ++calls;
  }
  int error = -1;
  int calls = 0;
};

class Step final : public FileOp {
 public:
  void on_file(std::int64_t value) override {
    result = value;
    ++calls;
  }
  std::int64_t result = 0;
  int calls = 0;
};

/// A child that lives until its standard input ends.
class Forked {
 public:
  Forked() {
    EXPECT_EQ(::pipe2(ends_.data(), O_CLOEXEC), 0);
    pid = ::fork();
    if (pid == 0) {
      char byte = 0;
      ::close(ends_[1]);
      ::_exit(::read(ends_[0], &byte, 1) == 0 ? 7 : 8);
    }
    ::close(ends_[0]);
  }
  ~Forked() {
    end();
    reap();
  }
  void end() {
    if (ends_[1] >= 0) ::close(std::exchange(ends_[1], -1));
  }
  int reap() {
    int status = 0;
    if (pid > 0) ::waitpid(std::exchange(pid, -1), &status, 0);
    return status;
  }
  int pid = -1;

 private:
  std::array<int, 2> ends_ = {-1, -1};
};

struct Way {
  std::string name;
  std::function<std::unique_ptr<FdReactor>()> make;
};
void PrintTo(const Way& way, std::ostream* out) {
  *out << way.name;
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator open("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(open), end(open)));
}

}  // namespace

class FdOps : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    reactor_ = GetParam().make();
    directory_ = std::filesystem::temp_directory_path() / "berth-ops-XXXXXX";
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
    reactor_->poll();
    before_ = open_descriptors();
  }
  void TearDown() override {
    EXPECT_EQ(open_descriptors(), before_) << "descriptors leaked";
    reactor_.reset();
    std::filesystem::remove_all(directory_);
  }
  Reactor& reactor() { return *reactor_; }
  template <typename Fn>
  bool run_until(Fn happened) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!happened()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      Alarm tick([this] { reactor_->stop(); });
      reactor_->arm(tick, reactor_->clock().now() + std::chrono::milliseconds(1));
      reactor_->run();
      reactor_->disarm(tick);
    }
    return true;
  }
  std::int64_t run(Step& step) {
    const int before = step.calls;
    reactor().start(step);
    EXPECT_EQ(step.calls, before) << "called back inside of start()";
    EXPECT_TRUE(run_until([&] { return step.calls > before; }));
    return step.result;
  }
  std::string path(const char* name) { return directory_ + "/" + name; }

  std::unique_ptr<FdReactor> reactor_;
  std::string directory_;
  std::size_t before_ = 0;
};

/// One that need not stand yet.
Handle begin_connection(const std::string& address) {
  const net::SocketAddress target = net::parse(address).value();
  const Handle socket = net::open_socket(target.family());
  const int error = net::begin_connect(socket, target);
  EXPECT_TRUE(error == 0 || error == EINPROGRESS) << error;
  return socket;
}

INSTANTIATE_TEST_SUITE_P(Ways, FdOps,
                         testing::Values(Way{"ring", [] { return make_uring_reactor().value(); }},
                                         Way{"plain", [] { return make_plain_reactor(); }}),
                         [](const testing::TestParamInfo<Way>& info) { return info.param.name; });

TEST_P(FdOps, ConnectsOverTcpAndOverAUnixSocket) {
  for (const std::string& where : {std::string("127.0.0.1:0"), "unix:" + path("listener")}) {
    const Handle listener = reactor().listen(Address{where}).value();
    Dial dial(reactor().local_address(listener).value().text);
    reactor().start(dial);
    EXPECT_EQ(dial.calls, 0) << "called back inside of start()";
    ASSERT_TRUE(run_until([&] { return dial.calls == 1; })) << where;
    EXPECT_EQ(dial.error, 0) << where;
    ASSERT_GE(dial.connection, 0);
    EXPECT_EQ(::fcntl(dial.connection, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    const int accepted = ::accept(listener, nullptr, nullptr);
    EXPECT_GE(accepted, 0) << where;
    for (const Handle handle : {dial.connection, accepted, listener}) reactor().close(handle);
  }
}

TEST_P(FdOps, SaysWhyAConnectionWasNotMade) {
  const Handle listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  const std::string free_port = reactor().local_address(listener).value().text;
  reactor().close(listener);
  struct Case {
    std::string address;
    int error;
  };
  for (const Case& c : {Case{free_port, ECONNREFUSED}, Case{"nowhere", EINVAL},
                        Case{"unix:" + path("nobody"), ENOENT}}) {
    Dial dial(c.address);
    reactor().start(dial);
    ASSERT_TRUE(run_until([&] { return dial.calls == 1; })) << c.address;
    EXPECT_EQ(dial.error, c.error) << c.address;
    EXPECT_EQ(dial.connection, kNoHandle) << c.address;
  }
}

TEST_P(FdOps, GivesUpAConnectionThatIsCancelledAndClosesWhatItMade) {
  const Handle listener = net::open_socket(AF_INET);
  ASSERT_EQ(::listen(listener, 0), 0);  // on a port of the kernel's choice
  const std::string text = reactor().local_address(listener).value().text;
  const std::string address = "127.0.0.1" + text.substr(text.rfind(':'));
  std::vector<Handle> queued;  // fill the listener's queue: the next one is not answered
  for (int i = 0; i < 4; ++i) queued.push_back(begin_connection(address));
  Dial dial(address);
  reactor().start(dial);
  for (int i = 0; i < 100; ++i) reactor().poll();
  ASSERT_EQ(dial.calls, 0) << "the queue of the listener took them all";
  reactor().cancel(dial);
  reactor().cancel(dial);
  EXPECT_EQ(dial.calls, 0) << "called back inside of cancel()";
  ASSERT_TRUE(run_until([&] { return dial.calls == 1; }));
  EXPECT_EQ(dial.error, ECANCELED);
  EXPECT_EQ(dial.connection, kNoHandle);
  reactor().cancel(dial);  // over: of no effect
  for (const Handle handle : queued) reactor().close(handle);
  reactor().close(listener);
}

TEST_P(FdOps, WaitsForRoomInTheQueueOfAUnixListener) {
  const Handle listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path("narrow").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener, 0), 0);
  std::vector<std::unique_ptr<Dial>> dials;
  for (int i = 0; i < 4; ++i) {
    dials.push_back(std::make_unique<Dial>("unix:" + path("narrow")));
    reactor().start(*dials.back());
  }
  reactor().poll();
  ASSERT_EQ(dials.front()->calls, 1);
  ASSERT_EQ(dials.back()->calls, 0) << "the queue of the listener took them all";
  Dial& unwanted = *dials[2];
  reactor().cancel(unwanted);
  std::vector<int> accepted;
  ASSERT_TRUE(run_until([&] { return unwanted.calls == 1; }));
  EXPECT_EQ(unwanted.error, ECANCELED);
  ::fcntl(listener, F_SETFL, O_NONBLOCK);
  ASSERT_TRUE(run_until([&] {
    const int connection = ::accept(listener, nullptr, nullptr);
    if (connection >= 0) accepted.push_back(connection);
    return dials.back()->calls == 1 && accepted.size() == 3;
  }));
  EXPECT_EQ(dials.back()->error, 0);
  for (const int connection : accepted) ::close(connection);
  for (const auto& dial : dials) {
    if (dial->connection >= 0) reactor().close(dial->connection);
  }
  reactor().close(listener);
}

TEST_P(FdOps, TellsTheEndOfAChildAndLeavesItsStatus) {
  Forked child;
  Wait wait(child.pid);
  reactor().start(wait);
  reactor().poll();
  EXPECT_EQ(wait.calls, 0);
  child.end();
  ASSERT_TRUE(run_until([&] { return wait.calls == 1; }));
  EXPECT_EQ(wait.error, 0);
  EXPECT_EQ(WEXITSTATUS(child.reap()), 7);
}

TEST_P(FdOps, TellsAtOnceOfAChildThatHasEndedAndOfOneThatIsNotOurs) {
  Forked child;
  child.end();
  siginfo_t info = {};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOWAIT), 0);
  Wait ended(child.pid);
  Wait foreign(::getppid());
  Wait nobody(0);
  for (Wait* wait : {&ended, &foreign, &nobody}) reactor().start(*wait);
  EXPECT_EQ(ended.calls + foreign.calls + nobody.calls, 0) << "called back inside of start()";
  ASSERT_TRUE(run_until([&] { return ended.calls + foreign.calls + nobody.calls == 3; }));
  EXPECT_EQ(ended.error, 0);
  EXPECT_EQ(foreign.error, ECHILD);
  EXPECT_EQ(nobody.error, ECHILD);
}

TEST_P(FdOps, StopsWaitingForAChildThatLivesOn) {
  Forked child;
  Wait wait(child.pid);
  reactor().start(wait);
  reactor().poll();
  reactor().cancel(wait);
  reactor().cancel(wait);
  EXPECT_EQ(wait.calls, 0);
  ASSERT_TRUE(run_until([&] { return wait.calls == 1; }));
  EXPECT_EQ(wait.error, ECANCELED);
  reactor().start(wait);  // it can be waited for again
  child.end();
  ASSERT_TRUE(run_until([&] { return wait.calls == 2; }));
  EXPECT_EQ(wait.error, 0);
}

TEST_P(FdOps, NoticesThatAChildWasReapedBySomebodyElse) {
  Forked child;
  Wait wait(child.pid);
  reactor().start(wait);
  reactor().poll();
  child.end();
  child.reap();
  ASSERT_TRUE(run_until([&] { return wait.calls == 1; }));
  EXPECT_EQ(wait.error, ECHILD);
}

TEST_P(FdOps, WritesAndReadsAFileThatItMakesRenamesAndRemoves) {
  const std::string first = path("first");
  const std::string second = path("second");
  const std::string text = pattern(100'000);
  std::string back(200'000, '-');
  Step step;
  step.path = first.c_str();
  step.flags = O_RDWR | O_CREAT | O_EXCL;
  step.mode = 0640;
  const auto file = static_cast<Handle>(run(step));
  ASSERT_GE(file, 0);
  EXPECT_EQ(::fcntl(file, F_GETFD), FD_CLOEXEC);
  step.file = file;
  step.kind = FileOp::Kind::write;
  step.from = text;
  step.offset = 50;
  EXPECT_EQ(run(step), 100'000);
  step.kind = FileOp::Kind::fdatasync;
  EXPECT_EQ(run(step), 0);
  step.kind = FileOp::Kind::fsync;
  EXPECT_EQ(run(step), 0);
  step.kind = FileOp::Kind::read;
  step.into = back;
  EXPECT_EQ(run(step), 100'000);
  EXPECT_TRUE(back.substr(0, 100'000) == text);
  step.offset = 100'050;
  EXPECT_EQ(run(step), 0) << "the end of the file";
  step.kind = FileOp::Kind::close;
  EXPECT_EQ(run(step), 0);
  step.kind = FileOp::Kind::rename;
  step.new_path = second.c_str();
  EXPECT_EQ(run(step), 0);
  EXPECT_FALSE(std::filesystem::exists(first));
  EXPECT_EQ(std::filesystem::file_size(second), 100'050U);
  step.kind = FileOp::Kind::unlink;
  EXPECT_EQ(run(step), -ENOENT);
  step.path = second.c_str();
  EXPECT_EQ(run(step), 0);
  EXPECT_FALSE(std::filesystem::exists(second));
}

TEST_P(FdOps, SaysWhyAStepWithAFileFailed) {
  const std::string missing = path("missing");
  Step step;
  step.path = missing.c_str();
  EXPECT_EQ(run(step), -ENOENT);
  step.path = directory_.c_str();
  step.flags = O_WRONLY;
  EXPECT_EQ(run(step), -EISDIR);
  step.file = 987'654;
  step.kind = FileOp::Kind::fsync;
  EXPECT_EQ(run(step), -EBADF);
}

TEST_P(FdOps, TellsOfEachCancelledStepOnceWhetherItWasTaken) {
  for (int turns = 0; turns < 4; ++turns) {
    const std::string made = path("made");
    Step step;
    step.path = made.c_str();
    step.flags = O_CREAT | O_WRONLY;
    reactor().start(step);
    for (int i = 0; i < turns; ++i) reactor().poll();
    const int calls = step.calls;
    reactor().cancel(step);
    reactor().cancel(step);
    EXPECT_EQ(step.calls, calls) << "called back inside of cancel()";
    ASSERT_TRUE(run_until([&] { return step.calls == 1; }));
    for (int i = 0; i < 10; ++i) reactor().poll();
    EXPECT_EQ(step.calls, 1);
    EXPECT_EQ(std::filesystem::exists(made), step.result >= 0);
    if (step.result >= 0) {
      reactor().close(static_cast<Handle>(step.result));
      std::filesystem::remove(made);
    } else {
      EXPECT_EQ(step.result, -ECANCELED);
    }
  }
}

// Opening a FIFO blocks until somebody writes to it. (A ring opens it as if with O_NONBLOCK.)
class FileOpOnAThread : public FdOps {};
INSTANTIATE_TEST_SUITE_P(Ways, FileOpOnAThread,
                         testing::Values(Way{"plain", [] { return make_plain_reactor(); }}),
                         [](const auto& info) { return info.param.name; });

TEST_P(FileOpOnAThread, CancelsWhatHasNotBegunAndEndsWhatHasAsItEnds) {
  const std::string fifo = path("fifo");
  const std::string made = path("made");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  Step blocked;
  blocked.path = fifo.c_str();
  Step waiting;
  waiting.path = made.c_str();
  waiting.flags = O_CREAT | O_WRONLY;
  reactor().start(blocked);
  reactor().start(waiting);
  int writer = -1;  // opens only while the reader is about to
  ASSERT_TRUE(run_until([&] {
    writer = ::open(fifo.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return writer >= 0;
  }));
  ASSERT_TRUE(run_until([&] { return blocked.calls == 1 && waiting.calls == 1; }));
  ::close(writer);
  for (const Step* step : {&blocked, &waiting}) reactor().close(static_cast<Handle>(step->result));
  std::filesystem::remove(made);

  reactor().start(blocked);  // the thread is held up
  reactor().start(waiting);
  reactor().cancel(waiting);
  ASSERT_TRUE(run_until([&] { return waiting.calls == 2; }));
  EXPECT_EQ(waiting.result, -ECANCELED);
  EXPECT_FALSE(std::filesystem::exists(made));
  EXPECT_EQ(blocked.calls, 1);
  ASSERT_TRUE(run_until([&] {  // a writer finds a reader only when that step has begun
    writer = ::open(fifo.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return writer >= 0;
  }));
  reactor().cancel(blocked);
  ASSERT_TRUE(run_until([&] { return blocked.calls == 2; }));
  ASSERT_GE(blocked.result, 0);
  ::close(writer);
  reactor().close(static_cast<Handle>(blocked.result));
}

TEST_P(FdOps, TakesManyStepsAtOnce) {
  constexpr std::size_t kSteps = 200;
  const std::string name = path("many");
  Step step;
  step.path = name.c_str();
  step.flags = O_RDWR | O_CREAT;
  const auto file = static_cast<Handle>(run(step));
  ASSERT_GE(file, 0);
  std::vector<Step> steps(kSteps);
  for (std::size_t i = 0; i < kSteps; ++i) {
    steps[i].kind = FileOp::Kind::write;
    steps[i].file = file;
    steps[i].from = std::string_view("0123456789").substr(i % 10, 1);
    steps[i].offset = i;
    reactor().start(steps[i]);
  }
  ASSERT_TRUE(run_until([&] {
    return std::all_of(steps.begin(), steps.end(), [](const Step& s) { return s.calls == 1; });
  }));
  std::string back(kSteps + 1, '-');
  step.kind = FileOp::Kind::read;
  step.file = file;
  step.into = back;
  EXPECT_EQ(run(step), static_cast<std::int64_t>(kSteps));
  for (std::size_t i = 0; i < kSteps; ++i) ASSERT_EQ(back[i], "0123456789"[i % 10]) << i;
  reactor().close(file);
}

TEST_P(FdOps, AllocatesNothingInSteadyState) {
  if (!allocation_count().has_value()) GTEST_SKIP() << "a sanitizer counts for itself";
  const Handle listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  Dial dial(reactor().local_address(listener).value().text);
  Forked child;
  Wait wait(child.pid);
  const std::string name = path("steady");
  Step step;
  step.path = name.c_str();
  step.flags = O_RDWR | O_CREAT;
  const auto file = static_cast<Handle>(run(step));
  step.file = file;
  step.kind = FileOp::Kind::write;
  step.from = name;
  const auto round = [&] {
    const int done = step.calls + dial.calls + wait.calls;
    reactor().start(step);
    reactor().start(dial);
    reactor().start(wait);
    reactor().poll();
    reactor().cancel(wait);
    for (int i = 0; i < 1'000'000 && step.calls + dial.calls + wait.calls < done + 3; ++i) {
      reactor().poll();
    }
    ::close(::accept(listener, nullptr, nullptr));
    reactor().close(dial.connection);
  };
  round();
  const std::size_t before = allocation_count().value();
  for (int i = 0; i < 20; ++i) round();
  EXPECT_EQ(allocation_count().value(), before);
  EXPECT_EQ(step.calls, 22);
  EXPECT_EQ(dial.calls, 21);
  EXPECT_EQ(wait.calls, 21);
  for (const Handle handle : {file, listener}) reactor().close(handle);
}

TEST(WaitOpOnARing, CostsNoDescriptor) {
  const std::unique_ptr<FdReactor> reactor = make_uring_reactor().value();
  Forked child;
  reactor->poll();
  const std::size_t before = open_descriptors();
  Wait wait(child.pid);
  reactor->start(wait);
  reactor->poll();
  EXPECT_EQ(open_descriptors(), before);
  reactor->cancel(wait);
  for (int i = 0; i < 100'000 && wait.calls == 0; ++i) reactor->poll();
  EXPECT_EQ(wait.error, ECANCELED);
}

}  // namespace berth::inline v0::io
