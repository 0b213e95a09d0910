// What ObjectWriter writes next to what git and libgit2 make of the same bytes, and what it leaves
// when it cannot write.
#include "temp_repository.h"

#include <berth/git/object_writer.h>
#include <berth/git/tree_update.h>

#include <git2.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>

namespace berth::git::detail {
namespace {

namespace fs = std::filesystem;
using test::read;
using test::sh;

class ObjectWriters : public test::GitTest {
 protected:
  /// A writer on a handle of its own.
  struct Open {
    explicit Open(const std::string& path, bool in_memory = false) {
      EXPECT_EQ(git_repository_open(out(repository), path.c_str()), 0);
      writer = std::make_unique<ObjectWriter>(repository.get());
      EXPECT_TRUE(writer->open(in_memory));
    }
    Handle<git_repository> repository;
    std::unique_ptr<ObjectWriter> writer;
  };

  std::string put(Open& open, std::string_view bytes, ObjectKind kind = ObjectKind::blob) {
    Result<ObjectId> id = open.writer->put(kind, bytes);
    EXPECT_TRUE(id) << (id ? "" : id.error().message);
    return id ? hex(*id) : "";
  }
  std::string objects() const { return repo() + "/.git/objects"; }
  std::string file_of(const std::string& id) const {
    return objects() + "/" + id.substr(0, 2) + "/" + id.substr(2);
  }
  std::string temporary_files() const { return sh(objects(), "find . -name 'tmp_obj*'"); }

