// bench/git/git_bench.cc — worktrees, snapshots and diffs next to the git command, in the same run.
//
// git_bench [folder] [rounds]: makes repositories of 1,000 and 10,000 files below `folder`
// (default: TMPDIR), runs each operation in turn with berth and with git, and prints medians and
// the median of the ratios within a round. The git command's figures include starting its
// processes, as a program that calls it pays them too.

#include <berth/git/diff.h>
#include <berth/git/library.h>
#include <berth/git/snapshot.h>
#include <berth/git/worktree.h>

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
namespace bg = berth::git;

/// Wall time and processor time (this process and its children) of one piece of work, in ms.
struct Cost {
  double wall;
  double cpu;
};

double cpu_ms() {
  double total = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    struct rusage usage{};
    ::getrusage(who, &usage);
    for (const timeval& part : {usage.ru_utime, usage.ru_stime}) {
      total += static_cast<double>(part.tv_sec) * 1e3 + static_cast<double>(part.tv_usec) / 1e3;
    }
  }
  return total;
}

Cost timed(const std::function<void()>& work) {
  const double cpu = cpu_ms();
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - start;
  return {wall.count(), cpu_ms() - cpu};
}

void sh(const std::string& folder, const std::string& command) {
  const std::string line = "cd '" + folder +
                           "' && GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null "
                           "GIT_AUTHOR_NAME=b GIT_AUTHOR_EMAIL=b@b GIT_COMMITTER_NAME=b "
                           "GIT_COMMITTER_EMAIL=b@b sh -c '" +
                           command + "' >/dev/null 2>&1";
  if (std::system(line.c_str()) != 0) {
    std::fprintf(stderr, "failed: %s\n", command.c_str());
    std::exit(1);
  }
}

