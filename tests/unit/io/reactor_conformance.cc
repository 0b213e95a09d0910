#include "reactor_conformance.h"

#include <berth/core/prng.h>

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

constexpr std::chrono::seconds kPatience{10};

}  // namespace

std::string pattern(std::size_t size, std::uint64_t seed) {
  Prng random(seed);
  std::string text(size, '\0');
  for (char& byte : text) byte = static_cast<char>('a' + random.below(26));
  return text;
}

// --- the small operations ---

void Sink::on_read(std::span<char> bytes) {
  EXPECT_FALSE(over) << "bytes after the end";
  EXPECT_FALSE(bytes.empty());
  text.append(bytes.data(), bytes.size());
  most_at_once = std::max(most_at_once, bytes.size());
  ++reads;
  if (after_read) after_read(*this);
}

void Sink::on_read_end(int error_value) {
  EXPECT_FALSE(started());
  over = true;
  error = error_value;
  ++ends;
}

void Sink::begin() {
  if (sink_way == Way::buffers) way = sink_way;
  over = false;
  reactor_.start(*this);
}

void Source::write(std::string bytes) {
  bytes_ = std::move(bytes);
  part_ = iovec{bytes_.data(), bytes_.size()};
  parts = std::span(&part_, 1);
  done = false;
  reactor_.start(*this);
}

void Source::on_written(int error_value) {
  EXPECT_FALSE(started());
  done = true;
  error = error_value;
  ++ends;
  sent.append(bytes_, 0, written);
  if (error == 0) {
    EXPECT_EQ(written, bytes_.size());
  }
  if (after_write) after_write();
}

// --- the fixture ---

class ReactorConformance::Watcher final : public TurnHook, public TimerOp {
 public:
  explicit Watcher(Reactor& reactor) : reactor_(reactor) { reactor.add_turn_hook(*this); }
  void on_turn_end() override {
    if (happened && happened()) {
      happened = nullptr;
      reactor_.stop();
    }
  }
  void on_timer() override {
    timed_out = true;
    reactor_.stop();
  }
  std::function<bool()> happened;
  bool timed_out = false;

 private:
  Reactor& reactor_;
};

ReactorConformance::ReactorConformance() = default;
ReactorConformance::~ReactorConformance() = default;

void ReactorConformance::SetUp() {
  rig_ = GetParam().make();
  ASSERT_NE(rig_, nullptr);
  watcher_ = std::make_unique<Watcher>(reactor());
  handles_before_ = rig_->open_handles();
}

void ReactorConformance::TearDown() {
  if (rig_ == nullptr) return;
  EXPECT_EQ(rig_->open_handles(), handles_before_) << "handles leaked";
  static_cast<TurnHook&>(*watcher_).unlink();
  watcher_.reset();
  rig_.reset();
}

bool ReactorConformance::run_until(std::function<bool()> happened) {
  if (happened()) return true;
  watcher_->happened = std::move(happened);
  watcher_->timed_out = false;
  reactor().arm(*watcher_, reactor().clock().now() + kPatience);
  reactor().run();
  reactor().disarm(*watcher_);
  watcher_->happened = nullptr;
  return !watcher_->timed_out;
}

bool ReactorConformance::run_both_until(const std::function<bool()>& happened) {
  const TimePoint late = reactor().clock().now() + kPatience;
  while (!happened()) {
    reactor().poll();
    rig_->other().poll();
    if (reactor().clock().now() > late) return false;
  }
  return true;
}

void ReactorConformance::settle() {
  for (int quiet = 0, turns = 0; quiet < 10 && turns < 100'000; ++turns) {
    quiet = reactor().poll() ? 0 : quiet + 1;
  }
}

bool ReactorConformance::run_task(Task<void> task) {
  Scope scope(reactor());
  scope.spawn(std::move(task));
  const bool ended = run_until([&] { return scope.size() == 0; });
  EXPECT_TRUE(ended) << "the coroutine did not end";
  if (!ended) std::abort();  // its frame cannot be taken away
  return ended;
}

void ReactorConformance::close(PipeEnds& pipe) {
  if (pipe.reader != kNoHandle) reactor().close(pipe.reader);
  if (pipe.writer != kNoHandle) reactor().close(pipe.writer);
  pipe = PipeEnds{};
}

Handle connect_to(Reactor& reactor, const Address& address) {
  Connector connector(address);
  reactor.start(connector);
  const TimePoint late = reactor.clock().now() + std::chrono::seconds(10);
  while (connector.calls == 0 && reactor.clock().now() < late) reactor.poll();
  BERTH_ASSERT(connector.calls == 1);  // else it cannot be taken away
  EXPECT_EQ(connector.error, 0) << address.text;
  return connector.connection;
}

std::pair<Handle, Handle> ReactorConformance::make_connection() {
  Listener listener;
  listener.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  reactor().start(listener);
  const Address address = reactor().local_address(listener.listener).value();
  const Handle client = connect_to(reactor(), address);
  EXPECT_TRUE(run_until([&] { return listener.connections.size() == 1; }));
  reactor().cancel(listener);
  EXPECT_TRUE(run_until([&] { return listener.over; }));
  EXPECT_EQ(listener.error, ECANCELED);
  reactor().close(listener.listener);
  return {client, listener.connections.at(0)};
}

}  // namespace berth::inline v0::io
