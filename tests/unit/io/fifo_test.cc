#include <berth/io/fifo.h>
#include <berth/io/platform_linux.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace berth::io {
namespace {

class FifoTest : public testing::Test {
 protected:
  FifoTest() {
    char name[] = "/tmp/berth-fifo-XXXXXX";
    folder_ = ::mkdtemp(name);
    Result<std::unique_ptr<Platform>> made = make_linux_platform(log_, {});
    if (made.has_value()) platform_ = std::move(*made);
  }
  ~FifoTest() override {
    fifo_.reset();
    platform_.reset();
    std::filesystem::remove_all(folder_);
  }
  std::string path() const { return folder_ + "/fifo"; }
  std::string file() const { return folder_ + "/file"; }
  void open() {
    Result<std::unique_ptr<Fifo>> opened = Fifo::open(platform_->reactor(), path());
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    fifo_ = std::move(*opened);
  }
  Fd writer() const { return Fd(::open(path().c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)); }
  static void write(const Fd& to, std::string_view text) {
    ASSERT_EQ(::write(to.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string in_file() const {
    std::ifstream in(file());
    return {std::istreambuf_iterator<char>(in), {}};
  }

  NullLog log_;
  std::string folder_;
  std::unique_ptr<Platform> platform_;
  std::unique_ptr<Fifo> fifo_;
};

TEST_F(FifoTest, WhatIsTakenStandsInTheFileBehindWhatWasThere) {
  open();
  ASSERT_TRUE(fifo_->hold().has_value());
  struct stat status = {};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_TRUE(S_ISFIFO(status.st_mode));
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  write(writer(), "one");
  Result<Fifo::Taken> taken = fifo_->take(file(), 0, 1 << 20);
  ASSERT_TRUE(taken.has_value()) << taken.error().message;
  EXPECT_EQ(taken->text, "one");
  EXPECT_FALSE(taken->over);
  write(writer(), "two");
  taken = fifo_->take(file(), 3, 1 << 20);
  EXPECT_EQ(taken->text, "two");
  EXPECT_EQ(in_file(), "onetwo");
  EXPECT_EQ(fifo_->take(file(), 6, 1 << 20)->text, "");
}

TEST_F(FifoTest, WritersComeAndGoAndNothingIsLostBetweenThem) {
  open();
  ASSERT_TRUE(fifo_->hold().has_value());
  std::string all;
  for (int i = 0; i < 100; ++i) {
    write(writer(), std::to_string(i) + " ");
    all += std::to_string(i) + " ";
  }
  EXPECT_EQ(fifo_->take(file(), 0, 1 << 20)->text, all);
}

TEST_F(FifoTest, IsOverWhenNobodyElseHasItOpen) {
  open();
  EXPECT_TRUE(fifo_->take(file(), 0, 1)->over) << "nobody has it open";
  Fd one = writer();
  EXPECT_FALSE(fifo_->take(file(), 0, 1)->over);
  ASSERT_TRUE(fifo_->hold().has_value());
  write(one, "last words");
  fifo_->let_writers_end();
  Result<Fifo::Taken> taken = fifo_->take(file(), 0, 1 << 20);
  EXPECT_EQ(taken->text, "last words");
  EXPECT_FALSE(taken->over);
  one.reset();
  EXPECT_TRUE(fifo_->take(file(), 10, 1 << 20)->over);
}

TEST_F(FifoTest, ARenewedOneLeavesTheOldToThoseWhoHaveIt) {
  open();
  ASSERT_TRUE(fifo_->hold().has_value());
  const Fd before = writer();
  ASSERT_TRUE(Fifo::renew(path()).has_value());
  EXPECT_FALSE(writer().valid()) << "nobody reads the new one";
  EXPECT_EQ(errno, ENXIO);
  write(before, "late");
  EXPECT_EQ(fifo_->take(file(), 0, 1 << 20)->text, "late");
}

TEST_F(FifoTest, RefusesWhatIsNoFifo) {
  std::ofstream(path()) << "a file";
  const Result<std::unique_ptr<Fifo>> opened = Fifo::open(platform_->reactor(), path());
  ASSERT_FALSE(opened.has_value());
  EXPECT_STREQ(opened.error().code, "not_a_fifo");
}

TEST_F(FifoTest, AFileThatCannotBeMadeLeavesAllInThePipe) {
  open();
  ASSERT_TRUE(fifo_->hold().has_value());
  write(writer(), "kept");
  EXPECT_FALSE(fifo_->take("/dev/full/none", 0, 1 << 20).has_value());
  EXPECT_EQ(fifo_->take(file(), 0, 1 << 20)->text, "kept");
}

}  // namespace
}  // namespace berth::io
