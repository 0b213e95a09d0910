// Connecting, waiting for children and files on real descriptors, each in both ways: by the ring
// and by plain system calls.
#include "allocation_count.h"
#include "plain_rig.h"

#include <berth/io/net.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace berth::io {

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
    while (!happened() && std::chrono::steady_clock::now() < deadline) {
      Alarm tick([this] { reactor_->stop(); });
      reactor_->arm(tick, reactor_->clock().now() + std::chrono::milliseconds(1));
      reactor_->run();
      reactor_->disarm(tick);
    }
    return happened();
  }
  std::string path(const char* name) { return directory_ + "/" + name; }

  std::unique_ptr<FdReactor> reactor_;
  std::string directory_;
  std::size_t before_ = 0;
};

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
  for (int i = 0; i < 4; ++i) queued.push_back(reactor().connect(Address{address}).value());
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

}  // namespace berth::io
