// Files, splicing and children.
#include "uring_choices.h"
#include "uring_choices_ring.h"

#include <berth/io/asio_reactor.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/uring_abi.h>
#include <berth/io/uring_ring.h>

#include <poll.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <csignal>

namespace berth::bench {
namespace {

int temporary_file(std::size_t size) {
  std::array<char, 32> path = {"/tmp/berth-choices-XXXXXX"};
  const int fd = ::mkstemp(path.data());
  need(fd >= 0);
  ::unlink(path.data());
  const std::vector<char> bytes(size, 'x');
  need(::pwrite(fd, bytes.data(), size, 0) == static_cast<ssize_t>(size));
  return fd;
}

// One step after the other, as a log does.
class Steps final : public Way {
 public:
  Steps(std::unique_ptr<io::Reactor> reactor, io::FileOp::Kind kind)
      : reactor_(std::move(reactor)), file_(temporary_file(64 * 1024)) {
    step_.kind = kind;
    step_.file = file_;
    step_.into = bytes_;
    step_.from = bytes_;
  }
  ~Steps() override { ::close(file_); }
  double round() override {
    constexpr int kSteps = 200;
    const double start = cpu_ns();
    for (int i = 0; i < kSteps; ++i) {
      step_.reactor = reactor_.get();
      reactor_->start(step_);
      reactor_->run();
    }
    return (cpu_ns() - start) / kSteps;
  }

