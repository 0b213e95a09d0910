#include <berth/io/watch.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace berth::io {
namespace {

namespace fs = std::filesystem;

class FolderWatch : public testing::TestWithParam<WatchThread> {
 protected:
  FolderWatch() {
    std::string pattern = fs::temp_directory_path().string() + "/berth-watch-XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    outside_ = fs::canonical(pattern).string();
    root_ = outside_ + "/tree";
    fs::create_directory(root_);
  }
  ~FolderWatch() override { fs::remove_all(outside_); }

  void watch(const WatchLimits& limits = {}) {
    watcher_ = std::move(*make_folder_watcher(limits, GetParam()));
    const Result<void> begun = watcher_->begin(root_);
    ASSERT_TRUE(begun.has_value()) << begun.error().message;
  }
  void write(const std::string& path, const std::string& text = "text") {
    std::ofstream(root_ + "/" + path) << text;
  }
  void make(const std::string& path) { fs::create_directories(root_ + "/" + path); }
  void move(const std::string& from, const std::string& to) {
    fs::rename(root_ + "/" + from, root_ + "/" + to);
  }
  std::set<std::string> taken() {
    const SeenChanges seen = watcher_->take(root_);
    EXPECT_TRUE(seen.complete) << seen.reason;
    return {seen.paths.begin(), seen.paths.end()};
  }
  /// Why the next take() knows nothing.
  std::string trouble() {
    const SeenChanges seen = watcher_->take(root_);
    EXPECT_FALSE(seen.complete);
    EXPECT_TRUE(seen.paths.empty());
    return seen.reason;
  }

