#include <berth/io/systemd.h>

#include "loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>

namespace berth::inline v0::io {
namespace {

class Given final : public Environment {
 public:
  Given(std::initializer_list<std::pair<const std::string, std::string>> values)
      : values_(values) {}
  std::optional<std::string> get(const std::string& name) const override {
    const auto found = values_.find(name);
    if (found == values_.end()) return std::nullopt;
    return found->second;
  }

 private:
  std::map<std::string, std::string> values_;
};

std::string summary(const Given& environment) {
  const auto sockets = inherited_sockets(environment, 77);
  if (!sockets.has_value()) return sockets.error().message;
  std::string text;
  for (const InheritedSocket& socket : *sockets) {
    text += std::to_string(socket.fd) + "=" + socket.name + " ";
  }
  return text;
}

/// A supervisor's end of NOTIFY_SOCKET.
class Supervisor {
 public:
  explicit Supervisor(std::string address) {
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un own = {};
    own.sun_family = AF_UNIX;
    std::memcpy(own.sun_path, address.data(), address.size());
    const bool abstract = address.front() == '@';
    if (abstract) own.sun_path[0] = '\0';
    const std::size_t size = offsetof(sockaddr_un, sun_path) + address.size() + (abstract ? 0 : 1);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&own), static_cast<socklen_t>(size)),
              0);
  }
  ~Supervisor() { ::close(fd_); }
  std::string heard() {
    std::array<char, 256> text = {};
    const ssize_t size = ::recv(fd_, text.data(), text.size(), 0);
    return size < 0 ? "nothing" : std::string(text.data(), static_cast<std::size_t>(size));
  }

 private:
  int fd_ = -1;
};

}  // namespace

TEST(InheritedSockets, AreThoseOfThisProcessByOrderAndName) {
  EXPECT_EQ(summary({}), "");
  EXPECT_EQ(summary({{"LISTEN_FDS", "2"}}), "");
  EXPECT_EQ(summary({{"LISTEN_PID", "78"}, {"LISTEN_FDS", "2"}}), "") << "meant for another";
  EXPECT_EQ(summary({{"LISTEN_PID", "77"}, {"LISTEN_FDS", "0"}}), "");
  EXPECT_EQ(summary({{"LISTEN_PID", "77"}, {"LISTEN_FDS", "2"}}), "3=unknown 4=unknown ");
  EXPECT_EQ(summary({{"LISTEN_PID", "77"}, {"LISTEN_FDS", "2"}, {"LISTEN_FDNAMES", "http:"}}),
            "3=http 4= ");
}

TEST(InheritedSockets, RefusesWhatContradictsItself) {
  EXPECT_EQ(summary({{"LISTEN_PID", "me"}, {"LISTEN_FDS", "1"}}), "LISTEN_PID=me");
  EXPECT_EQ(summary({{"LISTEN_PID", "77"}, {"LISTEN_FDS", "-1"}}), "LISTEN_FDS=-1");
  EXPECT_EQ(summary({{"LISTEN_PID", "77"}, {"LISTEN_FDS", "99999999999"}}),
            "LISTEN_FDS=99999999999");
  EXPECT_EQ(summary({{"LISTEN_PID", "77"}, {"LISTEN_FDS", ""}}), "LISTEN_FDS=");
  EXPECT_EQ(summary({{"LISTEN_PID", "77"}, {"LISTEN_FDS", "2"}, {"LISTEN_FDNAMES", "a:b:c"}}),
            "LISTEN_FDNAMES=a:b:c");
}

TEST(InheritedSockets, AListenerIsServedAndAnythingElseRefused) {
  Loop loop;
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  const Result<Handle> adopted = adopt_listener(loop.reactor(), {listener, "http"});
  ASSERT_TRUE(adopted.has_value()) << adopted.error().message;
  EXPECT_EQ(::fcntl(listener, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_EQ(::fcntl(listener, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  loop.reactor().close(*adopted);

  const int plain = ::socket(AF_INET, SOCK_STREAM, 0);
  const Result<Handle> refused = adopt_listener(loop.reactor(), {plain, "db"});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().message, "the inherited descriptor " + std::to_string(plain) +
                                         " (db) is no listening stream socket");
  ::close(plain);
  EXPECT_FALSE(adopt_listener(loop.reactor(), {plain, "closed"}).has_value());
}

TEST(ServiceNotifier, TellsASocketWithAPathAndAnAbstractOne) {
  std::string folder = "/tmp/berth-notify-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  for (const std::string& address :
       {folder + "/notify", "@berth-notify-test-" + std::to_string(::getpid())}) {
    Supervisor supervisor(address);
    ServiceNotifier notifier(Given{{"NOTIFY_SOCKET", address}});
    EXPECT_TRUE(notifier.ready("serving\nREADY=0").has_value());
    EXPECT_EQ(supervisor.heard(), "READY=1\nSTATUS=serving READY=0");
    EXPECT_TRUE(notifier.stopping().has_value());
    EXPECT_EQ(supervisor.heard(), "STOPPING=1");
    EXPECT_TRUE(notifier.status("12 sessions").has_value());
    EXPECT_EQ(supervisor.heard(), "STATUS=12 sessions");
    EXPECT_TRUE(notifier.alive().has_value());
    EXPECT_EQ(supervisor.heard(), "WATCHDOG=1");
  }
  std::filesystem::remove_all(folder);
}

TEST(ServiceNotifier, SaysNothingToNobodyAndWhyItCannot) {
  ServiceNotifier nobody(Given{});
  EXPECT_FALSE(nobody.wanted());
  EXPECT_TRUE(nobody.ready().has_value());
  EXPECT_EQ(ServiceNotifier("vsock:2:1234").ready().error().kind, ErrorKind::unsupported);
  EXPECT_EQ(ServiceNotifier("/" + std::string(200, 'x')).ready().error().kind,
            ErrorKind::unsupported);
  EXPECT_FALSE(ServiceNotifier("/nowhere/notify").ready().has_value());
}

TEST(WatchdogInterval, IsForThisProcessOnly) {
  using std::chrono::seconds;
  EXPECT_EQ(watchdog_interval(Given{{"WATCHDOG_USEC", "3000000"}}, 77), seconds(3));
  EXPECT_EQ(watchdog_interval(Given{{"WATCHDOG_USEC", "3000000"}, {"WATCHDOG_PID", "77"}}, 77),
            seconds(3));
  EXPECT_EQ(watchdog_interval(Given{{"WATCHDOG_USEC", "3000000"}, {"WATCHDOG_PID", "78"}}, 77),
            std::nullopt);
  for (const char* bad : {"", "0", "-1", "soon", "99999999999999999999"}) {
    EXPECT_EQ(watchdog_interval(Given{{"WATCHDOG_USEC", bad}}, 77), std::nullopt) << bad;
  }
  EXPECT_EQ(watchdog_interval(Given{}, 77), std::nullopt);
}

}  // namespace berth::inline v0::io
