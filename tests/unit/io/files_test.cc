#include <berth/io/files_linux.h>
#include <berth/io/sim_files.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace berth::inline v0::io {
namespace {

class FilesTest : public testing::Test {
 protected:
  FilesTest() {
    char name[] = "/tmp/berth-files-test-XXXXXX";
    folder = ::mkdtemp(name);
  }
  ~FilesTest() override { std::filesystem::remove_all(folder); }

  unsigned mode_of(const std::string& path) {
    struct stat info;
    return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777U : 0;
  }
  std::size_t entries() {
    const std::filesystem::directory_iterator all(folder);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }

  std::string folder;
  LinuxFiles files;
};

TEST_F(FilesTest, ReadsBackWhatWasWritten) {
  const std::string content = std::string("a\0b", 3) + std::string(200'000, 'x');
  ASSERT_TRUE(files.write_atomic(folder + "/f", content, 0600).has_value());
  EXPECT_EQ(files.read(folder + "/f", 1'000'000).value(), content);
}

TEST_F(FilesTest, ReplacesAFileAndGivesItTheMode) {
  const mode_t before = ::umask(077);
  ASSERT_TRUE(files.write_atomic(folder + "/f", "old", 0600).has_value());
  ASSERT_TRUE(files.write_atomic(folder + "/f", "new", 0644).has_value());
  ::umask(before);
  EXPECT_EQ(files.read(folder + "/f", 10).value(), "new");
  EXPECT_EQ(mode_of(folder + "/f"), 0644U);
  EXPECT_EQ(entries(), 1U) << "a temporary file is left";
}

TEST_F(FilesTest, AWriteThatFailsLeavesNothing) {
  ASSERT_TRUE(files.make_directories(folder + "/taken/full", 0700).has_value());
  const Result<void> written = files.write_atomic(folder + "/taken", "text", 0600);
  ASSERT_FALSE(written.has_value());
  EXPECT_NE(written.error().message.find(folder + "/taken"), std::string::npos);
  EXPECT_EQ(entries(), 1U);
}

TEST_F(FilesTest, TellsAbsentFromTooBig) {
  const Result<std::string> absent = files.read(folder + "/none", 10);
  ASSERT_FALSE(absent.has_value());
  EXPECT_EQ(absent.error().kind, ErrorKind::not_found);

  ASSERT_TRUE(files.write_atomic(folder + "/f", "0123456789", 0600).has_value());
  EXPECT_TRUE(files.read(folder + "/f", 10).has_value());
  const Result<std::string> big = files.read(folder + "/f", 9);
  ASSERT_FALSE(big.has_value());
  EXPECT_STREQ(big.error().code, "file_too_big");
}

TEST_F(FilesTest, AnEndlessFileIsTooBig) {
  const Result<std::string> read = files.read("/dev/zero", 1'000'000);
  ASSERT_FALSE(read.has_value());
  EXPECT_STREQ(read.error().code, "file_too_big");
}

TEST_F(FilesTest, MakesFoldersWithTheModeWhateverTheUmask) {
  const mode_t before = ::umask(077);
  const Result<void> made = files.make_directories(folder + "/a/b/c", 0755);
  ::umask(before);
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(mode_of(folder + "/a"), 0755U);
  EXPECT_EQ(mode_of(folder + "/a/b/c"), 0755U);
  EXPECT_TRUE(files.make_directories(folder + "/a/b/c", 0700).has_value());
  EXPECT_EQ(mode_of(folder + "/a/b/c"), 0755U) << "folders that exist stay as they are";
}

TEST_F(FilesTest, AFileInTheWayOfAFolderIsAnError) {
  ASSERT_TRUE(files.write_atomic(folder + "/f", "", 0600).has_value());
  const Result<void> made = files.make_directories(folder + "/f/below", 0700);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().errno_value, ENOTDIR);
}

TEST_F(FilesTest, RemovingTwiceIsFine) {
  ASSERT_TRUE(files.write_atomic(folder + "/f", "", 0600).has_value());
  EXPECT_TRUE(files.exists(folder + "/f"));
  EXPECT_TRUE(files.remove_if_exists(folder + "/f").has_value());
  EXPECT_FALSE(files.exists(folder + "/f"));
  EXPECT_TRUE(files.remove_if_exists(folder + "/f").has_value());
  ASSERT_TRUE(files.make_directories(folder + "/full/empty", 0700).has_value());
  const Result<void> full = files.remove_if_exists(folder + "/full");
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().errno_value, ENOTEMPTY);
  EXPECT_TRUE(files.remove_if_exists(folder + "/full/empty").has_value());
  EXPECT_FALSE(files.exists(folder + "/full/empty"));
}

