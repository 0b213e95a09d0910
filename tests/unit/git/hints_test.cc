#include "temp_repository.h"

#include <berth/git/folder_scan.h>
#include <berth/git/index_entries.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <ctime>

namespace berth::git::test {
namespace {

/// Snapshots that look only at what notifications named since the one before.
class HintedSnapshots : public GitTest {
 protected:
  void SetUp() override { create(); }

  /// With all files when `since` is empty.
  Snapshot take(const std::string& name, const std::string& since, std::uint64_t file_bytes_max) {
    SnapshotRequest request{.worktree = ref(), .name = name, .private_index = index(), .time_s = 1};
    request.file_bytes_max = file_bytes_max;
    if (!since.empty()) {
      request.hints = {.complete = true, .only_since_snapshot = true, .since = since, .paths = {}};
    }
    Result<Snapshot> taken = take_snapshot(request);
    EXPECT_TRUE(taken) << (taken ? "" : taken.error().message);
    return taken.value_or(Snapshot{});
  }
  bool has(const Snapshot& taken, const std::string& path) {
    return git("ls-tree -r --name-only " + taken.tree).find(path + "\n") != std::string::npos;
  }
};

constexpr std::uint64_t kAny = 1'000'000;

TEST_F(HintedSnapshots, LookAtAllFilesWhenRulesOutsideOfTheWorktreeChanged) {
  write(tree() + "/note.tmp", "untracked\n");
  const Snapshot first = take("1", "", kAny);
  EXPECT_TRUE(has(first, "note.tmp"));
  const Snapshot same = take("2", first.tree, kAny);
  EXPECT_FALSE(same.scan.full);
  write(repo() + "/.git/info/exclude", "*.tmp\n");
  const Snapshot second = take("3", same.tree, kAny);
  EXPECT_TRUE(second.scan.full);
  EXPECT_EQ(second.scan.reason, "rules_changed");
  EXPECT_FALSE(has(second, "note.tmp"));
}

TEST_F(HintedSnapshots, LookAgainAtWhatWasLeftOut) {
  write(tree() + "/large", std::string(2000, 'x'));
  const Snapshot first = take("1", "", 1000);
  EXPECT_FALSE(has(first, "large"));
  const Snapshot second = take("2", first.tree, kAny);
  EXPECT_FALSE(second.scan.full);
  EXPECT_TRUE(has(second, "large"));
}

TEST_F(HintedSnapshots, HoldWhatWasForcedIntoTheIndexWithoutATouch) {
  write(tree() + "/x.log", "ignored, until somebody adds it\n");
  const Snapshot first = take("1", "", kAny);
  EXPECT_FALSE(has(first, "x.log"));
  in_tree("add -f x.log");
  const Snapshot second = take("2", first.tree, kAny);
  EXPECT_FALSE(second.scan.full);
  EXPECT_TRUE(has(second, "x.log"));
}

TEST_F(HintedSnapshots, SeeACommitInARepositoryInsideWhoseFilesNobodyNames) {
  sh(tree(), "git init -q inner && cd inner && git commit -q --allow-empty -m one");
  const Snapshot first = take("1", "", kAny);
  EXPECT_EQ(git("rev-parse " + first.tree + ":inner"), sh(tree() + "/inner", "git rev-parse HEAD"));
  sh(tree() + "/inner", "git commit -q --allow-empty -m two");
  const Snapshot second = take("2", first.tree, kAny);
  EXPECT_FALSE(second.scan.full);
  EXPECT_EQ(git("rev-parse " + second.tree + ":inner"),
            sh(tree() + "/inner", "git rev-parse HEAD"));
}

// Two writes of one size within a tick of the clock leave the same times.
TEST_F(HintedSnapshots, RememberNoTimesOfAFileThatMayChangeUnseen) {
  write(tree() + "/old", "AAAA\n");
  write(tree() + "/young", "AAAA\n");
  const std::time_t now = std::time(nullptr);
  const timespec past[2] = {{.tv_sec = now - 1000, .tv_nsec = 1}, {.tv_sec = now - 1000}};
  const timespec future[2] = {{.tv_sec = now + 1000, .tv_nsec = 1}, {.tv_sec = now + 1000}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (tree() + "/old").c_str(), past, 0), 0);
  ASSERT_EQ(::utimensat(AT_FDCWD, (tree() + "/young").c_str(), future, 0), 0);
  for (int i = 0; i < 40; ++i) write(tree() + "/many/" + std::to_string(i), "so that it is saved");
  take("1", "", kAny);
  Result<detail::IndexFile> remembered = detail::IndexFile::open(index());
  ASSERT_TRUE(remembered) << remembered.error().message;
  const detail::IndexEntry* old = detail::find_entry(remembered->entries(), "old");
  const detail::IndexEntry* young = detail::find_entry(remembered->entries(), "young");
  ASSERT_TRUE(old != nullptr && young != nullptr);
  EXPECT_FALSE(old->stat == detail::StatData{});
  EXPECT_TRUE(young->stat == detail::StatData{});
}

TEST_F(HintedSnapshots, AFileAsYoungAsTheIndexIsReadWhateverItsTimesSay) {
  write(tree() + "/only/file", "AAAA\n");
  struct stat st{};
  ASSERT_EQ(::lstat((tree() + "/only/file").c_str(), &st), 0);
  detail::IndexEntry entry;
  entry.path = "only/file";
  entry.stat = detail::StatData::of(st);
  entry.mode = 0100644;
  const std::vector<detail::IndexEntry> entries = {entry};
  const std::vector<char> tracked = {1};
  const Patience patience;
  for (const std::uint32_t after : {0U, 1U}) {
    const detail::ScanRequest request{.root = tree(),
                                      .entries = entries,
                                      .tracked = tracked,
                                      .young_s = entry.stat.mtime_s + after,
                                      .patience = patience};
    std::vector<char> found(1, 0);
    Result<detail::ScanFindings> findings =
        detail::scan_folders(request, {.folder = "only/", .rules = {}}, found);
    ASSERT_TRUE(findings) << findings.error().message;
    EXPECT_EQ(findings->present.size(), after == 0 ? 1U : 0U);
    EXPECT_EQ(found[0], 1);
  }
}

}  // namespace
}  // namespace berth::git::test
