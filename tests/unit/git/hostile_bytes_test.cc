// Bytes that an agent can put where berth reads them: ignore rules, an index, words and names in a
// mail. See also tests/fuzz.
#include <berth/git/diff.h>
#include <berth/git/guard.h>
#include <berth/git/index_entries.h>
#include <berth/git/mail.h>
#include <berth/git/wildmatch.h>

#include <unistd.h>
#include <filesystem>

#include "temp_repository.h"

namespace berth::git::test {
namespace {

std::string repeated(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(HostilePattern, OneOfAHundredThousandStarsDoesNotFillTheStack) {
  EXPECT_FALSE(detail::wildmatch(repeated("**/", 100'000) + "x", "a/b", true));
  EXPECT_FALSE(detail::wildmatch(repeated("*?", 100'000), std::string(100'000, 'a') + "/b", false));
  EXPECT_TRUE(detail::wildmatch(repeated("**/", 100) + "x", "a/b/x", true));
}

TEST(HostilePattern, OneThatIsLookedAtAgainForEachOfItsBytesIsGivenUp) {
  // Each "[:" is followed to the "]"; hours without a bound.
  EXPECT_FALSE(detail::wildmatch("[" + repeated("[:", 2'000'000) + "]", "a", true));
  EXPECT_FALSE(
      detail::wildmatch("*[" + std::string(4'000'000, 'b') + "]c", std::string(4'000, 'a'), true));
  EXPECT_TRUE(detail::wildmatch("*[" + std::string(400, 'b') + "a]", std::string(200, 'a'), true));
}

using HostileRules = GitTest;

TEST_F(HostileRules, ThoseThatWouldCrashLibgit2AreNamedAndNotUsed) {
  create();
  const std::string rule = repeated("**/", 100'000) + "x\n";
  for (const std::string& file :
       {tree() + "/.gitattributes", tree() + "/dir/.gitignore", repo() + "/.git/info/exclude"}) {
    write(file, "ordinary\n" + rule);
    const Result<WorkLoss> loss = worktree_state({.worktree = ref()});
    if (loss) {
      EXPECT_TRUE(loss->unknown);
      EXPECT_NE(loss->reason.find("git would crash"), std::string::npos) << loss->reason;
    } else {
      EXPECT_STREQ(loss.error().code, "hostile_rules") << file;
    }
    const Result<Snapshot> taken =
        take_snapshot({.worktree = ref(), .name = "1", .private_index = index()});
    ASSERT_FALSE(taken) << file;
    EXPECT_STREQ(taken.error().code, "hostile_rules") << file;
    ASSERT_EQ(::unlink(file.c_str()), 0);
  }
  EXPECT_FALSE(snapshot("1").tree.empty());
}

TEST_F(HostileRules, ThoseThatOnlyACommitHoldsAreNamedToo) {
  const std::string base = create().base_commit;
  write(tree() + "/dir/.gitattributes", repeated("**/", 100'000) + "x text\n");
  write(tree() + "/dir/b.txt", "changed\n");
  // By commands that ask for no attributes: git would end as libgit2 does.
  for (const std::string file : {"dir/.gitattributes", "dir/b.txt"}) {
    const std::string blob =
        in_tree("hash-object -w --no-filters " + file + " 2>/dev/null").substr(0, 40);
    in_tree("update-index --add --cacheinfo 100644," + blob + "," + file);
  }
  const std::string tree_id = in_tree("write-tree 2>/dev/null").substr(0, 40);
  const std::string hostile =
      in_tree("commit-tree -m hostile -p HEAD " + tree_id + " 2>/dev/null").substr(0, 40);
  // In the working files, which nobody scans to compare two commits.
  const DiffRequest compare{.worktree = ref(), .from = base, .to = hostile};
  Result<Change> change = diff(compare);
  ASSERT_FALSE(change);
  EXPECT_STREQ(change.error().code, "hostile_rules");
  // In the index and the commit alone.
  ASSERT_EQ(::unlink((tree() + "/dir/.gitattributes").c_str()), 0);
  change = diff(compare);
  ASSERT_FALSE(change);
  EXPECT_STREQ(change.error().code, "hostile_rules");
  write(tree() + "/dir/b.txt", "changed again\n");
  const Result<Snapshot> taken =
      take_snapshot({.worktree = ref(), .name = "1", .private_index = index()});
  ASSERT_FALSE(taken);
  EXPECT_STREQ(taken.error().code, "hostile_rules");
  // In a commit that is to be checked out.
  const Result<CreatedWorktree> made =
      create_worktree({.worktree = {repo(), root_ + "/trees/two", key_of(2)},
                       .base = hostile,
                       .private_index = {}});
  ASSERT_FALSE(made);
  EXPECT_STREQ(made.error().code, "hostile_rules");
}

/// An entry of version 4: so many bytes of the path before it go, `added` comes.
std::string entry(char cut, const std::string& added) {
  return std::string(62, '\0') + cut + added + '\0';
}

std::string index_of(int entries, const std::string& content) {
  std::string bytes("DIRC\0\0\0\4\0\0", 10);
  bytes += static_cast<char>(entries / 256);
  bytes += static_cast<char>(entries % 256);
  return bytes + content + std::string(20, '\0');
}

using HostileIndex = GitTest;

TEST_F(HostileIndex, OneLargerThanAnyRealOneIsNotRead) {
  const std::string path = root_ + "/data/index";
  write(path, "DIRC");
  std::filesystem::resize_file(path, (std::uintmax_t{1} << 30) + 1);  // sparse
  const Result<detail::IndexFile> index = detail::IndexFile::open(path);
  ASSERT_FALSE(index);
  EXPECT_STREQ(index.error().code, "index_too_large");
}

TEST_F(HostileIndex, OneThatUnfoldsToManyTimesItsSizeIsRefused) {
  constexpr int kEntries = 300;
  const std::string path = root_ + "/data/index";
  std::string content = entry(0, std::string(std::size_t{1} << 20, 'a') + "000");
  for (int i = 1; i < kEntries; ++i) content += entry(3, std::to_string(1000 + i).substr(1));
  write(path, index_of(kEntries, content));
  Result<detail::IndexFile> index = detail::IndexFile::open(path);
  ASSERT_FALSE(index);
  EXPECT_STREQ(index.error().code, "index_broken");

  content = entry(0, "folder/000");
  for (int i = 1; i < kEntries; ++i) content += entry(3, std::to_string(1000 + i).substr(1));
  write(path, index_of(kEntries, content));
  index = detail::IndexFile::open(path);
  ASSERT_TRUE(index) << index.error().message;
  EXPECT_EQ(index->entries().size(), 300U);
  EXPECT_EQ(index->entries().back().path, "folder/299");
}

using HostileMail = GitTest;

TEST_F(HostileMail, NeitherWordsNorNamesOfFilesBringAPatchOrAnAuthorOfTheirOwn) {
  create();
  const std::string patch =
      "diff --git a/dir/b.txt b/dir/b.txt\n--- a/dir/b.txt\n+++ b/dir/b.txt\n@@ -1 +1 @@\n-bee\n"
      "+planted\n";
  write(tree() + "/x\n" + patch, "named\n");
  write(tree() + "/a \"quoted\"\t\\.txt", "quoted\n");
  const Snapshot taken = snapshot("1");
  const std::string base = git("rev-parse HEAD").substr(0, 40);
  const Result<Change> change = diff({.worktree = ref(),
                                      .from = base,
                                      .to = taken.commit,
                                      .binary_patches = true,
                                      .private_index = index()});
  ASSERT_TRUE(change);
  CommitText text;
  text.author_name = "Ada";
  text.author_email = "ada@example.org>\nSubject: another\nX: <";
  text.message = "Subject\n\nFrom: Eve <eve@example.org>\n\n" + patch.substr(patch.find("---")) +
                 "\nIndex: dir/b.txt\n" + patch + "\nend";
  text.trailers = {{"Session", "one\n" + patch}};
  write(root_ + "/data/one.mail", as_mail(text, *change));
  git("am -q ../data/one.mail");
  EXPECT_EQ(git("rev-parse HEAD^{tree}"), taken.tree + "\n");
  EXPECT_EQ(git("log -1 --format=%an:%s"), "Ada:Subject\n");
  const std::string body = git("log -1 --format=%b");
  EXPECT_NE(body.find("\nend\n\nSession: one diff --git"), std::string::npos) << body;
}

}  // namespace
}  // namespace berth::git::test