TEST_F(FilesTest, CanonicalFollowsLinks) {
  ASSERT_TRUE(files.make_directories(folder + "/real", 0700).has_value());
  ASSERT_EQ(::symlink("real", (folder + "/link").c_str()), 0);
  const std::string real = std::filesystem::canonical(folder).string() + "/real";
  EXPECT_EQ(files.canonical(folder + "/x/../link").error().kind, ErrorKind::not_found);
  EXPECT_EQ(files.canonical(folder + "/link/.").value(), real);
}

TEST_F(FilesTest, ASecondLockNamesItsHolder) {
  const std::string path = folder + "/lock";
  {
    LinuxFiles first;
    ASSERT_TRUE(first.lock_exclusively(path).has_value());
    const Result<void> second = files.lock_exclusively(path);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().kind, ErrorKind::conflict);
    EXPECT_EQ(second.error().message, path + " is locked by process " + std::to_string(::getpid()));
  }
  EXPECT_TRUE(files.lock_exclusively(path).has_value());
}

TEST_F(FilesTest, ALockGoesWithItsProcess) {
  const std::string path = folder + "/lock";
  const pid_t holder = ::fork();
  if (holder == 0) {
    LinuxFiles own;
    const bool got = own.lock_exclusively(path).has_value();
    ::_exit(got ? 0 : 1);
  }
  int status = 1;
  ASSERT_EQ(::waitpid(holder, &status, 0), holder);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(files.lock_exclusively(path).has_value());
}

/// The same on the simulated disk: what the two tell a caller may not differ.
void lists_renames_appends_and_removes(Files& files, const std::string& folder) {
  ASSERT_TRUE(files.make_directories(folder + "/d/deep/er", 0700).has_value());
  ASSERT_TRUE(files.append(folder + "/d/log", "one\n", 0600).has_value());
  ASSERT_TRUE(files.append(folder + "/d/log", "two\n", 0600).has_value());
  ASSERT_TRUE(files.write_atomic(folder + "/d/a", "abc", 0600).has_value());
  Result<std::vector<FolderEntry>> listed = files.list(folder + "/d");
  ASSERT_TRUE(listed.has_value());
  ASSERT_EQ(listed->size(), 3U);
  EXPECT_EQ((*listed)[0].name, "a");
  EXPECT_EQ((*listed)[0].bytes, 3U);
  EXPECT_EQ((*listed)[1].name, "deep");
  EXPECT_TRUE((*listed)[1].folder);
  EXPECT_EQ((*listed)[2].bytes, 8U);
  ASSERT_TRUE(files.rename(folder + "/d/a", folder + "/d/log").has_value());
  EXPECT_EQ(files.read(folder + "/d/log", 10).value(), "abc");
  EXPECT_EQ(files.rename(folder + "/d/a", folder + "/d/b").error().kind, ErrorKind::not_found);
  EXPECT_EQ(files.list(folder + "/gone").error().kind, ErrorKind::not_found);
  ASSERT_TRUE(files.remove_all(folder + "/d").has_value());
  EXPECT_FALSE(files.exists(folder + "/d"));
  EXPECT_TRUE(files.remove_all(folder + "/d").has_value());
}

TEST_F(FilesTest, ListsRenamesAppendsAndRemoves) {
  lists_renames_appends_and_removes(files, folder);
}

TEST(SimFiles, ListsRenamesAppendsAndRemoves) {
  SimDisk disk;
  SimFiles files(disk);
  lists_renames_appends_and_removes(files, "/var/x");
}

TEST_F(FilesTest, RemovesALinkAndNotWhatItPointsTo) {
  ASSERT_TRUE(files.make_directories(folder + "/kept", 0700).has_value());
  ASSERT_TRUE(files.write_atomic(folder + "/kept/f", "x", 0600).has_value());
  ASSERT_TRUE(files.make_directories(folder + "/tree", 0700).has_value());
  ASSERT_EQ(::symlink((folder + "/kept").c_str(), (folder + "/tree/link").c_str()), 0);
  ASSERT_TRUE(files.remove_all(folder + "/tree").has_value());
  EXPECT_FALSE(files.exists(folder + "/tree"));
  EXPECT_TRUE(files.exists(folder + "/kept/f"));
}

}  // namespace
}  // namespace berth::inline v0::io
