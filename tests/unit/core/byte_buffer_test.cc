#include <berth/core/byte_buffer.h>

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace berth {
namespace {

TEST(ByteBuffer, GrowsAsAStringDoes) {
  ByteBuffer buffer;
  std::string expected;
  EXPECT_TRUE(buffer.empty());
  for (int i = 0; i < 3000; ++i) {
    const std::string part(static_cast<std::size_t>(i % 1700), static_cast<char>('a' + i % 26));
    buffer += part;
    buffer += '.';
    expected += part + '.';
  }
  EXPECT_EQ(buffer.view(), expected);
  EXPECT_EQ(buffer.size(), expected.size());
  EXPECT_GE(buffer.capacity(), buffer.size());
  EXPECT_LE(buffer.capacity(), buffer.size() * 2);
}

TEST(ByteBuffer, TakesBytesInTheMiddle) {
  ByteBuffer buffer("begin end");
  buffer.insert(6, "middle ");
  buffer.insert(0, "");
  buffer.insert(buffer.size(), "!");
  EXPECT_EQ(buffer.view(), "begin middle end!");
  ByteBuffer empty;
  empty.insert(0, "all");
  EXPECT_EQ(empty.view(), "all");
}

TEST(ByteBuffer, IsEmptyOnceItIsMovedAway) {
  ByteBuffer buffer("bytes");
  const ByteBuffer taken = std::move(buffer);
  EXPECT_EQ(taken.view(), "bytes");
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.capacity(), 0U);
  buffer += "more";
  EXPECT_EQ(buffer.view(), "more");
}

TEST(ByteBuffer, GoesOnInTheMemoryOfALine) {
  const std::string line = "head " + std::string(300'000, 'x') + " tail";
  for (const std::string& before : {std::string(), std::string("short"), std::string(900, 'b')}) {
    for (const std::size_t offset : {std::size_t{0}, std::size_t{5}, line.size() - 5}) {
      ByteBuffer buffer(before);
      buffer.append_from(LineBuffer::copy_of(line), offset, line.size() - offset - 1);
      buffer += "}";
      EXPECT_EQ(buffer.view(), before + line.substr(offset, line.size() - offset - 1) + "}");
    }
  }
}

TEST(ByteBuffer, DoesNotCopyALongLine) {
  LineBuffer line = LineBuffer::copy_of(std::string(4'000'000, 'x'));
  const std::size_t capacity = line.capacity();
  ByteBuffer buffer;
  buffer.append_from(std::move(line), 1000, 3'000'000);
  EXPECT_EQ(buffer.capacity(), capacity);
}

}  // namespace
}  // namespace berth
