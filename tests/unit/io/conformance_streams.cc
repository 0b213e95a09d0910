// What every engine promises about byte streams, which stand on its reads and writes.
#include "reactor_conformance.h"

#include <berth/core/sync.h>
#include <berth/io/stream.h>

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

using Stream = std::unique_ptr<ByteStream>;

Task<void> read_to_end(ByteStream& stream, std::string* text, Result<void>* outcome) {
  for (;;) {
    Result<std::string_view> bytes = co_await stream.read();
    if (!bytes.has_value()) {
      *outcome = fail(bytes.error());
      co_return;
    }
    if (bytes->empty()) co_return;
    text->append(*bytes);
  }
}

Task<void> write_and_shut(ByteStream& stream, std::string text, Result<void>* outcome) {
  *outcome = co_await stream.write(text);
  stream.shutdown_write();
}

Task<void> write_only(ByteStream& stream, std::string text, Result<void>* outcome) {
  *outcome = co_await stream.write(text);
}

Task<void> close_both(ByteStream* first, ByteStream* second) {
  if (first != nullptr) co_await first->close();
  if (second != nullptr) co_await second->close();
}

Task<void> exchange(Executor& executor, ByteStream& client, ByteStream& server, std::string up,
                    std::string down, std::string* at_server, std::string* at_client) {
  Result<void> outcomes[4];
  Scope scope(executor);
  scope.spawn(write_and_shut(client, std::move(up), &outcomes[0]));
  scope.spawn(write_and_shut(server, std::move(down), &outcomes[1]));
  scope.spawn(read_to_end(server, at_server, &outcomes[2]));
  scope.spawn(read_to_end(client, at_client, &outcomes[3]));
  co_await scope.join();
  for (const Result<void>& outcome : outcomes) EXPECT_TRUE(outcome.has_value());
}

}  // namespace