void must(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

std::string key_of(int n) {
  const std::string digits = std::to_string(n);
  return std::string("01b").append(23 - digits.size(), '0') + digits;
}

void write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

/// About 2 KiB a file, 40 files a folder, packed as a clone would be.
void make_repository(const std::string& path, int files) {
  fs::create_directories(path);
  for (int i = 0; i < files; ++i) {
    const std::string folder =
        path + "/src" + std::to_string(i / 400) + "/m" + std::to_string(i / 40);
    if (i % 40 == 0) fs::create_directories(folder);
    std::string text;
    for (int line = 0; text.size() < 2000; ++line) {
      text += "file " + std::to_string(i) + " line " + std::to_string(line * 7919 % 1000) + "\n";
    }
    write(folder + "/f" + std::to_string(i) + ".txt", text);
  }
  sh(path, "git init -q -b main && git add -A && git commit -q -m base && git repack -q -a -d");
}

struct Row {
  std::string name;
  std::vector<Cost> ours;
  std::vector<Cost> theirs;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void print(const Row& row) {
  std::printf("  %-36s", row.name.c_str());
  for (double Cost::* part : {&Cost::wall, &Cost::cpu}) {
    std::vector<double> ours;
    std::vector<double> theirs;
    std::vector<double> ratios;
    for (std::size_t i = 0; i < row.ours.size(); ++i) {
      ours.push_back(row.ours[i].*part);
      theirs.push_back(row.theirs[i].*part);
      ratios.push_back(ours.back() / theirs.back());
    }
    std::printf(" | %8.1f %8.1f  x%.2f", median(ours), median(theirs), median(ratios));
  }
  std::printf("\n");
}

/// Changes 20 files and adds 5, differently in each round.
void edit(const std::string& tree, int files, int round) {
  for (int i = 0; i < 20; ++i) {
    const int n = (i * 397 + round * 31) % files;
    std::ofstream(tree + "/src" + std::to_string(n / 400) + "/m" + std::to_string(n / 40) + "/f" +
                      std::to_string(n) + ".txt",
                  std::ios::app)
        << "round " << round << "\n";
  }
  for (int i = 0; i < 5; ++i) {
    write(tree + "/new" + std::to_string(round) + "-" + std::to_string(i), "new\n");
  }
}

void run(const std::string& root, int files, int rounds) {
  const std::string repo = root + "/repo" + std::to_string(files);
  make_repository(repo, files);
  fs::create_directories(repo + "-trees");
  Row create{"create worktree", {}, {}};
  Row snapshot{"snapshot, 20 changed, 5 new", {}, {}};
  Row idle{"snapshot, nothing changed", {}, {}};
  Row diff{"diff with patches, 20 changed, 5 new", {}, {}};
  for (int round = 0; round < rounds; ++round) {
    const std::string number = std::to_string(round);
    const std::string ours = repo + "-trees/ours" + number;
    const std::string theirs = repo + "-trees/theirs" + number;
    const std::string our_index = ours + ".index";
    const std::string their_index = theirs + ".index";
    const bg::WorktreeRef ref{repo, ours, key_of(round)};
    std::string base;
    const auto our_create = [&] {
      auto made = bg::create_worktree({.worktree = ref, .base = {}, .private_index = our_index});
      must(made.has_value(), "create_worktree");
      base = made->base_commit;
    };
    const auto their_create = [&] { sh(repo, "git worktree add -q -b b" + number + " " + theirs); };
    if (round % 2 == 0) {  // neither always goes first
      create.ours.push_back(timed(our_create));
      create.theirs.push_back(timed(their_create));
    } else {
      create.theirs.push_back(timed(their_create));
      create.ours.push_back(timed(our_create));
    }
    fs::copy_file(repo + "/.git/worktrees/theirs" + number + "/index", their_index);

    const std::string private_git = "export GIT_INDEX_FILE=" + their_index + "; git add -A && ";
    const auto our_snapshot = [&](const char* name) {
      must(bg::take_snapshot(
               {.worktree = ref, .name = name, .private_index = our_index, .time_s = 1})
               .has_value(),
           "take_snapshot");
    };
    const std::string their_snapshot =
        private_git +
        "git update-ref refs/x/$(git commit-tree -m s -p HEAD $(git write-tree)) HEAD";
    our_snapshot("1");  // both have looked once at the fresh files
    sh(theirs, their_snapshot);
    edit(ours, files, round);
    edit(theirs, files, round);
    snapshot.ours.push_back(timed([&] { our_snapshot("2"); }));
    snapshot.theirs.push_back(timed([&] { sh(theirs, their_snapshot); }));
    idle.ours.push_back(timed([&] { our_snapshot("3"); }));
    idle.theirs.push_back(timed([&] { sh(theirs, their_snapshot); }));
    diff.ours.push_back(timed([&] {
      auto change =
          bg::diff({.worktree = ref, .from = base, .to = "worktree", .private_index = our_index});
      must(change && change->files.size() == 25, "diff");
    }));
    diff.theirs.push_back(timed([&] { sh(theirs, private_git + "git diff --cached -M HEAD"); }));
  }
  std::printf("%d files, %d rounds, %s\n", files, rounds, root.c_str());
  std::printf("  %-36s | wall ms: berth, git, ratio   | cpu ms: berth, git, ratio\n", "");
  for (const Row* row : {&create, &snapshot, &idle, &diff}) print(*row);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const char* temporary = std::getenv("TMPDIR");
  std::string root = argc > 1 ? argv[1] : temporary != nullptr ? temporary : "/tmp";
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 7;
  root += "/berth-git-bench-XXXXXX";
  if (rounds < 1 || ::mkdtemp(root.data()) == nullptr) {
    std::fprintf(stderr, "usage: git_bench [folder] [rounds]\n");
    return 2;
  }
  const bg::Library library(bg::Library::Options{.user_config = false});
  for (const int files : {1000, 10000}) run(root, files, rounds);
  std::error_code ignored;
  fs::remove_all(root, ignored);
  return 0;
}