  std::string outside_;
  std::string root_;
  std::unique_ptr<FolderWatcher> watcher_;
};

INSTANTIATE_TEST_SUITE_P(Threads, FolderWatch, testing::Values(WatchThread::own, WatchThread::none),
                         [](const auto& info) {
                           return info.param == WatchThread::own ? "OwnThread" : "NoThread";
                         });

using Names = std::set<std::string>;

TEST_P(FolderWatch, NamesWhatWasWrittenMadeRemovedAndChangedInMode) {
  make("deep/er");
  write("kept");
  write("deep/er/old");
  write("script");
  watch();
  EXPECT_EQ(taken(), Names());
  write("kept", "changed");
  write("deep/er/new");
  fs::remove(root_ + "/deep/er/old");
  ::chmod((root_ + "/script").c_str(), 0755);
  fs::create_symlink("kept", root_ + "/link");
  EXPECT_EQ(taken(), (Names{"kept", "deep/er/new", "deep/er/old", "script", "link"}));
  EXPECT_EQ(taken(), Names());
}

TEST_P(FolderWatch, NamesAFileThatIsWrittenAndStaysOpen) {
  write("open");
  watch();
  std::ofstream file(root_ + "/open");
  static_cast<void>(taken());
  file << "changed" << std::flush;
  EXPECT_EQ(taken(), Names{"open"});
}

TEST_P(FolderWatch, NamesItsRootWhenThatChangesItsMode) {
  watch();
  ::chmod(root_.c_str(), 0750);
  EXPECT_EQ(taken(), Names{""});
}

/// For root, whom no mode stops, the folder is one like others.
TEST_P(FolderWatch, LooksIntoAFolderAsSoonAsItMay) {
  make("closed/below");
  ::chmod((root_ + "/closed").c_str(), 0);
  watch();
  ::chmod((root_ + "/closed").c_str(), 0755);
  EXPECT_TRUE(taken().contains("closed"));
  write("closed/below/file");
  EXPECT_EQ(taken(), Names{"closed/below/file"});
}

TEST_P(FolderWatch, NamesAFolderThatWasMadeWithAllInItAndWatchesIt) {
  watch();
  make("a/b/c");
  write("a/b/c/at-once");
  const Names first = taken();
  EXPECT_TRUE(first.contains("a"));
  write("a/b/c/later");
  EXPECT_EQ(taken(), Names{"a/b/c/later"});
}

TEST_P(FolderWatch, FollowsAFolderThatIsMovedBothWays) {
  make("a/b");
  write("a/b/file");
  watch();
  move("a", "z");
  Names moved = taken();
  EXPECT_TRUE(moved.contains("a") && moved.contains("z"));
  write("z/b/file", "changed");
  EXPECT_EQ(taken(), Names{"z/b/file"});
  fs::rename(root_ + "/z", outside_ + "/z");
  EXPECT_EQ(taken(), Names{"z"});
  std::ofstream(outside_ + "/z/b/file") << "nobody watches";
  EXPECT_EQ(taken(), Names());
  fs::rename(outside_ + "/z", root_ + "/back");
  EXPECT_EQ(taken(), Names{"back"});
  write("back/b/file", "again");
  EXPECT_EQ(taken(), Names{"back/b/file"});
}

TEST_P(FolderWatch, TellsFoldersApartThatSwapTheirNames) {
  make("a");
  make("b");
  watch();
  move("a", "t");
  move("b", "a");
  move("t", "b");
  EXPECT_EQ(taken(), (Names{"a", "b", "t"}));
  write("a/one");
  EXPECT_EQ(taken(), Names{"a/one"});
  write("b/two");
  EXPECT_EQ(taken(), Names{"b/two"});
}

TEST_P(FolderWatch, SeesAFolderThatTakesTheNameOfARemovedOne) {
  make("a");
  watch();
  for (int round = 0; round < 20; ++round) {
    fs::remove_all(root_ + "/a");
    make("a/sub");
    write("a/sub/file" + std::to_string(round));
    EXPECT_TRUE(taken().contains("a"));
    write("a/sub/file" + std::to_string(round), "changed");
    EXPECT_EQ(taken(), Names{"a/sub/file" + std::to_string(round)});
    EXPECT_EQ(watcher_->folders(), 3U);
  }
}

TEST_P(FolderWatch, TellsOfAWriteThroughAMappingWhenTheFileIsClosed) {
  write("mapped", std::string(4096, 'x'));
  watch();
  const int fd = ::open((root_ + "/mapped").c_str(), O_RDWR | O_CLOEXEC);
  void* bytes = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  static_cast<char*>(bytes)[0] = 'y';
  ::munmap(bytes, 4096);
  EXPECT_EQ(taken(), Names{"mapped"});
}

TEST_P(FolderWatch, LooksIntoNoGitFolder) {
  make("nested/.git/objects");
  watch();
  const std::size_t folders = watcher_->folders();
  EXPECT_EQ(folders, 2U);
  write("nested/.git/objects/one");
  EXPECT_EQ(taken(), Names());
  make("new");
  static_cast<void>(taken());
  make("new/.git/refs");
  static_cast<void>(taken());
  EXPECT_EQ(watcher_->folders(), 3U);
}

TEST_P(FolderWatch, KnowsNothingWhenItsRootWasMovedOrReplaced) {
  watch();
  fs::rename(root_, outside_ + "/elsewhere");
  fs::create_directory(root_);
  EXPECT_EQ(trouble(), "watch_folder_moved");
  EXPECT_EQ(trouble(), "not_watched");
  ASSERT_TRUE(watcher_->begin(root_).has_value());
  write("file");
  EXPECT_EQ(taken(), Names{"file"});
  // The folder above takes it along, which the folder itself is not told of.
  fs::rename(outside_, outside_ + "-moved");
  fs::create_directories(root_);
  EXPECT_EQ(trouble(), "watch_folder_moved");
  fs::remove_all(outside_ + "-moved");
}

TEST_P(FolderWatch, KnowsNothingWhenItsRootWasAwayForAWhile) {
  watch();
  fs::rename(root_, outside_ + "/elsewhere");
  fs::rename(outside_ + "/elsewhere", root_);
  EXPECT_EQ(trouble(), "watch_folder_moved");
}

TEST_P(FolderWatch, BeginsAnewWithWhatIsAtItsPathNow) {
  watch();
  fs::rename(root_, outside_ + "/elsewhere");
  fs::create_directory(root_);
  ASSERT_TRUE(watcher_->begin(root_).has_value());
  write("file");
  EXPECT_EQ(taken(), Names{"file"});
}

TEST_P(FolderWatch, WatchesAFolderOnceThatWasMovedIntoAnotherTree) {
  make("a");
  watch();
  const std::string second = outside_ + "/second";
  fs::create_directory(second);
  fs::rename(root_ + "/a", second + "/a");
  ASSERT_TRUE(watcher_->begin(second).has_value());
  if (GetParam() == WatchThread::none) EXPECT_EQ(trouble(), "watch_folder_moved");
  std::ofstream(second + "/a/file") << "x";
  EXPECT_EQ(watcher_->take(second).paths, std::vector<std::string>{"a/file"});
}

TEST_P(FolderWatch, WatchesNoFileAndNoLink) {
  watch();
  write("file");
  fs::create_directory_symlink(root_, outside_ + "/link");
  EXPECT_FALSE(watcher_->begin(root_ + "/file").has_value());
  EXPECT_FALSE(watcher_->begin(outside_ + "/link").has_value());
  EXPECT_EQ(watcher_->folders(), 1U);
}

TEST_P(FolderWatch, KnowsNothingOfTooManyPathsAndGoesOnAfterwards) {
  watch({.paths_max = 10});
  for (int i = 0; i < 11; ++i) write("file" + std::to_string(i));
  EXPECT_EQ(trouble(), "watch_too_many_paths");
  write("later");
  EXPECT_EQ(taken(), Names{"later"});
}

TEST_P(FolderWatch, RefusesATreeWithTooManyFoldersAndLosesOneThatGetsThem) {
  make("a/b");
  watch({.tree_folders_max = 4});
  make("a/b/c");
  EXPECT_TRUE(taken().contains("a/b/c"));
  make("a/b/c/d");
  EXPECT_EQ(trouble(), "watch_limit");
  EXPECT_EQ(watcher_->folders(), 0U);
  const Result<void> again = watcher_->begin(root_);
  ASSERT_FALSE(again.has_value());
  EXPECT_STREQ(again.error().code, "watch_tree_limit");
  EXPECT_EQ(watcher_->folders(), 0U);
}

TEST_P(FolderWatch, SharesItsFoldersBetweenTreesAndGivesThemBack) {
  make("a");
  watch({.folders_max = 3});
  const std::string second = outside_ + "/second";
  fs::create_directories(second + "/sub");
  const Result<void> refused = watcher_->begin(second);
  ASSERT_FALSE(refused.has_value());
  EXPECT_STREQ(refused.error().code, "watch_limit");
  watcher_->end(root_);
  ASSERT_TRUE(watcher_->begin(second).has_value());
  std::ofstream(second + "/sub/file") << "x";
  EXPECT_EQ(watcher_->take(second).paths, std::vector<std::string>{"sub/file"});
  EXPECT_EQ(trouble(), "not_watched");
}

TEST(FolderWatchQueue, AnOverflowOfTheKernelIsTold) {
  std::string pattern = fs::temp_directory_path().string() + "/berth-watch-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  std::size_t queue_max = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> queue_max;
  if (queue_max == 0 || queue_max > 100'000) GTEST_SKIP() << "the queue is too long: " << queue_max;
  const auto watcher = std::move(*make_folder_watcher({}, WatchThread::none));
  ASSERT_TRUE(watcher->begin(pattern).has_value());
  // One after the other in turn, or the kernel would take them for the same.
  const std::string files[] = {pattern + "/a", pattern + "/b"};
  for (const std::string& file : files) std::ofstream(file) << "x";
  for (std::size_t i = 0; i < queue_max + 10; ++i) ::chmod(files[i % 2].c_str(), 0600);
  const SeenChanges seen = watcher->take(pattern);
  EXPECT_FALSE(seen.complete);
  EXPECT_EQ(seen.reason, "watch_overflow");
  ASSERT_TRUE(watcher->begin(pattern).has_value());
  ::chmod(files[0].c_str(), 0644);
  EXPECT_EQ(watcher->take(pattern).paths, std::vector<std::string>{"a"});
  fs::remove_all(pattern);
}

}  // namespace
}  // namespace berth::io
