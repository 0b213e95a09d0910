// bench/reactor/pipes_bench.cc — CPU per line of many pipes: berth's reactor against plain epoll
// and read(2).
//
// One thread. Each round puts one line (200 to 2048 bytes, mean 1.1 KB) into each active pipe, not
// measured, then measures the CPU time until every line has been read. Both readers have pipes of
// their own and do the same with the bytes (find the line's end). Rounds alternate, so that what
// disturbs one disturbs the other.
//
//   pipes_bench [pipes] [active] [rounds]    default: 1000 and 4000 pipes, all active, then 100
//   active

#include <berth/core/prng.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/uring_ring.h>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <string>
#include <vector>

namespace {

using berth::Prng;
using namespace berth::io;

struct Pipe {
  int reader = -1;
  int writer = -1;
};

double cpu_ns() {
  timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

std::vector<Pipe> make_pipes(std::size_t count) {
  std::vector<Pipe> pipes(count);
  for (Pipe& pipe : pipes) {
    std::array<int, 2> ends = {};
    if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) {
      std::perror("pipe2");
      std::exit(1);
    }
    pipe = Pipe{ends[0], ends[1]};
  }
  return pipes;
}

/// What both readers do with the bytes.
std::size_t count_lines(const char* bytes, std::size_t size) {
  std::size_t lines = 0;
  const char* end = bytes + size;
  while (bytes < end) {
    const void* newline = std::memchr(bytes, '\n', static_cast<std::size_t>(end - bytes));
    if (newline == nullptr) break;
    ++lines;
    bytes = static_cast<const char*>(newline) + 1;
  }
  return lines;
}

class EpollReader {
 public:
  explicit EpollReader(const std::vector<Pipe>& pipes) : buffer_(64 * 1024, 1) {
    for (const Pipe& pipe : pipes) {
      epoll_event event = {};
      event.events = EPOLLIN;
      event.data.fd = pipe.reader;
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, pipe.reader, &event);
    }
  }
  ~EpollReader() { ::close(epoll_); }
  void read_lines(std::size_t wanted) {
    std::size_t lines = 0;
    while (lines < wanted) {
      const int ready = ::epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), -1);
      for (int i = 0; i < ready; ++i) {
        const int fd = events_[static_cast<std::size_t>(i)].data.fd;
        const ssize_t got = ::read(fd, buffer_.data(), buffer_.size());
        if (got > 0) lines += count_lines(buffer_.data(), static_cast<std::size_t>(got));
      }
    }
  }

 private:
  int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<char> buffer_;
  std::array<epoll_event, 512> events_ = {};
};

class BerthReader {
 public:
  explicit BerthReader(const std::vector<Pipe>& pipes) {
    for (const Pipe& pipe : pipes) {
      Reading& reading = readings_.emplace_back(lines_);
      reading.handle = reactor_->adopt(pipe.reader).value();
      reactor_->start(reading);
    }
    reactor_->poll();
  }
  ~BerthReader() {
    for (Reading& reading : readings_) reactor_->cancel(reading);
    while (std::any_of(readings_.begin(), readings_.end(),
                       [](const Reading& reading) { return reading.started(); })) {
      reactor_->poll();
    }
  }
  void read_lines(std::size_t wanted) {
    lines_ = 0;
    while (lines_ < wanted) reactor_->poll();
  }
  const FdReactorStats& stats() const { return reactor_->stats(); }

 private:
  class Reading final : public ReadOp {
   public:
    explicit Reading(std::size_t& lines) : lines_(lines) {}
    void on_read(std::span<char> bytes) override {
      lines_ += count_lines(bytes.data(), bytes.size());
    }
    void on_read_end(int) override {}

   private:
    std::size_t& lines_;
  };
  std::unique_ptr<FdReactor> reactor_ = make_uring_reactor().value();
  std::deque<Reading> readings_;
  std::size_t lines_ = 0;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void write_lines(const std::vector<Pipe>& pipes, std::size_t active, std::size_t first,
                 const std::vector<std::string>& lines) {
  for (std::size_t i = 0; i < active; ++i) {
    const std::string& line = lines[(first + i) % lines.size()];
    const Pipe& pipe = pipes[(first + i * (pipes.size() / active)) % pipes.size()];
    if (::write(pipe.writer, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      std::perror("write");
      std::exit(1);
    }
  }
}

void measure(std::size_t count, std::size_t active, std::size_t rounds) {
  Prng random(1);
  std::vector<std::string> lines;
  for (int i = 0; i < 997; ++i) lines.push_back(std::string(200 + random.below(1849), 'x') + '\n');
  const std::vector<Pipe> epoll_pipes = make_pipes(count);
  const std::vector<Pipe> berth_pipes = make_pipes(count);
  std::vector<double> epoll_ns;
  std::vector<double> berth_ns;
  std::vector<double> ratios;
  {
    EpollReader epoll(epoll_pipes);
    BerthReader berth(berth_pipes);
    const std::uint64_t turns_before = berth.stats().turns;
    for (std::size_t round = 0; round < rounds; ++round) {
      write_lines(epoll_pipes, active, round, lines);
      double start = cpu_ns();
      epoll.read_lines(active);
      epoll_ns.push_back((cpu_ns() - start) / static_cast<double>(active));
      write_lines(berth_pipes, active, round, lines);
      start = cpu_ns();
      berth.read_lines(active);
      berth_ns.push_back((cpu_ns() - start) / static_cast<double>(active));
      ratios.push_back(berth_ns.back() / epoll_ns.back());
    }
    const double turns = static_cast<double>(berth.stats().turns - turns_before);
    std::printf(
        "%5zu pipes, %5zu active: epoll %6.0f ns/line  berth %6.0f ns/line  ratio %.3f"
        "  (%.0f lines a turn, %llu watchdog finds)\n",
        count, active, median(epoll_ns), median(berth_ns), median(ratios),
        static_cast<double>(active * rounds) / turns,
        static_cast<unsigned long long>(berth.stats().watchdog_finds));
  }
  for (const std::vector<Pipe>* pipes : {&epoll_pipes, &berth_pipes}) {
    for (const Pipe& pipe : *pipes) {
      ::close(pipe.reader);
      ::close(pipe.writer);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  const auto argument = [&](int index, std::size_t otherwise) {
    return argc > index ? std::strtoull(argv[index], nullptr, 10) : otherwise;
  };
  if (argc > 1) {
    const std::size_t pipes = argument(1, 1000);
    measure(pipes, argument(2, pipes), argument(3, 300));
    return 0;
  }
  measure(1000, 1000, 300);
  measure(4000, 4000, 100);
  measure(4000, 100, 1000);
  measure(1000, 1, 5000);
  return 0;
}