  /// The code of the error that a process of its own gets when it writes `bytes` after `prepare`.
  std::string error_after(const std::function<bool()>& prepare, std::string_view bytes) {
    int pipe_ends[2];
    EXPECT_EQ(::pipe(pipe_ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      Open open(repo());
      std::string said = "not prepared";
      if (prepare()) {
        Result<ObjectId> id = open.writer->put(ObjectKind::blob, bytes);
        said = id ? "written" : id.error().code;
      }
      const ssize_t n = ::write(pipe_ends[1], said.data(), said.size());
      ::_exit(n < 0 ? 1 : 0);
    }
    ::close(pipe_ends[1]);
    char said[64] = {};
    EXPECT_GT(::read(pipe_ends[0], said, sizeof said - 1), 0);
    ::close(pipe_ends[0]);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    return said;
  }
};

std::string random_bytes(std::size_t size, unsigned seed, unsigned variety) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random() % variety);
  return bytes;
}

/// All of a loose object, inflated by zlib itself.
std::string inflated(const std::string& file, std::size_t size_max) {
  const std::string packed = read(file);
  std::string bytes(size_max, '\0');
  uLongf size = size_max;
  EXPECT_EQ(::uncompress(reinterpret_cast<Bytef*>(bytes.data()), &size,
                         reinterpret_cast<const Bytef*>(packed.data()), packed.size()),
            Z_OK);
  bytes.resize(size);
  return bytes;
}

TEST_F(ObjectWriters, WriteBlobsThatGitAndLibgit2NameAndReadAlike) {
  Open open(repo());
  unsigned seed = 0;
  // Around the size of its buffer, with contents that shrink and such that grow when deflated.
  for (const std::size_t size : {0UL, 1UL, 100UL, 16383UL, 16384UL, 16385UL, 32768UL, 1000003UL}) {
    for (const unsigned variety : {1U, 4U, 256U}) {
      const std::string bytes = random_bytes(size, ++seed, variety);
      const std::string id = put(open, bytes);
      test::write(root_ + "/data/bytes", bytes);
      EXPECT_EQ(git("hash-object --no-filters ../data/bytes"), id + "\n") << size;
      EXPECT_EQ(test::sh_code(repo(), "git cat-file blob " + id + " | cmp - ../data/bytes"), 0);
      Handle<git_odb> odb;
      Handle<git_odb_object> object;
      git_oid oid;
      ASSERT_EQ(git_oid_fromstr(&oid, id.c_str()), 0);
      ASSERT_EQ(git_repository_odb(out(odb), open.repository.get()), 0);
      ASSERT_EQ(git_odb_read(out(object), odb.get(), &oid), 0) << size;
      ASSERT_EQ(git_odb_object_size(object.get()), size);
      EXPECT_EQ(std::memcmp(git_odb_object_data(object.get()), bytes.data(), size), 0);
      const std::string header = "blob " + std::to_string(size) + std::string(1, '\0');
      EXPECT_EQ(inflated(file_of(id), size + 64), header + bytes);
      EXPECT_EQ(fs::status(file_of(id)).permissions(), fs::perms(0444));
    }
  }
  EXPECT_EQ(git("fsck --strict --no-dangling 2>&1"), "");
  EXPECT_EQ(temporary_files(), "");
}

TEST_F(ObjectWriters, WriteTreesThatGitReads) {
  Open open(repo());
  const std::string blob = put(open, "in a tree\n");
  ObjectId raw{};
  git_oid oid;
  ASSERT_EQ(git_oid_fromstr(&oid, blob.c_str()), 0);
  std::string entry = "100644 file" + std::string(1, '\0');
  entry.append(reinterpret_cast<const char*>(oid.id), raw.size());
  const std::string tree = put(open, entry, ObjectKind::tree);
  EXPECT_EQ(git("ls-tree " + tree), "100644 blob " + blob + "\tfile\n");
  EXPECT_EQ(sh(repo(), "git ls-tree " + tree + " | git mktree"), tree + "\n");
  EXPECT_EQ(put(open, "", ObjectKind::tree), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
  EXPECT_EQ(git("fsck --strict --no-dangling 2>&1"), "");
}

TEST_F(ObjectWriters, MakeWhatIsThereYoungInsteadOfWritingItAgain) {
  Open open(repo());
  const std::string id = put(open, "old\n");
  struct stat before{};
  ASSERT_EQ(::stat(file_of(id).c_str(), &before), 0);
  const auto long_ago = fs::file_time_type::clock::now() - std::chrono::hours(24 * 30);
  const auto lately = fs::file_time_type::clock::now() - std::chrono::hours(1);
  fs::last_write_time(file_of(id), long_ago);
  EXPECT_EQ(put(open, "old\n"), id);
  struct stat after{};
  ASSERT_EQ(::stat(file_of(id).c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
  EXPECT_GT(fs::last_write_time(file_of(id)), lately);

  // In a pack too, so that what `git gc` would drop next is kept.
  git("hash-object -w -t blob a.txt && git repack -a -d -q");
  const std::string packed = git("rev-parse HEAD:a.txt").substr(0, 40);
  ASSERT_FALSE(test::exists(file_of(packed)));
  const std::string pack = sh(objects(), "ls -d $PWD/pack/*.pack");
  const std::string path = pack.substr(0, pack.size() - 1);
  fs::last_write_time(path, long_ago);
  Open later(repo());
  EXPECT_EQ(put(later, read(repo() + "/a.txt")), packed);
  EXPECT_FALSE(test::exists(file_of(packed)));
  EXPECT_GT(fs::last_write_time(path), lately);
}

TEST_F(ObjectWriters, InMemoryNothingReachesTheDisk) {
  const std::string before = sh(objects(), "find . -type f | sort");
  Open open(repo(), true);
  const std::string id = put(open, "nowhere\n");
  put(open, "", ObjectKind::tree);
  EXPECT_EQ(sh(objects(), "find . -type f | sort"), before);
  EXPECT_NE(test::sh_code(repo(), "git cat-file -e " + id), 0);
  Handle<git_blob> blob;
  git_oid oid;
  ASSERT_EQ(git_oid_fromstr(&oid, id.c_str()), 0);
  ASSERT_EQ(git_blob_lookup(out(blob), open.repository.get(), &oid), 0);
  EXPECT_EQ(git_blob_rawsize(blob.get()), 8U);
  put(open, "one\ntwo\nthree\n");  // which is in the repository
  EXPECT_EQ(sh(objects(), "find . -type f | sort"), before);
}

TEST_F(ObjectWriters, LeaveNothingWhenAFileMayNotGrow) {
  const std::string bytes = random_bytes(100'000, 7, 256);
  const auto limit = [] {
    const rlimit small{4096, 4096};
    return ::signal(SIGXFSZ, SIG_IGN) != SIG_ERR && ::setrlimit(RLIMIT_FSIZE, &small) == 0;
  };
  EXPECT_EQ(error_after(limit, bytes), "git_write_failed");
  EXPECT_EQ(temporary_files(), "");
  EXPECT_EQ(error_after(limit, "short enough\n"), "written");
  EXPECT_EQ(git("fsck --no-dangling 2>&1"), "");
}

TEST_F(ObjectWriters, SayThatAFolderMayNotBeWritten) {
  fs::permissions(root_, fs::perms(0755));
  const auto nobody = [] {
    return ::geteuid() != 0 ||
           (::setresgid(65534, 65534, 65534) == 0 && ::setresuid(65534, 65534, 65534) == 0);
  };
  if (::geteuid() != 0) fs::permissions(objects(), fs::perms(0555));
  EXPECT_EQ(error_after(nobody, "denied\n"), "os_error");
  fs::permissions(objects(), fs::perms(0755));
  // A file where the folder of the object belongs.
  Open open(repo());
  const std::string id = git("hash-object --stdin < /dev/null");
  test::write(objects() + "/" + id.substr(0, 2), "in the way");
  Result<ObjectId> put = open.writer->put(ObjectKind::blob, "");
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().errno_value, ENOTDIR);
  EXPECT_EQ(temporary_files(), "");
}

TEST_F(ObjectWriters, LeaveNothingOnAFullDiskAndOnOneThatIsReadOnly) {
  const std::string small = "size=65536";
  const std::string kept = objects() + "-kept";
  fs::rename(objects(), kept);
  fs::create_directory(objects());
  if (::mount("berth-test", objects().c_str(), "tmpfs", 0, small.c_str()) != 0) {
    fs::remove(objects());
    fs::rename(kept, objects());
    GTEST_SKIP() << "no right to mount";
  }
  Open open(repo());
  Result<ObjectId> put = open.writer->put(ObjectKind::blob, random_bytes(200'000, 9, 256));
  ASSERT_FALSE(put);
  EXPECT_STREQ(put.error().code, "git_write_failed");
  EXPECT_EQ(put.error().kind, ErrorKind::unavailable);
  EXPECT_EQ(temporary_files(), "");
  EXPECT_TRUE(open.writer->put(ObjectKind::blob, "there is room for this\n"));
  EXPECT_EQ(::mount(nullptr, objects().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  put = open.writer->put(ObjectKind::blob, "read-only\n");
  EXPECT_FALSE(put);
  EXPECT_STREQ(put ? "" : put.error().code, "git_write_failed");
  EXPECT_EQ(::umount2(objects().c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace berth::git::detail
