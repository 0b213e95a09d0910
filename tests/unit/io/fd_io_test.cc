#include <berth/io/fd_io.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

TEST(FdIo, CutsPartsAcrossTheirBordersAndDropsEmptyOnes) {
  std::array<char, 10> bytes = {};
  std::vector<iovec> storage = {{bytes.data(), 0},
                                {bytes.data(), 3},
                                {bytes.data() + 3, 0},
                                {bytes.data() + 3, 4},
                                {bytes.data() + 7, 3}};
  std::span<iovec> parts(storage);
  cut_front(parts, 0);
  ASSERT_EQ(parts.size(), 4U);
  cut_front(parts, 5);
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0].iov_base, bytes.data() + 5);
  EXPECT_EQ(parts[0].iov_len, 2U);
  cut_front(parts, 5);
  EXPECT_TRUE(parts.empty());
}

// Without care this test would end the program: SIGPIPE has its default action here.
TEST(FdIo, AnswersEpipeWithoutASignal) {
  std::array<int, 2> ends = {};
  char byte = 'x';
  const iovec part = {&byte, 1};
  ASSERT_EQ(::pipe(ends.data()), 0);
  ::close(ends[0]);
  EXPECT_EQ(write_some(ends[1], std::span(&part, 1)).error, EPIPE);
  ::close(ends[1]);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  ::close(ends[0]);
  EXPECT_EQ(write_some(ends[1], std::span(&part, 1)).error, EPIPE);
  ::close(ends[1]);
}

TEST(FdIo, AnswersEpipeWithoutASignalOnKernelsThatHaveNoFlagForIt) {
  std::array<int, 2> ends = {};
  char byte = 'x';
  const iovec part = {&byte, 1};
  ASSERT_EQ(::pipe(ends.data()), 0);
  EXPECT_EQ(write_some_with_sigpipe_blocked(ends[1], std::span(&part, 1)).bytes, 1U);
  ::close(ends[0]);
  EXPECT_EQ(write_some_with_sigpipe_blocked(ends[1], std::span(&part, 1)).error, EPIPE);
  EXPECT_EQ(write_some_with_sigpipe_blocked(ends[1], std::span(&part, 1)).error, EPIPE);
  ::close(ends[1]);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  EXPECT_EQ(write_some_with_sigpipe_blocked(ends[1], std::span(&part, 1)).bytes, 1U);
  ::close(ends[0]);
  EXPECT_EQ(write_some_with_sigpipe_blocked(ends[1], std::span(&part, 1)).error, EPIPE);
  ::close(ends[1]);
}

TEST(FdIo, WritesOneOrMorePartsToPipesSocketsAndFiles) {
  std::array<int, 2> pipe_ends = {};
  std::array<int, 2> socket_ends = {};
  std::array<int, 2> file_ends = {};
  ASSERT_EQ(::pipe(pipe_ends.data()), 0);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, socket_ends.data()), 0);
  std::array<char, 32> path = {"/tmp/berth-fd-XXXXXX"};
  file_ends[1] = ::mkstemp(path.data());
  file_ends[0] = ::open(path.data(), O_RDONLY | O_CLOEXEC);
  ::unlink(path.data());
  std::string word = "one";
  std::string other = "two";
  const std::array<iovec, 2> parts = {iovec{word.data(), 3}, iovec{other.data(), 3}};
  for (const std::array<int, 2>& ends : {pipe_ends, socket_ends, file_ends}) {
    EXPECT_EQ(write_some(ends[1], std::span(parts).first(1)).bytes, 3U);
    EXPECT_EQ(write_some(ends[1], parts).bytes, 6U);
    std::array<char, 16> buffer = {};
    EXPECT_EQ(read_some(ends[0], buffer).bytes, 9U);
    EXPECT_EQ(std::string_view(buffer.data(), 9), "oneonetwo");
    ::close(ends[0]);
    ::close(ends[1]);
  }
}

TEST(FdIo, MakesADescriptorNonBlockingAndClosedOnExec) {
  std::array<int, 2> ends = {};
  ASSERT_EQ(::pipe(ends.data()), 0);
  EXPECT_EQ(make_nonblocking(ends[0]), 0);
  EXPECT_NE(::fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(ends[0], F_GETFD) & FD_CLOEXEC, 0);
  std::array<char, 8> buffer = {};
  EXPECT_EQ(read_some(ends[0], buffer).error, EAGAIN);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_EQ(make_nonblocking(ends[0]), EBADF);
}

}  // namespace berth::inline v0::io