 private:
  struct Step final : io::FileOp {
    void on_file(std::int64_t result) override {
      need(result >= 0);
      reactor->stop();
    }
    io::Reactor* reactor = nullptr;
  };
  std::unique_ptr<io::Reactor> reactor_;
  const int file_;
  std::array<char, 4096> bytes_ = {};
  Step step_;
};

std::vector<NamedWay> both_steps(io::FileOp::Kind kind) {
  std::vector<NamedWay> ways;
  ways.push_back({"thread", std::make_unique<Steps>(io::make_asio_reactor().value(), kind)});
  ways.push_back({"ring", std::make_unique<Steps>(io::make_uring_reactor().value(), kind)});
  return ways;
}

// 64 KiB of a cached file, or 16 KiB out of a pipe, to a TCP socket.
class Forward final : public Way {
 public:
  enum class By { copy, splice_call, splice_ring };
  Forward(By by, bool from_file) : by_(by), from_file_(from_file) {
    need(::pipe2(pipe_.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    const int room = 1024 * 1024;
    ::setsockopt(pair_.near, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    ::setsockopt(pair_.far, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  }
  ~Forward() override {
    for (const int fd : {file_, pipe_[0], pipe_[1]}) ::close(fd);
    reset(pair_.near);
    reset(pair_.far);
  }
  double round() override {
    double spent = 0;
    constexpr int kRepeats = 10;
    for (int i = 0; i < kRepeats; ++i) {
      const std::size_t size = from_file_ ? 64 * 1024 : 16 * 1024;
      if (!from_file_) need(::write(pipe_[1], bytes_.data(), size) == static_cast<ssize_t>(size));
      const double start = cpu_ns();
      forward(size);
      spent += cpu_ns() - start;
      for (std::size_t got = 0; got < size;) got += drain(pair_.far);
    }
    return spent / kRepeats;
  }

 private:
  void forward(std::size_t size) {
    const auto wanted = static_cast<ssize_t>(size);
    off_t offset = 0;
    if (by_ == By::copy) {
      need((from_file_ ? ::pread(file_, bytes_.data(), size, 0)
                       : ::read(pipe_[0], bytes_.data(), size)) == wanted);
      need(::send(pair_.near, bytes_.data(), size, 0) == wanted);
    } else if (by_ == By::splice_call) {
      need((from_file_ ? ::sendfile(pair_.near, file_, &offset, size)
                       : ::splice(pipe_[0], nullptr, pair_.near, nullptr, size, 0)) == wanted);
    } else {
      if (from_file_) splice_entry(file_, 0, pipe_[1], size)->flags |= IOSQE_IO_LINK;
      splice_entry(pipe_[0], -1, pair_.near, size);
      need(ring_.finish(from_file_ ? 2 : 1) == wanted * (from_file_ ? 2 : 1));
    }
  }
  io_uring_sqe* splice_entry(int from, std::int64_t offset, int to, std::size_t size) {
    io_uring_sqe* entry = ring_.entry();
    io_uring_prep_splice(entry, from, offset, to, -1, static_cast<unsigned>(size), 0);
    return entry;
  }
  const By by_;
  const bool from_file_;
  const int file_ = temporary_file(64 * 1024);
  std::array<int, 2> pipe_ = {-1, -1};
  TcpListener listener_;
  Pair pair_ = listener_.connect();
  Ring ring_;
  std::vector<char> bytes_ = std::vector<char>(64 * 1024);
};

std::vector<NamedWay> forwards(bool from_file) {
  std::vector<NamedWay> ways;
  using By = Forward::By;
  ways.push_back({"read and send", std::make_unique<Forward>(By::copy, from_file)});
  ways.push_back({from_file ? "sendfile(2)" : "splice(2)",
                  std::make_unique<Forward>(By::splice_call, from_file)});
  ways.push_back({"SPLICE of the ring", std::make_unique<Forward>(By::splice_ring, from_file)});
  return ways;
}

// A child that ends at once, while many others are waited for in the same way.
class Children final : public Way {
 public:
  Children(bool waitid, std::size_t others) : waitid_(waitid) {
    for (std::size_t i = 0; i < others; ++i) {
      const int pid = ::fork();
      if (pid == 0) {
        for (;;) ::pause();
      }
      others_.push_back(pid);
      wait_for(pid);
    }
    io_uring_submit(ring_.get());
  }
  ~Children() override {
    for (const int pid : others_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    for (const int fd : pidfds_) ::close(fd);
  }
  double round() override {
    constexpr int kChildren = 20;
    double spent = 0;
    for (int i = 0; i < kChildren; ++i) {
      const double start = now_ns(CLOCK_MONOTONIC);
      const int pid = ::fork();
      if (pid == 0) ::_exit(0);
      wait_for(pid);
      ring_.finish(1);
      spent += now_ns(CLOCK_MONOTONIC) - start;
      ::waitpid(pid, nullptr, 0);
      if (!waitid_) {
        ::close(pidfds_.back());
        pidfds_.pop_back();
      }
    }
    return spent / kChildren;
  }

 private:
  void wait_for(int pid) {
    io_uring_sqe* entry = ring_.entry();
    if (waitid_) {
      io_uring_prep_rw(io::abi::kOpWaitid, entry, pid, nullptr, P_PID, 0);
      entry->file_index = WEXITED | WNOWAIT | __WALL;
    } else {
      pidfds_.push_back(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
      io_uring_prep_poll_add(entry, pidfds_.back(), POLLIN);
    }
  }
  const bool waitid_;
  std::vector<int> others_;
  std::vector<int> pidfds_;
  Ring ring_;
};

std::vector<NamedWay> both_waits(std::size_t others) {
  std::vector<NamedWay> ways;
  ways.push_back({"pidfd and poll", std::make_unique<Children>(false, others)});
  ways.push_back({"WAITID", std::make_unique<Children>(true, others)});
  return ways;
}

}  // namespace

std::vector<Choice> file_choices() {
  using Kind = io::FileOp::Kind;
  return {
      {"file-read", "4 KiB of a cached file", [] { return both_steps(Kind::read); }},
      {"file-write", "4 KiB to a file", [] { return both_steps(Kind::write); }},
      {"file-fdatasync", "one of nothing new", [] { return both_steps(Kind::fdatasync); }},
      {"splice-file", "64 KiB of a cached file to TCP", [] { return forwards(true); }},
      {"splice-pipe", "16 KiB of a pipe to TCP", [] { return forwards(false); }},
      {"wait-0", "fork, end and notice, elapsed", [] { return both_waits(0); }},
      {"wait-1000", "the same beside 1000 others, elapsed", [] { return both_waits(1'000); }},
  };
}

}  // namespace berth::bench
