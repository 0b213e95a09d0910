// bench/process/stdio_bench.cc — what a line costs on its way through a pipe and through a socket
// pair.
//
//   ninja -C build bench/process/stdio_bench && build/bench/process/stdio_bench
//
// A child writes lines as an agent does, one write each; this program reads when there is
// something, up to 64 KiB at once. The two take turns; figures are medians of the rounds.
#include <berth/core/assert.h>

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace {

constexpr int kRounds = 5;
constexpr int kLines = 200'000;

double microseconds(const rusage& used) {
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

struct Cost {
  double reader_us = 0;  // a line
  double writer_us = 0;
};

[[noreturn]] void write_lines(int descriptor, std::size_t size) {
  const std::vector<char> line(size, 'x');
  for (int i = 0; i < kLines; ++i) {
    for (std::size_t done = 0; done < size;) {
      const ssize_t written = ::write(descriptor, line.data() + done, size - done);
      if (written <= 0) ::_exit(1);
      done += static_cast<std::size_t>(written);
    }
  }
  ::_exit(0);
}

Cost measure(bool socket, std::size_t size) {
  std::array<int, 2> ends;  // to read, to write
  BERTH_ASSERT(
      (socket ? ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) : ::pipe(ends.data())) == 0);
  rusage before;
  ::getrusage(RUSAGE_SELF, &before);
  const pid_t writer = ::fork();
  if (writer == 0) {
    ::close(ends[0]);
    write_lines(ends[1], size);
  }
  ::close(ends[1]);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  std::array<char, 65536> chunk;
  for (ssize_t got = 1; got != 0;) {
    got = ::read(ends[0], chunk.data(), chunk.size());
    if (got >= 0) continue;
    pollfd waiting = {ends[0], POLLIN, 0};
    ::poll(&waiting, 1, -1);
  }
  ::close(ends[0]);
  rusage after;
  rusage writers;
  ::getrusage(RUSAGE_SELF, &after);
  int status = 0;
  BERTH_ASSERT(::wait4(writer, &status, 0, &writers) == writer && status == 0);
  return {(microseconds(after) - microseconds(before)) / kLines, microseconds(writers) / kLines};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main() {
  for (const std::size_t size : {std::size_t{485}, std::size_t{4096}}) {
    std::array<std::vector<double>, 2> readers;
    std::array<std::vector<double>, 2> writers;
    for (int round = 0; round < kRounds; ++round) {
      for (const std::size_t way : {std::size_t{0}, std::size_t{1}}) {
        const Cost cost = measure(way == 1, size);
        readers[way].push_back(cost.reader_us);
        writers[way].push_back(cost.writer_us);
      }
    }
    for (const std::size_t way : {std::size_t{0}, std::size_t{1}}) {
      fmt::print("{:>5} B  {:<11} reader {:.2f} us a line (x{:.2f}), writer {:.2f} us\n", size,
                 way == 1 ? "socket pair" : "pipe", median(readers[way]),
                 median(readers[way]) / median(readers[0]), median(writers[way]));
    }
  }
  return 0;
}
