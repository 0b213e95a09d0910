// What every engine promises about making connections.
#include "reactor_conformance.h"

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

/// Reads one connection to its end and says what it was.
struct Reader {
  Reader(Reactor& reactor, Handle handle) : sink(reactor, handle) { sink.begin(); }
  Sink sink;
};

}  // namespace

TEST_P(ReactorConformance, ConnectsAndTalks) {
  std::vector<std::string> addresses = {"127.0.0.1:0"};
  if (const std::string folder = rig_->folder(); !folder.empty()) {
    addresses.push_back("unix:" + folder + "/socket");
  }
  for (const std::string& text : addresses) {
    Listener listener;
    listener.listener = reactor().listen(Address{text}).value();
    reactor().start(listener);
    Connector connector(reactor().local_address(listener.listener).value());
    reactor().start(connector);
    EXPECT_EQ(connector.calls, 0) << "called back inside start()";
    ASSERT_TRUE(
        run_until([&] { return connector.calls == 1 && listener.connections.size() == 1; }));
    ASSERT_EQ(connector.error, 0) << text;
    Sink sink(reactor(), listener.connections[0]);
    Source source(reactor(), connector.connection);
    sink.begin();
    source.write(pattern(300'000));
    ASSERT_TRUE(run_until([&] { return source.done && sink.text.size() == 300'000; }));
    EXPECT_EQ(source.error, 0);
    EXPECT_TRUE(sink.text == pattern(300'000));
    reactor().close(connector.connection);
    reactor().cancel(listener);
    ASSERT_TRUE(run_until([&] { return sink.over && listener.over; }));
    EXPECT_EQ(sink.error, 0);
    reactor().close(listener.connections[0]);
    reactor().close(listener.listener);
  }
}

TEST_P(ReactorConformance, TellsAConnectThatNobodyListensFor) {
  const Handle listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  Connector connector(reactor().local_address(listener).value());
  reactor().close(listener);
  reactor().start(connector);
  EXPECT_EQ(connector.calls, 0);
  ASSERT_TRUE(run_until([&] { return connector.calls == 1; }));
  EXPECT_EQ(connector.error, ECONNREFUSED);
  settle();
  EXPECT_EQ(connector.calls, 1);
}

TEST_P(ReactorConformance, TellsAConnectToAnAddressThatMakesNoSenseAndNotInsideStart) {
  for (const char* text : {"", "8420", "nowhere:1", "127.0.0.1:99999", "[::1:5", "unix:"}) {
    Connector connector(Address{text});
    reactor().start(connector);
    EXPECT_EQ(connector.calls, 0) << text;
    ASSERT_TRUE(run_until([&] { return connector.calls == 1; })) << text;
    EXPECT_EQ(connector.error, EINVAL) << text;
  }
}

TEST_P(ReactorConformance, ConnectsFiftyTimesAtOnce) {
  Listener listener;
  listener.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  reactor().start(listener);
  std::deque<Connector> connectors;
  for (int i = 0; i < 50; ++i) {
    connectors.emplace_back(reactor().local_address(listener.listener).value());
    reactor().start(connectors.back());
  }
  ASSERT_TRUE(run_until([&] {
    return listener.connections.size() == 50 &&
           std::all_of(connectors.begin(), connectors.end(),
                       [](const Connector& connector) { return connector.calls == 1; });
  }));
  reactor().cancel(listener);
  ASSERT_TRUE(run_until([&] { return listener.over; }));
  for (const Connector& connector : connectors) {
    EXPECT_EQ(connector.error, 0);
    reactor().close(connector.connection);
  }
  for (const Handle connection : listener.connections) reactor().close(connection);
  reactor().close(listener.listener);
}

// Whoever wins: one last callback, no handle lost, and the listener sees a connection that works or
// one that ends at once or none.
TEST_P(ReactorConformance, EndsACancelledConnectOnceWhoeverWins) {
  Listener listener;
  listener.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
  reactor().start(listener);
  const Address address = reactor().local_address(listener.listener).value();
  std::size_t made = 0;
  for (int turns_before = 0; turns_before < 4; ++turns_before) {
    Connector connector(address);
    reactor().start(connector);
    for (int i = 0; i < turns_before; ++i) reactor().poll();
    reactor().cancel(connector);
    reactor().cancel(connector);
    ASSERT_TRUE(run_until([&] { return connector.calls == 1; })) << turns_before;
    settle();
    EXPECT_EQ(connector.calls, 1);
    if (connector.error == 0) {
      ++made;
      reactor().close(connector.connection);
    } else {
      EXPECT_EQ(connector.error, ECANCELED);
    }
  }
  // One that is let through tells that all before it have arrived by then.
  Connector last(address);
  reactor().start(last);
  ASSERT_TRUE(run_until([&] { return last.calls == 1; }));
  ASSERT_EQ(last.error, 0);
  Source source(reactor(), last.connection);
  source.write("the last");
  ASSERT_TRUE(run_until([&] { return source.done && listener.connections.size() > made; }));
  reactor().close(last.connection);
  std::deque<Reader> readers;
  std::size_t heard = 0;
  ASSERT_TRUE(run_until([&] {
    while (readers.size() < listener.connections.size()) {
      readers.emplace_back(reactor(), listener.connections[readers.size()]);
    }
    heard = 0;
    for (const Reader& reader : readers) heard += reader.sink.text == "the last" ? 1U : 0U;
    return heard == 1 && std::all_of(readers.begin(), readers.end(),
                                     [](const Reader& reader) { return reader.sink.over; });
  }));
  reactor().cancel(listener);
  ASSERT_TRUE(run_until([&] { return listener.over; }));
  for (const Handle connection : listener.connections) {
    const bool was_read = std::any_of(readers.begin(), readers.end(), [&](const Reader& reader) {
      return reader.sink.handle == connection;
    });
    EXPECT_TRUE(was_read);
    reactor().close(connection);
  }
  reactor().close(listener.listener);
}

}  // namespace berth::inline v0::io
