// What every engine promises about two loops beside each other, and about a loop that somebody else
// drives.
#include "reactor_conformance.h"

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

using std::chrono::milliseconds;

// --- handing over ---

TEST_P(ReactorConformance, HandsAPipeOverWithWhatIsInIt) {
  Reactor& other = rig_->other();
  PipeEnds pipe = make_pipe();
  Sink here(reactor(), pipe.reader);
  here.turn_budget = 100;
  here.after_read = [&](Sink& self) { reactor().cancel(self); };
  Source source(reactor(), pipe.writer);
  const std::string bytes = pattern(5'000);
  here.begin();
  source.write(bytes);
  ASSERT_TRUE(run_until([&] { return here.over && source.done; }));
  Sink there(other, reactor().hand_over(pipe.reader, other));
  there.begin();
  ASSERT_TRUE(run_both_until([&] { return here.text.size() + there.text.size() == 5'000; }));
  EXPECT_TRUE(here.text + there.text == bytes);
  source.write("more");
  ASSERT_TRUE(run_both_until([&] { return there.text.ends_with("more") && source.done; }));
  reactor().close(pipe.writer);
  ASSERT_TRUE(run_both_until([&] { return there.over; }));
  EXPECT_EQ(there.error, 0);
  other.close(there.handle);
}

TEST_P(ReactorConformance, HandsAConnectionOverAndBack) {
  Reactor& other = rig_->other();
  auto [client, server] = make_connection();
  std::string heard;
  Sink at_client(reactor(), client);
  at_client.begin();
  for (int i = 0; i < 4; ++i) {
    Reactor& from = i % 2 == 0 ? reactor() : other;
    Reactor& to = i % 2 == 0 ? other : reactor();
    server = from.hand_over(server, to);
    Source source(to, server);
    source.write(std::to_string(i));
    heard += std::to_string(i);
    ASSERT_TRUE(run_both_until([&] { return source.done && at_client.text == heard; }));
  }
  reactor().cancel(at_client);
  ASSERT_TRUE(run_both_until([&] { return at_client.over; }));
  reactor().close(client);
  reactor().close(server);
}

TEST_P(ReactorConformance, HandsAListenerOver) {
  Reactor& other = rig_->other();
  const Handle made = reactor().listen(Address{"127.0.0.1:0"}).value();
  const Address address = reactor().local_address(made).value();
  Listener listener;
  listener.listener = reactor().hand_over(made, other);
  EXPECT_EQ(other.local_address(listener.listener).value().text, address.text);
  other.start(listener);
  std::vector<Handle> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(connect_to(reactor(), address));
  ASSERT_TRUE(run_both_until([&] { return listener.connections.size() == 5; }));
  other.cancel(listener);
  ASSERT_TRUE(run_both_until([&] { return listener.over; }));
  for (const Handle client : clients) reactor().close(client);
  for (const Handle connection : listener.connections) other.close(connection);
  other.close(listener.listener);
}

// --- posting between loops of one thread ---

TEST_P(ReactorConformance, RunsWhatAnotherLoopPostsInItsOrder) {
  constexpr int kPosts = 500;
  Reactor& other = rig_->other();
  std::vector<int> ran;
  std::deque<Job> jobs;
  for (int i = 0; i < kPosts; ++i) jobs.emplace_back([&ran, i] { ran.push_back(i); });
  int sent = 0;
  Job* self = nullptr;
  Job sender([&] {
    for (int i = 0; i < 50; ++i) {
      reactor().post_from(other, jobs[static_cast<std::size_t>(sent++)]);
    }
    if (sent < kPosts) other.post(*self);
  });
  self = &sender;
  other.post(sender);
  ASSERT_TRUE(run_both_until([&] { return ran.size() == kPosts; }));
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
}

TEST_P(ReactorConformance, PassesABallBetweenTwoLoops) {
  Reactor& other = rig_->other();
  int passes = 0;
  Job* there = nullptr;
  Job here([&] {
    if (++passes < 1'000) other.post_from(reactor(), *there);
  });
  Job back([&] {
    ++passes;
    reactor().post_from(other, here);
  });
  there = &back;
  reactor().post(here);
  EXPECT_TRUE(run_both_until([&] { return passes >= 1'000; }));
}

// --- somebody else's loop ---

namespace {

/// Everything at once, by wait_fd(), next_deadline() and poll() alone.
bool drive(ReactorRig& rig, const std::function<bool()>& happened) {
  Reactor& reactor = rig.reactor();
  for (int i = 0; i < 200'000 && !happened(); ++i) {
    if (!rig.wait_outside(reactor)) return false;
    reactor.poll();
  }
  return happened();
}

}  // namespace

TEST_P(ReactorConformance, AForeignLoopDrivesPipesConnectionsTimersAndPosts) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  sink.turn_budget = 3'000;
  Source source(reactor(), pipe.writer);
  Listener listener;
  listener.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  reactor().start(listener);
  Connector connector(reactor().local_address(listener.listener).value());
  sink.begin();
  source.write(pattern(500'000));
  reactor().start(connector);
  std::vector<int> fired;
  Alarm first([&] { fired.push_back(1); });
  Alarm second([&] { fired.push_back(2); });
  reactor().arm(second, reactor().clock().now() + milliseconds(4));
  reactor().arm(first, reactor().clock().now() + milliseconds(2));
  bool ran = false;
  Job job([&] { ran = true; });
  reactor().post(job);
  ASSERT_TRUE(drive(*rig_, [&] {
    return ran && fired.size() == 2 && sink.text.size() == 500'000 && connector.calls == 1 &&
           listener.connections.size() == 1;
  }));
  EXPECT_EQ(fired, (std::vector<int>{1, 2}));
  EXPECT_TRUE(sink.text == pattern(500'000));
  reactor().cancel(sink);
  reactor().cancel(listener);
  ASSERT_TRUE(drive(*rig_, [&] { return sink.over && listener.over; }));
  reactor().close(connector.connection);
  reactor().close(listener.connections.at(0));
  reactor().close(listener.listener);
  close(pipe);
}

TEST_P(ReactorConformance, AForeignLoopSeesWhatComesLaterAndFromElsewhere) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  sink.begin();
  settle();
  for (int i = 1; i <= 20; ++i) {
    source.write("x");
    ASSERT_TRUE(drive(*rig_, [&] { return sink.text.size() == static_cast<std::size_t>(i); }));
  }
  // Again and again: the kernel may pass the first of them on, and none that follow.
  int ran = 0;
  std::deque<Job> jobs;
  for (int i = 1; i <= 20; ++i) {
    Job& job = jobs.emplace_back([&] { ++ran; });
    settle();
    rig_->elsewhere({[&] { reactor().post_remote(job); }});
    ASSERT_TRUE(drive(*rig_, [&] { return ran == i; })) << i;
  }
  reactor().cancel(sink);
  ASSERT_TRUE(drive(*rig_, [&] { return sink.over; }));
  close(pipe);
}

TEST_P(ReactorConformance, TellsAForeignLoopWhenTheNextTurnIsDue) {
  settle();
  EXPECT_FALSE(reactor().next_deadline().has_value());
  Alarm alarm([] {});
  const TimePoint when = reactor().clock().now() + std::chrono::seconds(5);
  reactor().arm(alarm, when);
  ASSERT_TRUE(reactor().next_deadline().has_value());
  EXPECT_EQ(*reactor().next_deadline(), when);
  bool ran = false;
  Job job([&] { ran = true; });
  reactor().post(job);
  ASSERT_TRUE(reactor().next_deadline().has_value());
  EXPECT_LE(*reactor().next_deadline(), reactor().clock().now()) << "a runnable waits";
  reactor().poll();
  EXPECT_TRUE(ran);
  settle();
  EXPECT_EQ(*reactor().next_deadline(), when);
  reactor().disarm(alarm);
  EXPECT_FALSE(reactor().next_deadline().has_value());
}

}  // namespace berth::inline v0::io
