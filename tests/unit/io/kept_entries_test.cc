#include <berth/io/kept_entries.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace berth::inline v0::io {
namespace {

namespace fs = std::filesystem;

int lowest_free_descriptor() {
  const Fd free(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  return free.get();
}

struct Seen {
  int descriptor = -1;
  std::uint64_t inode = 0;
  bool is_folder = false;
};

class KeptEntriesTest : public testing::Test {
 protected:
  KeptEntriesTest() {
    std::string name = fs::temp_directory_path() / "berth-kept-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~KeptEntriesTest() override { fs::remove_all(path_); }

  void put(const std::string& name) { std::ofstream(path_ / name) << "text"; }
  std::map<std::string, Seen> look() {
    std::map<std::string, Seen> seen;
    entries_.begin();
    const Fd folder(::open(path_.c_str(), O_PATH | O_CLOEXEC));
    const auto visit = [&seen](const std::string& name, int opened, bool is_folder) {
      struct stat info = {};
      EXPECT_EQ(::fstat(opened, &info), 0);
      seen[name] = {opened, info.st_ino, is_folder};
      return Result<void>();
    };
    EXPECT_TRUE(entries_.each(folder.get(), path_, visit).has_value());
    return seen;
  }
  std::uint64_t inode_of(const std::string& name) const {
    struct stat info = {};
    EXPECT_EQ(::stat((path_ / name).c_str(), &info), 0);
    return info.st_ino;
  }

  fs::path path_;
  KeptEntries entries_;
};

TEST_F(KeptEntriesTest, OpensAFolderOnceAndKeepsNoFile) {
  put("file");
  fs::create_directory(path_ / "folder");
  fs::create_directory(path_ / "other");
  fs::create_symlink("folder", path_ / "link");
  const std::map<std::string, Seen> first = look();
  EXPECT_EQ(entries_.kept(), 2U);  // the space of a file would not be freed
  const std::map<std::string, Seen> second = look();
  ASSERT_EQ(second.size(), 3U);
  EXPECT_FALSE(second.at("file").is_folder);
  for (const auto& [name, seen] : second) EXPECT_EQ(seen.inode, inode_of(name));
  for (const char* name : {"folder", "other"}) {
    EXPECT_TRUE(second.at(name).is_folder);
    EXPECT_EQ(second.at(name).descriptor, first.at(name).descriptor);
  }
  EXPECT_NE(second.at("folder").descriptor, second.at("other").descriptor);
}

TEST_F(KeptEntriesTest, ANameThatSomethingElseHasNowIsOpenedAnew) {
  fs::create_directory(path_ / "folder");
  fs::create_directory(path_ / "other");
  look();
  fs::rename(path_ / "other", path_ / "folder");
  const std::map<std::string, Seen> replaced = look();
  ASSERT_EQ(replaced.size(), 1U);
  EXPECT_EQ(replaced.at("folder").inode, inode_of("folder"));
  // What was there is open still, so that its number is not given to the next one.
  for (int i = 0; i < 100; ++i) {
    fs::remove(path_ / "folder");
    fs::create_directory(path_ / "folder");
    EXPECT_EQ(look().at("folder").inode, inode_of("folder")) << i;
  }
  fs::remove(path_ / "folder");
  put("folder");
  EXPECT_FALSE(look().at("folder").is_folder);
  EXPECT_EQ(entries_.kept(), 0U);
}

TEST_F(KeptEntriesTest, WhatBecameALinkIsNotThereAnyMore) {
  fs::create_directory(path_ / "folder");
  look();
  fs::remove(path_ / "folder");
  fs::create_symlink("/", path_ / "folder");
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(entries_.kept(), 0U);
}

TEST_F(KeptEntriesTest, KeepsNoMoreThanItsBoundAndShowsAll) {
  const std::size_t many = KeptEntries::kKeptMax + 100;
  for (std::size_t i = 0; i < many; ++i) fs::create_directory(path_ / std::to_string(i));
  EXPECT_EQ(look().size(), many);
  EXPECT_EQ(entries_.kept(), KeptEntries::kKeptMax);
  EXPECT_EQ(look().size(), many);
  for (std::size_t i = 0; i < many; ++i) fs::remove(path_ / std::to_string(i));
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(entries_.kept(), 0U);
}

TEST_F(KeptEntriesTest, ForgetsAFolderThatNobodyLooksAtAnyMore) {
  fs::create_directory(path_ / "folder");
  look();
  for (int i = 0; i < 100; ++i) entries_.begin();
  EXPECT_EQ(entries_.kept(), 0U);
}

TEST_F(KeptEntriesTest, SaysWhenThereAreNoDescriptorsLeft) {
  put("file");
  entries_.begin();
  const Fd folder(::open(path_.c_str(), O_PATH | O_CLOEXEC));
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // Room for one more: the listing, and not for the entry.
  const rlimit tight = {static_cast<rlim_t>(lowest_free_descriptor() + 1), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const auto visit = [](const std::string&, int, bool) { return Result<void>(); };
  const Result<void> looked = entries_.each(folder.get(), path_, visit);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(looked.has_value());
  EXPECT_NE(looked.error().message.find("file"), std::string::npos) << looked.error().message;
}

TEST_F(KeptEntriesTest, AFolderThatIsLookedIntoDuringALookIsNoTrouble) {
  fs::create_directory(path_ / "folder");
  put("folder/inside");
  put("file");
  for (int i = 0; i < 2; ++i) {
    entries_.begin();
    std::vector<std::string> names;
    const auto visit_inside = [&](const std::string& name, int, bool) {
      names.push_back("folder/" + name);
      return Result<void>();
    };
    const auto visit = [&](const std::string& name, int opened, bool is_folder) {
      names.push_back(name);
      return is_folder ? entries_.each(opened, path_ / "folder", visit_inside) : Result<void>();
    };
    const Fd folder(::open(path_.c_str(), O_PATH | O_CLOEXEC));
    ASSERT_TRUE(entries_.each(folder.get(), path_, visit).has_value());
    std::sort(names.begin(), names.end());
    EXPECT_EQ(names, (std::vector<std::string>{"file", "folder", "folder/inside"}));
    EXPECT_EQ(entries_.kept(), 1U);
  }
}

TEST_F(KeptEntriesTest, SeesWhatIsMountedOverAnEntry) {
  fs::create_directory(path_ / "folder");
  std::string reason;
  // In a thread with mounts of its own, which end with it.
  std::thread([&] {
    if (::unshare(CLONE_NEWNS | CLONE_FS) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      reason = "no mounts of its own here: this needs CAP_SYS_ADMIN";
      return;
    }
    const std::uint64_t bare = look().at("folder").inode;
    ASSERT_EQ(::mount("tmpfs", (path_ / "folder").c_str(), "tmpfs", 0, nullptr), 0);
    const Seen mounted = look().at("folder");
    EXPECT_EQ(mounted.inode, inode_of("folder"));
    EXPECT_NE(mounted.inode, bare);
    EXPECT_EQ(entries_.kept(), 0U);  // else it could not be unmounted
    ASSERT_EQ(::umount((path_ / "folder").c_str()), 0);
    EXPECT_EQ(look().at("folder").inode, bare);
  }).join();
  if (!reason.empty()) GTEST_SKIP() << reason;
}

}  // namespace
}  // namespace berth::inline v0::io
