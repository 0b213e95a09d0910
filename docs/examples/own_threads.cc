// berth on a thread of its own inside a host program: a shard follows pipes of JSON lines, the
// host gets each result posted to its own queue and never waits for berth.
#include <berth/core/json_doc.h>
#include <berth/core/ndjson.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/uring_ring.h>

#include <unistd.h>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

/// The host's own loop: a queue of functions.
class HostQueue {
 public:
  void post(std::function<void()> function) {
    const std::lock_guard lock(mutex_);
    functions_.push_back(std::move(function));
    changed_.notify_one();
  }
  void run_one() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !functions_.empty(); });
    const std::function<void()> function = std::move(functions_.front());
    functions_.pop_front();
    lock.unlock();
    function();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> functions_;
};

// [shard-thread]
/// One reactor on one thread. What runs there is begun by call() from any thread.
class ShardThread {
 public:
  explicit ShardThread(std::unique_ptr<berth::io::Reactor> reactor)
      : reactor_(std::move(reactor)), thread_([this] { reactor_->run(); }) {}
  /// Everything that was started on the reactor has ended before this.
  ~ShardThread() {
    reactor_->stop();
    thread_.join();
  }

  berth::io::Reactor& reactor() { return *reactor_; }

  /// Runs `function` on the shard's thread, soon.
  void call(std::function<void()> function) {
    reactor_->post_remote(*std::make_unique<Call>(std::move(function)).release());
  }

 private:
  struct Call final : berth::Runnable {
    explicit Call(std::function<void()> f) : function(std::move(f)) {}
    void run() override {
      const std::unique_ptr<Call> self(this);  // owned by the queue until now
      function();
    }
    std::function<void()> function;
  };

  std::unique_ptr<berth::io::Reactor> reactor_;
  std::thread thread_;
};
// [shard-thread]

// [tail]
/// Follows one pipe: cuts its bytes into lines, in place, and takes one field of each. Lives on the
/// shard until its last callback.
class Tail final : private berth::io::ReadOp, private berth::LineSink {
 public:
  Tail(berth::io::Reactor& reactor, int fd, std::function<void(std::string)> on_name,
       std::function<void()> on_end)
      : reactor_(reactor), on_name_(std::move(on_name)), on_end_(std::move(on_end)) {
    handle = fd;
  }
  void start() { reactor_.start(*this); }

 private:
  void on_read(std::span<char> bytes) override { framer_.feed({bytes.data(), bytes.size()}); }
  void on_read_end(int) override {
    framer_.finish();
    reactor_.close(handle);
    on_end_();
  }
  void on_line(berth::Line& line) override {
    const berth::Result<berth::JsonDoc> doc = berth::JsonDoc::parse(line.text());
    if (!doc.has_value()) return;
    const auto name = doc->root().get_string("name");
    if (name.has_value()) on_name_(std::string(*name));
  }
  void on_overlong(std::uint64_t, std::string_view) override {}

  berth::io::Reactor& reactor_;
  std::function<void(std::string)> on_name_;
  std::function<void()> on_end_;
  berth::LineFramer framer_{*this};
};
// [tail]

}  // namespace

int main() {
  auto reactor = berth::io::make_uring_reactor();
  if (!reactor.has_value()) {
    std::fprintf(stderr, "%s\n", reactor.error().message.c_str());
    return 1;
  }
  HostQueue host;
  ShardThread shard(std::move(*reactor));

  constexpr int kPipes = 3;
  std::vector<std::unique_ptr<Tail>> tails;
  std::array<int, kPipes> writers = {};
  int running = kPipes;
  int names = 0;
  for (int i = 0; i < kPipes; ++i) {
    int ends[2];
    if (::pipe(ends) != 0) return 1;
    writers[static_cast<std::size_t>(i)] = ends[1];
    tails.push_back(std::make_unique<Tail>(
        shard.reactor(), ends[0],
        // Both are called on the shard's thread; the work is the host's.
        [&](std::string name) {
          host.post([&names, name = std::move(name)] {
            ++names;
            std::printf("host: %s\n", name.c_str());
          });
        },
        [&] { host.post([&running] { --running; }); }));
  }
  shard.call([&] {
    for (const auto& tail : tails) tail->start();
  });
  for (int i = 0; i < kPipes; ++i) {
    const int fd = writers[static_cast<std::size_t>(i)];
    const std::string line = "{\"name\":\"agent " + std::to_string(i) + "\"}\n";
    if (::write(fd, line.data(), line.size()) < 0) return 1;
    ::close(fd);
  }
  while (running > 0) host.run_one();
  std::printf("%d names from %d pipes\n", names, kPipes);
  return 0;
}