TEST_P(ReactorConformance, StreamsBothWaysAndClose) {
  auto [client_handle, server_handle] = make_connection();
  const Stream client = make_stream(reactor(), client_handle);
  const Stream server = make_stream(reactor(), server_handle, StreamLimits{1'000});
  const std::string up = pattern(300'000, 1);
  const std::string down = pattern(200'000, 2);
  std::string at_server;
  std::string at_client;
  run_task(exchange(reactor(), *client, *server, up, down, &at_server, &at_client));
  EXPECT_TRUE(at_server == up);
  EXPECT_TRUE(at_client == down);
  run_task(close_both(client.get(), server.get()));
  run_task(close_both(client.get(), server.get()));  // idempotent
}

TEST_P(ReactorConformance, AStreamReadsAheadNoMoreThanItsInbox) {
  PipeEnds pipe = make_pipe();
  const Stream stream = make_stream(reactor(), pipe.reader, StreamLimits{5'000});
  Source source(reactor(), pipe.writer);
  std::string first;
  const auto read_once = [](ByteStream& from, std::string* into) -> Task<void> {
    Result<std::string_view> bytes = co_await from.read();
    EXPECT_TRUE(bytes.has_value());
    if (bytes.has_value()) *into = *bytes;
  };
  source.write("begin");
  run_task(read_once(*stream, &first));
  source.after_write = nullptr;
  ASSERT_TRUE(run_until([&] { return source.done; }));
  source.write(pattern(40'000));
  ASSERT_TRUE(run_until([&] { return source.done; }));
  settle();
  std::string second;
  run_task(read_once(*stream, &second));
  EXPECT_LE(second.size(), 5'000U);
  EXPECT_GT(second.size(), 0U);
  std::string rest;
  Result<void> outcome;
  reactor().close(std::exchange(pipe.writer, kNoHandle));
  run_task(read_to_end(*stream, &rest, &outcome));
  EXPECT_TRUE(first + second + rest == "begin" + pattern(40'000));
  run_task(close_both(stream.get(), nullptr));
}

TEST_P(ReactorConformance, AStreamsEndStaysItsEnd) {
  PipeEnds pipe = make_pipe();
  const Stream stream = make_stream(reactor(), pipe.reader);
  reactor().close(pipe.writer);
  std::string text;
  Result<void> outcome;
  run_task(read_to_end(*stream, &text, &outcome));
  run_task(read_to_end(*stream, &text, &outcome));
  EXPECT_TRUE(outcome.has_value());
  EXPECT_EQ(text, "");
  run_task(close_both(stream.get(), nullptr));
}

TEST_P(ReactorConformance, CancelReadEndsAPendingReadAndLaterOnes) {
  PipeEnds pipe = make_pipe();
  const Stream stream = make_stream(reactor(), pipe.reader);
  std::string text;
  Result<void> outcome;
  Scope scope(reactor());
  scope.spawn(read_to_end(*stream, &text, &outcome));
  settle();
  EXPECT_EQ(scope.size(), 1U);
  stream->cancel_read();
  EXPECT_EQ(scope.size(), 1U) << "resumed inside cancel_read()";
  ASSERT_TRUE(run_until([&] { return scope.size() == 0; }));
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().kind, ErrorKind::cancelled);
  outcome = Result<void>();
  run_task(read_to_end(*stream, &text, &outcome));
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().kind, ErrorKind::cancelled);
  run_task(close_both(stream.get(), nullptr));
  reactor().close(pipe.writer);
}

TEST_P(ReactorConformance, ClosingAStreamEndsItsPendingReadAndWrite) {
  auto [client_handle, server_handle] = make_connection();
  const Stream client = make_stream(reactor(), client_handle);
  std::string text;
  Result<void> read_outcome;
  Result<void> write_outcome;
  Scope scope(reactor());
  scope.spawn(read_to_end(*client, &text, &read_outcome));
  scope.spawn(write_only(*client, pattern(30'000'000), &write_outcome));
  settle();
  EXPECT_EQ(scope.size(), 2U);
  scope.spawn(close_both(client.get(), nullptr));
  ASSERT_TRUE(run_until([&] { return scope.size() == 0; }));
  ASSERT_FALSE(read_outcome.has_value());
  EXPECT_EQ(read_outcome.error().kind, ErrorKind::cancelled);
  ASSERT_FALSE(write_outcome.has_value());
  EXPECT_EQ(write_outcome.error().kind, ErrorKind::cancelled);
  reactor().close(server_handle);
}

TEST_P(ReactorConformance, AStreamOverTwoPipesReadsOneAndWritesTheOther) {
  PipeEnds to_us = make_pipe();
  PipeEnds from_us = make_pipe();
  const Stream stream = make_duplex_stream(reactor(), to_us.reader, from_us.writer);
  Source source(reactor(), to_us.writer);
  Sink sink(reactor(), from_us.reader);
  sink.begin();
  Result<void> outcome = fail(ErrorKind::internal, "unset", "");
  run_task(write_only(*stream, "ping", &outcome));
  EXPECT_TRUE(outcome.has_value());
  EXPECT_TRUE(run_until([&] { return sink.text == "ping"; }));
  source.write("pong");
  ASSERT_TRUE(run_until([&] { return source.done; }));
  reactor().close(to_us.writer);
  std::string text;
  run_task(read_to_end(*stream, &text, &outcome));
  EXPECT_EQ(text, "pong");
  run_task(close_both(stream.get(), nullptr));
  ASSERT_TRUE(run_until([&] { return sink.over; })) << "close() closes both handles";
  reactor().close(from_us.reader);
}

TEST_P(ReactorConformance, ShuttingDownAStreamOverTwoPipesEndsTheOneAndLeavesTheOther) {
  PipeEnds to_us = make_pipe();
  PipeEnds from_us = make_pipe();
  const Stream stream = make_duplex_stream(reactor(), to_us.reader, from_us.writer);
  Source source(reactor(), to_us.writer);
  Sink sink(reactor(), from_us.reader);
  sink.begin();
  Result<void> outcome;
  run_task(write_and_shut(*stream, "the last", &outcome));
  EXPECT_TRUE(outcome.has_value());
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  EXPECT_EQ(sink.text, "the last");
  run_task(write_only(*stream, "too late", &outcome));
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().kind, ErrorKind::cancelled);
  source.write("still heard");
  ASSERT_TRUE(run_until([&] { return source.done; }));
  reactor().close(to_us.writer);
  std::string text;
  outcome = Result<void>();
  run_task(read_to_end(*stream, &text, &outcome));
  EXPECT_EQ(text, "still heard");
  run_task(close_both(stream.get(), nullptr));
  reactor().close(from_us.reader);
}

TEST_P(ReactorConformance, AStreamThatWasNeverUsedMayJustBeDropped) {
  PipeEnds pipe = make_pipe();
  {
    const Stream stream = make_stream(reactor(), pipe.reader);
  }
  reactor().close(pipe.writer);
}

TEST_P(ReactorConformance, AWriteToAStreamThatNobodyReadsIsUnavailable) {
  PipeEnds pipe = make_pipe();
  const Stream stream = make_stream(reactor(), pipe.writer);
  reactor().close(pipe.reader);
  Result<void> outcome;
  run_task(write_only(*stream, "hello?", &outcome));
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().kind, ErrorKind::unavailable);
  run_task(close_both(stream.get(), nullptr));
}

}  // namespace berth::inline v0::io
