#include <berth/core/slice.h>

#include <gtest/gtest.h>

#include <sys/uio.h>
#include <array>
#include <string>

namespace berth {
namespace {

/// Bytes that note when nobody needs them any more.
class Block final : public SharedBytes {
 public:
  explicit Block(std::string text) : text_(std::move(text)) {}
  Slice all() { return Slice(*this, text_); }
  int unused = 0;

 private:
  void on_unused() override { ++unused; }
  std::string text_;
};

std::string joined(std::span<const iovec> parts) {
  std::string text;
  for (const iovec& part : parts)
    text.append(static_cast<const char*>(part.iov_base), part.iov_len);
  return text;
}

std::string text_of(const SliceChain& chain) {
  std::string text;
  for (std::size_t i = 0; i < chain.slices(); ++i) text += chain[i].bytes();
  return text;
}

TEST(Slice, TheOwnerHearsOfTheLastOneOnly) {
  Block block("hello world");
  {
    Slice whole = block.all();
    Slice world = whole.part(6, 5);
    EXPECT_EQ(world.bytes(), "world");
    EXPECT_EQ(block.slices(), 2U);
    whole = Slice();
    EXPECT_EQ(block.unused, 0);
    Slice copy = world;
    Slice moved = std::move(world);
    EXPECT_TRUE(world.empty());
    EXPECT_EQ(block.slices(), 2U);
    copy = moved;
    EXPECT_EQ(block.slices(), 2U);
  }
  EXPECT_EQ(block.unused, 1);
}

TEST(Slice, AssigningItToItselfKeepsIt) {
  Block block("hello");
  Slice slice = block.all();
  Slice& same = slice;
  slice = same;
  EXPECT_EQ(slice.bytes(), "hello");
  EXPECT_EQ(block.unused, 0);
}

TEST(Slice, ACopyHasItsOwnMemory) {
  std::string text = "copied";
  const Slice slice = Slice::copy_of(text);
  text = "overwritten, and long enough to move";
  EXPECT_EQ(slice.bytes(), "copied");
  EXPECT_TRUE(Slice::copy_of("").empty());
}

TEST(Slice, StaticBytesHaveNoOwner) {
  const std::string_view text = "static";
  Slice slice = Slice::of_static(text);
  EXPECT_EQ(slice.bytes().data(), text.data());
  slice.remove_prefix(3);
  EXPECT_EQ(slice.bytes(), "tic");
}

TEST(SliceDeathTest, APartMustLieInside) {
  const Slice slice = Slice::of_static("abc");
  EXPECT_DEATH(static_cast<void>(slice.part(2, 2)), "bytes_.size");
  EXPECT_DEATH(static_cast<void>(slice.part(4, 0)), "bytes_.size");
}

TEST(SliceDeathTest, BytesMustNotGoBeforeTheirSlices) {
  EXPECT_DEATH(
      {
        Slice slice;
        Block block("x");
        slice = block.all();
      },
      "slices_ == 0");
}

TEST(SliceChain, GathersInOrderWithoutCopying) {
  const std::string_view head = "head";
  SliceChain chain;
  chain.append(Slice::of_static(head));
  chain.append(Slice());
  chain.append(Slice::copy_of("body"));
  EXPECT_EQ(chain.slices(), 2U) << "empty ones are left out";
  EXPECT_EQ(chain.bytes(), 8U);
  std::array<iovec, 4> parts;
  ASSERT_EQ(chain.gather(std::span<iovec>(parts)), 2U);
  EXPECT_EQ(parts[0].iov_base, head.data());
  EXPECT_EQ(joined({parts.data(), 2}), "headbody");
  ASSERT_EQ(chain.gather(std::span<iovec>(parts).first(1)), 1U);
}

TEST(SliceChain, ConsumesWhatWasWrittenAndGivesItBackAtOnce) {
  Block first("abc");
  Block second("defg");
  SliceChain chain;
  chain.append(first.all());
  chain.append(second.all());
  chain.consume(2);
  EXPECT_EQ(text_of(chain), "cdefg");
  EXPECT_EQ(first.unused, 0);
  chain.consume(3);
  EXPECT_EQ(first.unused, 1);
  EXPECT_EQ(text_of(chain), "fg");
  EXPECT_EQ(chain.bytes(), 2U);
  chain.consume(2);
  EXPECT_EQ(second.unused, 1);
  EXPECT_TRUE(chain.empty());
  EXPECT_EQ(chain.slices(), 0U);
}

TEST(SliceChain, GivesBackAtOnceThoughManyAreBehind) {
  Block first("abc");
  SliceChain chain;
  chain.append(first.all());
  for (int i = 0; i < 10; ++i) chain.append(Slice::of_static("rest"));
  chain.consume(3);
  EXPECT_EQ(first.unused, 1);
  EXPECT_EQ(chain.slices(), 10U);
}

TEST(SliceChain, EveryWayToCutTheWritesGivesTheSameBytes) {
  const std::string text = "0123456789abcdefghijklmnopqrstuvwxyz";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    SliceChain chain;
    std::string written;
    std::size_t added = 0;
    while (written.size() < text.size()) {
      const std::size_t size = std::min<std::size_t>(5, text.size() - added);
      chain.append(Slice::copy_of(std::string_view(text).substr(added, size)));
      added += size;
      std::array<iovec, 3> parts;
      const std::size_t count = chain.gather(std::span<iovec>(parts));
      const std::string offered = joined({parts.data(), count});
      const std::size_t taken = std::min(step, offered.size());
      written += offered.substr(0, taken);
      chain.consume(taken);
    }
    ASSERT_EQ(written, text) << "steps of " << step;
    ASSERT_TRUE(chain.empty());
  }
}

TEST(SliceChain, TakesInAnotherChain) {
  Block block("xyz");
  SliceChain first;
  first.append(Slice::of_static("a"));
  SliceChain second;
  second.append(Slice::of_static("b"));
  second.append(block.all());
  second.consume(2);
  first.append(std::move(second));
  EXPECT_EQ(text_of(first), "ayz");
  EXPECT_EQ(block.slices(), 1U);
  EXPECT_TRUE(second.empty());
  first.clear();
  EXPECT_EQ(block.unused, 1);
  EXPECT_EQ(first.bytes(), 0U);
}

}  // namespace
}  // namespace berth
