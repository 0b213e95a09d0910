// What every engine promises about sockets and polls.
#include "reactor_conformance.h"

#include <berth/core/prng.h>

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

TEST_P(ReactorConformance, AcceptsConnectionsUntilCancelled) {
  Listener listener;
  listener.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  reactor().start(listener);
  const Address address = reactor().local_address(listener.listener).value();
  EXPECT_FALSE(address.text.ends_with(":0")) << address.text;
  std::vector<Handle> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(connect_to(reactor(), address));
  ASSERT_TRUE(run_until([&] { return listener.connections.size() == 50; }));
  EXPECT_FALSE(listener.over);
  reactor().cancel(listener);
  reactor().cancel(listener);
  ASSERT_TRUE(run_until([&] { return listener.over; }));
  EXPECT_EQ(listener.error, ECANCELED);
  for (const Handle client : clients) reactor().close(client);
  for (const Handle connection : listener.connections) reactor().close(connection);
  reactor().close(listener.listener);
}

TEST_P(ReactorConformance, LeavesLaterConnectionsToTheNextAcceptAfterACancelledOne) {
  Listener first;
  first.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  const Address address = reactor().local_address(first.listener).value();
  reactor().start(first);
  std::vector<Handle> clients = {connect_to(reactor(), address)};
  ASSERT_TRUE(run_until([&] { return first.connections.size() == 1; }));
  reactor().cancel(first);
  ASSERT_TRUE(run_until([&] { return first.over; }));
  clients.push_back(connect_to(reactor(), address));
  settle();
  EXPECT_EQ(first.connections.size(), 1U);
  Listener second;
  second.listener = first.listener;
  reactor().start(second);
  ASSERT_TRUE(run_until([&] { return second.connections.size() == 1; }));
  reactor().cancel(second);
  ASSERT_TRUE(run_until([&] { return second.over; }));
  for (const Handle client : clients) reactor().close(client);
  for (const Handle connection : {first.connections.at(0), second.connections.at(0)}) {
    reactor().close(connection);
  }
  reactor().close(first.listener);
}

TEST_P(ReactorConformance, TalksBothWaysOverAConnection) {
  auto [client, server] = make_connection();
  Sink at_server(reactor(), server);
  Sink at_client(reactor(), client);
  Source from_client(reactor(), client);
  Source from_server(reactor(), server);
  at_server.begin();
  at_client.begin();
  const std::string up = pattern(700'000, 1);
  const std::string down = pattern(900'000, 2);
  from_client.write(up);
  from_server.write(down);
  ASSERT_TRUE(run_until(
      [&] { return at_server.text.size() == up.size() && at_client.text.size() == down.size(); }));
  EXPECT_TRUE(at_server.text == up);
  EXPECT_TRUE(at_client.text == down);
  reactor().cancel(at_server);
  reactor().cancel(at_client);
  ASSERT_TRUE(run_until([&] { return at_server.over && at_client.over; }));
  reactor().close(client);
  reactor().close(server);
}

TEST_P(ReactorConformance, HalfClosesAConnection) {
  auto [client, server] = make_connection();
  Sink at_server(reactor(), server);
  Sink at_client(reactor(), client);
  Source from_client(reactor(), client);
  Source from_server(reactor(), server);
  at_server.begin();
  at_client.begin();
  from_client.write("that is all");
  ASSERT_TRUE(run_until([&] { return from_client.done; }));
  reactor().shutdown_write(client);
  ASSERT_TRUE(run_until([&] { return at_server.over; }));
  EXPECT_EQ(at_server.text, "that is all");
  EXPECT_EQ(at_server.error, 0);
  from_server.write("an answer");
  EXPECT_TRUE(run_until([&] { return at_client.text == "an answer"; }));
  reactor().close(server);
  ASSERT_TRUE(run_until([&] { return at_client.over; }));
  EXPECT_EQ(at_client.error, 0);
  reactor().close(client);
}

TEST_P(ReactorConformance, RefusesAddressesThatMakeNoSense) {
  for (const char* text : {"", "8420", "nowhere:1", "127.0.0.1", "127.0.0.1:99999", "[::1:5"}) {
    Result<Handle> listener = reactor().listen(Address{text});
    ASSERT_FALSE(listener.has_value()) << text;
    EXPECT_EQ(listener.error().kind, ErrorKind::invalid) << text;
  }
}

TEST_P(ReactorConformance, RefusesAnAddressThatIsTaken) {
  const Handle first = reactor().listen(Address{"127.0.0.1:0"}).value();
  Result<Handle> second = reactor().listen(reactor().local_address(first).value());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::conflict);
  reactor().close(first);
}

TEST_P(ReactorConformance, PollsAHandleOnce) {
  PipeEnds pipe = make_pipe();
  Source source(reactor(), pipe.writer);
  Waiter waiter;
  waiter.handle = pipe.reader;
  reactor().start(waiter);
  settle();
  EXPECT_EQ(waiter.calls, 0);
  source.write("x");
  ASSERT_TRUE(run_until([&] { return waiter.calls > 0 && source.done; }));
  settle();
  EXPECT_EQ(waiter.calls, 1);
  EXPECT_EQ(waiter.error, 0);
  reactor().start(waiter);  // it is still readable
  ASSERT_TRUE(run_until([&] { return waiter.calls == 2; }));
  EXPECT_EQ(waiter.error, 0);
  close(pipe);
}

TEST_P(ReactorConformance, EndsACancelledPollOnce) {
  PipeEnds pipe = make_pipe();
  Waiter waiter;
  waiter.handle = pipe.reader;
  reactor().start(waiter);
  settle();
  reactor().cancel(waiter);
  reactor().cancel(waiter);
  ASSERT_TRUE(run_until([&] { return waiter.calls > 0; }));
  settle();
  EXPECT_EQ(waiter.calls, 1);
  EXPECT_EQ(waiter.error, ECANCELED);
  close(pipe);
}

}  // namespace berth::inline v0::io
