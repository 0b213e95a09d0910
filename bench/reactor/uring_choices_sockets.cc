// Calls on sockets: the plain one at once, or an entry of the ring with many others.
#include "uring_choices.h"
#include "uring_choices_ring.h"

#include <poll.h>

namespace berth::bench {
namespace {

enum class By { call, ring, ring_direct };

// Many sockets that something is done with, again and again.
class Many : public Way {
 protected:
  Many(By by, std::size_t count, bool tcp) : by_(by) {
    for (std::size_t i = 0; i < count; ++i) {
      pairs_.push_back(tcp ? listener_.connect() : unix_pair());
    }
  }
  ~Many() override {
    for (const Pair& pair : pairs_) {
      if (pair.near >= 0) reset(pair.near);
      if (pair.far >= 0) reset(pair.far);
    }
  }
  unsigned count() const { return static_cast<unsigned>(pairs_.size()); }
  const By by_;
  TcpListener listener_;
  std::vector<Pair> pairs_;
  Ring ring_;
};

class Send final : public Many {
 public:
  explicit Send(By by) : Many(by, 1'000, true) {}
  double round() override {
    const double start = cpu_ns();
    for (const Pair& pair : pairs_) {
      if (by_ == By::call) {
        need(::send(pair.near, bytes_.data(), bytes_.size(), MSG_NOSIGNAL) == 500);
      } else {
        io_uring_prep_send(ring_.entry(), pair.near, bytes_.data(), bytes_.size(), MSG_NOSIGNAL);
      }
    }
    if (by_ == By::ring) need(ring_.finish(count()) == 500L * count());
    const double spent = cpu_ns() - start;
    for (const Pair& pair : pairs_) drain(pair.far);
    return spent / count();
  }

 private:
  std::array<char, 500> bytes_ = {};
};

// Readable sockets: what a descriptor of the process costs against one of the ring.
class Take final : public Many {
 public:
  explicit Take(By by) : Many(by, 256, false), into_(256) {
    if (by != By::ring_direct) return;
    std::vector<int> files;
    for (const Pair& pair : pairs_) files.push_back(pair.near);
    need(io_uring_register_files(ring_.get(), files.data(), count()) == 0);
  }
  double round() override {
    for (const Pair& pair : pairs_) need(::write(pair.far, into_[0].data(), 500) == 500);
    const double start = cpu_ns();
    for (unsigned i = 0; i < count(); ++i) {
      if (by_ == By::call) {
        need(::recv(pairs_[i].near, into_[0].data(), into_[0].size(), 0) == 500);
        continue;
      }
      io_uring_sqe* entry = ring_.entry();
      const int fd = by_ == By::ring_direct ? static_cast<int>(i) : pairs_[i].near;
      io_uring_prep_recv(entry, fd, into_[i].data(), into_[i].size(), 0);
      if (by_ == By::ring_direct) entry->flags |= IOSQE_FIXED_FILE;
    }
    if (by_ != By::call) need(ring_.finish(count()) == 500L * count());
    return (cpu_ns() - start) / count();
  }

 private:
  std::vector<std::array<char, 2048>> into_;
};

class Connect final : public Way {
 public:
  explicit Connect(By by) : by_(by) {}
  double round() override {
    std::array<int, 64> sockets = {};
    const double start = cpu_ns();
    for (int& fd : sockets) {
      fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (by_ == By::call) {
        need(::connect(fd, listener_.address(), TcpListener::kSize) != 0 && errno == EINPROGRESS);
        io_uring_prep_poll_add(ring_.entry(), fd, POLLOUT);
      } else {
        io_uring_prep_connect(ring_.entry(), fd, const_cast<sockaddr*>(listener_.address()),
                              TcpListener::kSize);
      }
    }
    const long results = ring_.finish(sockets.size());
    if (by_ == By::ring) need(results == 0);
    for (const int fd : sockets) {
      int error = 0;
      socklen_t size = sizeof error;
      if (by_ == By::call) ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
      need(error == 0);
    }
    const double spent = cpu_ns() - start;
    for (const int fd : sockets) {
      reset(listener_.accept());
      reset(fd);
    }
    return spent / static_cast<double>(sockets.size());
  }

 private:
  const By by_;
  TcpListener listener_;
  Ring ring_;
};

class End final : public Way {
 public:
  End(By by, bool close) : by_(by), close_(close) {}
  double round() override {
    std::array<Pair, 64> pairs;
    for (Pair& pair : pairs) pair = listener_.connect();
    const double start = cpu_ns();
    for (const Pair& pair : pairs) {
      if (by_ == By::call) {
        need((close_ ? ::close(pair.far) : ::shutdown(pair.far, SHUT_WR)) == 0);
      } else if (close_) {
        io_uring_prep_close(ring_.entry(), pair.far);
      } else {
        io_uring_prep_shutdown(ring_.entry(), pair.far, SHUT_WR);
      }
    }
    if (by_ == By::ring) need(ring_.finish(pairs.size()) == 0);
    const double spent = cpu_ns() - start;
    for (const Pair& pair : pairs) {
      reset(pair.near);
      if (!close_) reset(pair.far);
    }
    return spent / static_cast<double>(pairs.size());
  }

 private:
  const By by_;
  const bool close_;
  TcpListener listener_;
  Ring ring_;
};

template <typename T, typename... Arguments>
std::vector<NamedWay> both(Arguments... arguments) {
  std::vector<NamedWay> ways;
  ways.push_back({"system call", std::make_unique<T>(By::call, arguments...)});
  ways.push_back({"ring, one submission", std::make_unique<T>(By::ring, arguments...)});
  return ways;
}

}  // namespace

std::vector<Choice> socket_choices() {
  return {
      {"send", "500 B to each of 1000 TCP sockets", [] { return both<Send>(); }},
      {"connect", "a TCP connection, 64 at once", [] { return both<Connect>(); }},
      {"close", "a TCP connection, 64 at once", [] { return both<End>(true); }},
      {"shutdown", "a TCP connection, 64 at once", [] { return both<End>(false); }},
      {"direct-descriptors", "500 B from each of 256 readable UNIX sockets",
       [] {
         std::vector<NamedWay> ways = both<Take>();
         ways.push_back({"ring, direct descriptors", std::make_unique<Take>(By::ring_direct)});
         return ways;
       }},
  };
}

}  // namespace berth::bench
