#include "manual_executor.h"

#include <berth/core/channel.h>
#include <berth/core/prng.h>
#include <berth/core/scope.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace berth {
namespace {

using Words = Channel<std::string>;

Task<void> send(Words* channel, std::string word, StopToken stop, std::string* notes) {
  const std::string name = word;
  Result<void> sent = co_await channel->send(std::move(word), stop);
  *notes += name + (sent.has_value() ? ">" : std::string("!") + sent.error().code) + " ";
}

Task<void> receive(Words* channel, StopToken stop, std::string* notes) {
  std::optional<std::string> word = co_await channel->receive(stop);
  *notes += "<" + word.value_or("nothing") + " ";
}

TEST(Channel, KeepsTheOrderOfSending) {
  ManualExecutor executor;
  Words channel(executor, 2);
  std::string notes;
  Scope scope(executor);
  for (const char* word : {"a", "b"}) scope.spawn(send(&channel, word, {}, &notes));
  EXPECT_EQ(channel.size(), 2U);
  for (int i = 0; i < 2; ++i) scope.spawn(receive(&channel, {}, &notes));
  EXPECT_EQ(notes, "a> b> <a <b ");
}

TEST(Channel, SendWaitsWhileItIsFull) {
  ManualExecutor executor;
  Words channel(executor, 1);
  std::string notes;
  Scope scope(executor);
  for (const char* word : {"a", "b", "c"}) scope.spawn(send(&channel, word, {}, &notes));
  executor.run_all();
  EXPECT_EQ(notes, "a> ");
  scope.spawn(receive(&channel, {}, &notes));
  EXPECT_EQ(notes, "a> <a ");
  executor.run_all();
  EXPECT_EQ(notes, "a> <a b> ");
  EXPECT_EQ(channel.try_receive(), "b");
  EXPECT_EQ(channel.try_receive(), "c") << "it came in when b left, before its sender ran";
  EXPECT_EQ(channel.try_receive(), std::nullopt);
  executor.run_all();
  EXPECT_EQ(notes, "a> <a b> c> ");
}

TEST(Channel, ReceiversAreServedInTheOrderOfAsking) {
  ManualExecutor executor;
  Words channel(executor, 1);
  std::string first;
  std::string second;
  std::string sent;
  Scope scope(executor);
  scope.spawn(receive(&channel, {}, &first));
  scope.spawn(receive(&channel, {}, &second));
  scope.spawn(send(&channel, "a", {}, &sent));
  scope.spawn(send(&channel, "b", {}, &sent));
  EXPECT_EQ(channel.size(), 0U) << "handed over, not stored";
  executor.run_all();
  EXPECT_EQ(first, "<a ");
  EXPECT_EQ(second, "<b ");
}

TEST(Channel, CloseGivesWhatIsLeftAndThenTheEnd) {
  ManualExecutor executor;
  Words channel(executor, 1);
  std::string notes;
  Scope scope(executor);
  scope.spawn(send(&channel, "a", {}, &notes));
  scope.spawn(send(&channel, "b", {}, &notes));
  channel.close();
  executor.run_all();
  EXPECT_EQ(notes, "a> b!channel_closed ");
  notes.clear();
  for (int i = 0; i < 2; ++i) scope.spawn(receive(&channel, {}, &notes));
  scope.spawn(send(&channel, "c", {}, &notes));
  EXPECT_EQ(notes, "<a <nothing c!channel_closed ");
}

TEST(Channel, CloseWakesReceiversThatWait) {
  ManualExecutor executor;
  Words channel(executor, 1);
  std::string notes;
  Scope scope(executor);
  scope.spawn(receive(&channel, {}, &notes));
  scope.spawn(receive(&channel, {}, &notes));
  executor.run_all();
  EXPECT_EQ(notes, "");
  channel.close();
  executor.run_all();
  EXPECT_EQ(notes, "<nothing <nothing ");
}

TEST(Channel, StopEndsAWaitAndLosesNothingOfTheOthers) {
  ManualExecutor executor;
  Words channel(executor, 1);
  StopSource stop;
  std::string notes;
  Scope scope(executor);
  scope.spawn(receive(&channel, stop.token(), &notes));
  stop.request_stop();
  scope.spawn(send(&channel, "a", {}, &notes));
  executor.run_all();
  EXPECT_EQ(notes, "a> <nothing ");
  EXPECT_EQ(channel.size(), 1U) << "what came after the stop stays for others";

  notes.clear();
  StopSource stop_sender;
  scope.spawn(send(&channel, "b", stop_sender.token(), &notes));
  scope.spawn(send(&channel, "c", {}, &notes));
  stop_sender.request_stop();
  EXPECT_EQ(channel.try_receive(), "a");
  EXPECT_EQ(channel.try_receive(), "c");
  executor.run_all();
  EXPECT_EQ(notes, "b!cancelled c> ");
}

TEST(Channel, AValueHandedOverBeforeTheStopIsReceived) {
  ManualExecutor executor;
  Words channel(executor, 1);
  StopSource stop;
  std::string notes;
  Scope scope(executor);
  scope.spawn(receive(&channel, stop.token(), &notes));
  std::string word = "a";
  ASSERT_TRUE(channel.try_send(word));
  stop.request_stop();
  executor.run_all();
  EXPECT_EQ(notes, "<a ");
}

TEST(Channel, TrySendLeavesAValueThatFindsNoRoom) {
  ManualExecutor executor;
  Channel<std::unique_ptr<int>> channel(executor, 1);
  auto one = std::make_unique<int>(1);
  auto two = std::make_unique<int>(2);
  EXPECT_TRUE(channel.try_send(one));
  EXPECT_EQ(one, nullptr);
  EXPECT_FALSE(channel.try_send(two));
  ASSERT_NE(two, nullptr);
  std::optional<std::unique_ptr<int>> got = channel.try_receive();
  EXPECT_EQ(**got, 1);
  channel.close();
  EXPECT_FALSE(channel.try_send(two));
  EXPECT_NE(two, nullptr);
}

Task<void> produce(Channel<int>* channel, int from, int count) {
  for (int i = 0; i < count; ++i) {
    Result<void> sent = co_await channel->send(from + i);
    EXPECT_TRUE(sent.has_value());
  }
}

Task<void> consume(Channel<int>* channel, std::vector<int>* got) {
  for (;;) {
    std::optional<int> value = co_await channel->receive();
    if (!value.has_value()) co_return;
    got->push_back(*value);
  }
}

TEST(Channel, ManySendersAndReceiversLoseAndDoubleNothing) {
  for (const std::size_t capacity : {1U, 3U, 64U}) {
    ManualExecutor executor;
    Channel<int> channel(executor, capacity);
    std::vector<int> got;
    Scope consumers(executor);
    Scope producers(executor);
    for (int i = 0; i < 3; ++i) consumers.spawn(consume(&channel, &got));
    for (int i = 0; i < 4; ++i) producers.spawn(produce(&channel, i * 1000, 1000));
    executor.run_all();
    ASSERT_EQ(producers.size(), 0U);
    channel.close();
    executor.run_all();
    ASSERT_EQ(consumers.size(), 0U);
    ASSERT_EQ(got.size(), 4000U);
    std::sort(got.begin(), got.end());
    for (int i = 0; i < 4000; ++i) ASSERT_EQ(got[static_cast<std::size_t>(i)], i);
  }
}

}  // namespace
}  // namespace berth
