#include <berth/io/net.h>

#include "uring_rig.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <filesystem>

namespace berth::inline v0::io {

namespace {

class NetTest : public testing::Test {
 protected:
  void SetUp() override {
    std::array<char, 32> path = {"/tmp/berth-net-XXXXXX"};
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    folder_ = path.data();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  Address unix_address() const { return Address{"unix:" + folder_ + "/socket"}; }

  std::string folder_;
};

/// A connection that stands or is begun; kNoHandle when it was refused.
Handle connection_to(const Address& address) {
  const net::SocketAddress target = net::parse(address.text).value();
  const Handle socket = net::open_socket(target.family());
  const int error = net::begin_connect(socket, target);
  if (error == 0 || error == EINPROGRESS) return socket;
  EXPECT_EQ(error, ECONNREFUSED);
  ::close(socket);
  return kNoHandle;
}

}  // namespace

TEST_F(NetTest, WritesAddressesAsItReadsThem) {
  for (const char* text : {"127.0.0.1:8420", "0.0.0.0:0", "[::1]:65535", "[2001:db8::1]:80",
                           "unix:/run/berth/socket"}) {
    Result<net::SocketAddress> address = net::parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(net::to_text(*address), text);
  }
  EXPECT_EQ(net::to_text(net::parse("localhost:1").value()), "127.0.0.1:1");
}

TEST_F(NetTest, TellsThePublicFromWhatIsOfThisHouse) {
  for (const char* text : {"93.184.216.34:443", "172.32.0.1:1", "100.128.0.1:1", "11.0.0.1:1",
                           "[2606:2800:220:1::1]:443", "[::ffff:93.184.216.34]:443"}) {
    EXPECT_TRUE(net::is_public(text)) << text;
  }
  for (const char* text : {"127.0.0.1:1",
                           "127.9.9.9:1",
                           "0.0.0.0:1",
                           "10.1.2.3:1",
                           "172.16.0.1:1",
                           "172.31.255.1:1",
                           "192.168.1.1:1",
                           "169.254.169.254:80",
                           "100.64.0.1:1",
                           "198.18.0.1:1",
                           "224.0.0.1:1",
                           "255.255.255.255:1",
                           "[::1]:1",
                           "[::]:1",
                           "[fe80::1]:1",
                           "[fd00::1]:1",
                           "[ff02::1]:1",
                           "[::ffff:127.0.0.1]:1",
                           "[::ffff:10.0.0.1]:1",
                           "[64:ff9b::7f00:1]:1",
                           "[2002:7f00:1::]:1",
                           "[2001:db8::1]:1",
                           "[2001::1]:1",
                           "localhost:1",
                           "unix:/run/x",
                           "example.org:443",
                           ""}) {
    EXPECT_FALSE(net::is_public(text)) << text;
  }
}

TEST_F(NetTest, RefusesTextThatIsNoAddress) {
  const std::string too_long = "unix:/" + std::string(200, 'x');
  for (const std::string& text :
       {std::string("unix:"), too_long, std::string("1.2.3:4"), std::string("127.0.0.1:"),
        std::string("127.0.0.1:-1"), std::string("127.0.0.1: 80"), std::string("::1:80"),
        std::string("[127.0.0.1]:80"), std::string("[]:80"), std::string(":80")}) {
    Result<net::SocketAddress> address = net::parse(text);
    ASSERT_FALSE(address.has_value()) << text;
    EXPECT_EQ(address.error().kind, ErrorKind::invalid) << text;
  }
}

TEST_F(NetTest, ListensWithNodelayOnNonBlockingSocketsThatAreClosedOnExec) {
  UringRig rig;
  for (const char* text : {"127.0.0.1:0", "[::1]:0"}) {
    const Handle listener = net::listen(Address{text}).value();
    int nodelay = 0;
    socklen_t size = sizeof nodelay;
    ::getsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size);
    EXPECT_NE(nodelay, 0);
    EXPECT_NE(::fcntl(listener, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(listener, F_GETFD) & FD_CLOEXEC, 0);
    Listener accepting;
    accepting.listener = listener;
    rig.reactor().start(accepting);
    const Handle client = connection_to(net::address_of(listener).value());
    for (int i = 0; i < 1000 && accepting.connections.empty(); ++i) rig.reactor().poll();
    ASSERT_EQ(accepting.connections.size(), 1U);
    const Handle connection = accepting.connections[0];
    nodelay = 0;
    ::getsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size);
    EXPECT_NE(nodelay, 0) << "not inherited";
    EXPECT_NE(::fcntl(connection, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(connection, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_TRUE(net::address_of(connection).has_value());
    rig.reactor().cancel(accepting);
    for (int i = 0; i < 1000 && !accepting.over; ++i) rig.reactor().poll();
    for (const Handle handle : {client, connection, listener}) rig.reactor().close(handle);
  }
}

TEST_F(NetTest, GivesAUnixSocketToItsOwnerOnly) {
  const Handle listener = net::listen(unix_address()).value();
  struct stat status = {};
  ASSERT_EQ(::stat((folder_ + "/socket").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_EQ(net::address_of(listener).value().text, unix_address().text);
  ::close(listener);
}

TEST_F(NetTest, ReplacesAUnixSocketThatNobodyListensOn) {
  ::close(net::listen(unix_address()).value());  // leaves its file, as a crash would
  Result<Handle> again = net::listen(unix_address());
  ASSERT_TRUE(again.has_value()) << again.error().message;
  ::close(*again);
}

TEST_F(NetTest, LeavesAUnixSocketAloneThatSomebodyListensOn) {
  const Handle first = net::listen(unix_address()).value();
  Result<Handle> second = net::listen(unix_address());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::conflict);
  const Handle client = connection_to(unix_address());
  EXPECT_NE(client, kNoHandle) << "the first one still listens";
  ::close(client);
  ::close(first);
}

TEST_F(NetTest, LeavesAFileAloneThatIsNoSocket) {
  const std::string path = folder_ + "/socket";
  ASSERT_EQ(::close(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
  EXPECT_FALSE(net::listen(unix_address()).has_value());
  EXPECT_TRUE(std::filesystem::is_regular_file(path));
}

TEST_F(NetTest, SaysThatNobodyListensOnAUnixSocket) {
  ::close(net::listen(unix_address()).value());
  EXPECT_EQ(connection_to(unix_address()), kNoHandle);
}

}  // namespace berth::inline v0::io
