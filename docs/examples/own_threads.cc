// berth on a thread of its own inside a host program: a shard follows pipes of JSON lines, the
// host gets each result posted to its own queue and never waits for berth.
#include <berth/core/json_doc.h>
#include <berth/core/ndjson.h>
#include <berth/io/select.h>
#include <berth/io/shard_threads.h>

#include <unistd.h>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace io = berth::io;

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

// [tail]
/// Follows one pipe: cuts its bytes into lines, in place, and takes one field of each. Lives on the
/// shard until its last callback.
class Tail final : private io::ReadOp, private berth::LineSink {
 public:
  Tail(io::Reactor& reactor, int fd, std::function<void(std::string)> on_name,
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

  io::Reactor& reactor_;
  std::function<void(std::string)> on_name_;
  std::function<void()> on_end_;
  berth::LineFramer framer_{*this};
};
// [tail]

// [shards]
/// Starts a shard, has it follow `readers`, and serves the host's queue until all of them ended.
int run(const std::vector<int>& readers) {
  berth::NullLog log;
  const auto shards = io::ShardThreads::start(1, [&log](std::size_t) {
    return berth::Result<std::unique_ptr<io::Reactor>>(
        io::make_reactor(io::EngineChoice::automatic, log));
  });
  if (!shards.has_value()) {
    std::fprintf(stderr, "%s\n", shards.error().message.c_str());
    return 1;
  }
  HostQueue host;
  std::size_t running = readers.size();
  int names = 0;
  // Both are called on the shard's thread; what they ask for is done on the host's.
  const auto on_name = [&](std::string name) {
    host.post([&names, name = std::move(name)] {
      ++names;
      std::printf("host: %s\n", name.c_str());
    });
  };
  const auto on_end = [&] { host.post([&running] { --running; }); };

  std::vector<std::unique_ptr<Tail>> tails;
  // ask() runs a function on the shard and waits for what it returns: for beginnings and ends.
  (*shards)->ask(0, [&](io::Shard& shard) {
    for (const int fd : readers) {
      tails.push_back(std::make_unique<Tail>(shard.reactor(), fd, on_name, on_end));
      tails.back()->start();
    }
    return true;
  });
  while (running > 0) host.run_one();
  (*shards)->stop();
  std::printf("%d names from %zu pipes\n", names, readers.size());
  return 0;
}
// [shards]

}  // namespace

int main() {
  std::vector<int> readers;
  for (int i = 0; i < 3; ++i) {
    int ends[2];
    if (::pipe(ends) != 0) return 1;
    readers.push_back(ends[0]);
    const std::string line = "{\"name\":\"agent " + std::to_string(i) + "\"}\n";
    if (::write(ends[1], line.data(), line.size()) < 0) return 1;
    ::close(ends[1]);
  }
  return run(readers);
}
