#include "temp_repository.h"

#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int code;
  std::string output;
};

Outcome run(const std::string& folder, const std::string& command) {
  // Everything a developer's own configuration could change is shut out.
  const std::string line =
      "cd '" + folder +
      "' && env -i PATH=\"$PATH\" HOME=/nonexistent LC_ALL=C.UTF-8 GIT_CONFIG_NOSYSTEM=1 "
      "GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t "
      "GIT_COMMITTER_EMAIL=t@t GIT_AUTHOR_DATE='1700000000 +0000' "
      "GIT_COMMITTER_DATE='1700000000 +0000' sh -c '" +
      command + "' 2>&1";
  FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return {127, "popen failed"};
  std::string output;
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    output.append(buffer, n);
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, output};
}

/// A container may have 64 MiB of it, or forbid the planted programs that tests look for.
std::string roomy_memory() {
  constexpr const char* kMemory = "/dev/shm";
  constexpr std::uint64_t kBytesMin = std::uint64_t{1} << 30;
  struct statvfs about{};
  const bool there = ::statvfs(kMemory, &about) == 0 && ::access(kMemory, W_OK) == 0;
  const bool fits = there && about.f_bavail * about.f_frsize >= kBytesMin;
  return fits && (about.f_flag & ST_NOEXEC) == 0 ? kMemory : "/tmp";
}

}  // namespace

std::string sh(const std::string& folder, const std::string& command) {
  const Outcome outcome = run(folder, command);
  EXPECT_EQ(outcome.code, 0) << command << "\n" << outcome.output;
  return outcome.output;
}

int sh_code(const std::string& folder, const std::string& command) {
  return run(folder, command).code;
}

void write(const std::string& path, std::string_view content) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(content.data(), static_cast<std::streamsize>(content.size()));
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

bool exists(const std::string& path) {
  return fs::exists(fs::symlink_status(path));
}

std::string key_of(int n) {
  const std::string digits = std::to_string(n);
  return std::string("01h").append(23 - digits.size(), 'z') + digits;
}

GitTest::GitTest(Where where) {
  const char* told = std::getenv("TMPDIR");
  std::string pattern = told != nullptr ? told : where == Where::memory ? roomy_memory() : "/tmp";
  pattern += "/berth-git-XXXXXX";
  EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
  root_ = fs::canonical(pattern).string();
  fs::create_directories(repo());
  fs::create_directories(root_ + "/data");
  fs::create_directories(root_ + "/trees");
  write(repo() + "/a.txt", "one\ntwo\nthree\n");
  write(repo() + "/dir/b.txt", "bee\n");
  write(repo() + "/dir/deep/c.txt", "sea\n");
  write(repo() + "/.gitignore", "*.log\nbuild/\n");
  git("init -q -b main && git add -A && git commit -q -m first");
}

GitTest::~GitTest() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

CreatedWorktree GitTest::create() {
  Result<CreatedWorktree> created =
      create_worktree({.worktree = ref(), .base = {}, .private_index = index()});
  EXPECT_TRUE(created) << (created ? "" : created.error().message);
  return created ? *created : CreatedWorktree{};
}

Snapshot GitTest::snapshot(const std::string& name) {
  Result<Snapshot> taken =
      take_snapshot({.worktree = ref(), .name = name, .private_index = index(), .time_s = 1});
  EXPECT_TRUE(taken) << (taken ? "" : taken.error().message);
  return taken ? *taken : Snapshot{};
}

}  // namespace berth::git::test
