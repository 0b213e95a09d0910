#include <berth/core/prng.h>
#include <berth/io/keeper_socket.h>
#include <berth/io/keeper_wire.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

namespace berth::inline v0::io::keeper {
namespace {

std::vector<std::string> every_request() {
  Hello hello;
  hello.tree_kill = TreeKill::proc_walk;
  hello.clone3 = false;
  hello.child_descriptors_soft = 1024;
  hello.instance = "12-345-abc";
  LaunchSpec spec;
  spec.command = "cat";
  spec.arguments = {"-u", ""};
  spec.environment = {{"A", "1"}};
  std::vector<std::string> packets;
  for (const Request& request :
       {Request(hello), Request(NewLane()), Request(Start{7, false, encode_spec(spec)}),
        Request(Kill{8}), Request(Signal{9, 15})}) {
    encode(request, packets.emplace_back());
  }
  return packets;
}

TEST(KeeperWire, EveryRequestComesOutAsItWentIn) {
  for (const std::string& packet : every_request()) {
    std::string_view rest = packet;
    const Result<Request> request = decode_request(rest);
    ASSERT_TRUE(request.has_value());
    EXPECT_TRUE(rest.empty());
    std::string again;
    encode(*request, again);
    EXPECT_EQ(again, packet);
  }
}

TEST(KeeperWire, ASpecKeepsAllOfItsFields) {
  LaunchSpec spec;
  spec.command = "/bin/agent";
  spec.arguments = {"--a", std::string(100'000, 'x'), ""};
  spec.environment = {{"PATH", "/bin"}, {"EMPTY", ""}};
  spec.working_directory = "/tmp";
  spec.tag = "t-1";
  const Result<LaunchSpec> read = decode_spec(encode_spec(spec));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->command, spec.command);
  EXPECT_EQ(read->arguments, spec.arguments);
  EXPECT_EQ(read->environment, spec.environment);
  EXPECT_EQ(read->working_directory, spec.working_directory);
  EXPECT_EQ(read->tag, spec.tag);
}

TEST(KeeperWire, ReportsKeepStatusUsageErrorsAndWords) {
  Ended ended;
  ended.number = 5;
  ended.status = {ExitStatus::Kind::exited, 3, {}};
  ended.status.usage = {std::chrono::microseconds(10), std::chrono::microseconds(20), 4096};
  Error error = make_error(ErrorKind::not_found, "command_not_found", "command not found: x");
  error.errno_value = ENOENT;
  std::string packet;
  encode(Report(ended), packet);
  encode(Report(to_message(6, error)), packet);
  encode(Report(Started{7, 1234, 99}), packet);
  encode(Report(Stderr{8, std::string("a\0\n\xff", 4)}), packet);

  std::string_view rest = packet;
  const Ended first = std::get<Ended>(*decode_report(rest));
  const Error second = to_error(std::get<Failed>(*decode_report(rest)));
  const Started third = std::get<Started>(*decode_report(rest));
  const Stderr fourth = std::get<Stderr>(*decode_report(rest));
  EXPECT_TRUE(rest.empty());
  EXPECT_EQ(first.status.kind, ExitStatus::Kind::exited);
  EXPECT_EQ(first.status.value, 3);
  EXPECT_EQ(first.status.usage, ended.status.usage);
  EXPECT_STREQ(second.code, "command_not_found");
  EXPECT_EQ(second.kind, ErrorKind::not_found);
  EXPECT_EQ(second.message, error.message);
  EXPECT_EQ(second.errno_value, ENOENT);
  EXPECT_EQ(third.pid, 1234);
  EXPECT_EQ(fourth.number, 8U);
  EXPECT_EQ(fourth.bytes, std::string("a\0\n\xff", 4));
}

TEST(KeeperWire, AMessageThatWasCutOffIsAnErrorAtEveryLength) {
  for (const std::string& packet : every_request()) {
    for (std::size_t size = 0; size < packet.size(); ++size) {
      std::string_view rest = std::string_view(packet).substr(0, size);
      EXPECT_FALSE(decode_request(rest).has_value()) << size;
    }
  }
}

TEST(KeeperWire, ValuesOutOfTheirRangeAreErrors) {
  const auto refused = [](const Request& request) {
    std::string packet;
    encode(request, packet);
    std::string_view rest = packet;
    return !decode_request(rest).has_value();
  };
  Hello hello;
  hello.tree_kill = static_cast<TreeKill>(3);
  EXPECT_TRUE(refused(hello));
  EXPECT_TRUE(refused(Signal{1, -1}));
  EXPECT_TRUE(refused(Signal{1, 65}));
  std::string packet;
  encode(Report(Started{1, 0, 0}), packet);
  std::string_view rest = packet;
  EXPECT_FALSE(decode_report(rest).has_value()) << "pid 0 is nobody's";
  packet.clear();
  encode(Report(Stderr{1, std::string(kStderrMax + 1, 'x')}), packet);
  rest = packet;
  EXPECT_FALSE(decode_report(rest).has_value()) << "more than a piece";
}

TEST(KeeperWire, RandomBytesAreReadWithoutHarm) {
  Prng random(11);
  for (int i = 0; i < 20'000; ++i) {
    std::string packet;
    for (std::uint64_t size = random.next() % 80; size > 0; --size) {
      // Small numbers, so that counts and lengths are believed now and then.
      packet += static_cast<char>(random.next() % 4 == 0 ? random.next() : random.next() % 6);
    }
    std::string_view rest = packet;
    while (!rest.empty() && decode_request(rest).has_value()) {
    }
    rest = packet;
    while (!rest.empty() && decode_report(rest).has_value()) {
    }
    decode_spec(packet).has_value();
  }
}

class KeeperSocket : public testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> ends;
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    here.reset(ends[0]);
    there.reset(ends[1]);
  }
  Fd here;
  Fd there;
  PacketReader reader;
};

TEST_F(KeeperSocket, CarriesPacketsWithTheirDescriptors) {
  EXPECT_EQ(reader.receive(there.get()), EAGAIN);
  const std::array<int, 2> descriptors = {0, 1};
  ASSERT_EQ(send_packet(here.get(), "one", descriptors), 0);
  ASSERT_EQ(send_packet(here.get(), std::string(kPacketMax, 'x'), {}), 0);

  ASSERT_EQ(reader.receive(there.get()), 0);
  EXPECT_EQ(reader.bytes(), "one");
  ASSERT_EQ(reader.descriptors().size(), 2U);
  EXPECT_EQ(::fcntl(reader.descriptors()[0].get(), F_GETFD), FD_CLOEXEC);
  ASSERT_EQ(reader.receive(there.get()), 0);
  EXPECT_EQ(reader.bytes().size(), kPacketMax);
  EXPECT_TRUE(reader.descriptors().empty());
}

TEST_F(KeeperSocket, TellsTheEndAndWhatIsTooLong) {
  const std::string long_packet(kPacketMax + 1, 'x');
  ASSERT_GT(::send(here.get(), long_packet.data(), long_packet.size(), 0), 0);
  EXPECT_EQ(reader.receive(there.get()), EBADMSG);
  there.reset();
  EXPECT_EQ(send_packet(here.get(), "x", {}), EPIPE);
  EXPECT_EQ(reader.receive(here.get()), EPIPE);
}

TEST_F(KeeperSocket, AFullSocketSaysSoAndLosesNothing) {
  const std::string packet(1000, 'x');
  int sent = 0;
  while (send_packet(here.get(), packet, {}) == 0) ++sent;
  EXPECT_EQ(send_packet(here.get(), packet, {}), EAGAIN);
  int received = 0;
  while (reader.receive(there.get()) == 0) ++received;
  EXPECT_EQ(received, sent);
}

}  // namespace
}  // namespace berth::inline v0::io::keeper
