// bench/git/changes_bench.cc — what a turn changed, found by berth and by the git command in the
// same run.
//
// git_changes_bench [folder] [rounds] [json file]: repositories of 1,000, 10,000 and 50,000 files
// below `folder` (default: TMPDIR). In each round some files are appended to and a new one is made
// in two worktrees alike; both sides are timed, neither always first; then the files are put back.
// Prints medians, and the median of the ratios within a round. The git command is started without a
// shell; its figures include that start, as a program that calls it pays it too.

#include <berth/git/diff.h>
#include <berth/git/library.h>
#include <berth/git/snapshot.h>
#include <berth/git/worktree.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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

struct Cost {
  double wall;
  double cpu;  // this process and its children
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

void must(bool ok, const std::string& what) {
  if (ok) return;
  std::fprintf(stderr, "failed: %s\n", what.c_str());
  std::exit(1);
}

/// Runs git in `folder`, its output thrown away (as a reader of a pipe would take it).
void git(const std::string& folder, const std::vector<std::string>& words,
         const std::string& index = {}) {
  std::vector<std::string> all = {"git", "-C", folder};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<std::string> env = {"PATH=/usr/bin:/bin",    "HOME=/nonexistent",
                                  "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
                                  "GIT_AUTHOR_NAME=b",     "GIT_AUTHOR_EMAIL=b@b",
                                  "GIT_COMMITTER_NAME=b",  "GIT_COMMITTER_EMAIL=b@b"};
  if (!index.empty()) env.push_back("GIT_INDEX_FILE=" + index);
  std::vector<char*> envp;
  for (std::string& setting : env) envp.push_back(setting.data());
  envp.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  must(::posix_spawnp(&pid, "git", &actions, nullptr, argv.data(), envp.data()) == 0, "git");
  ::posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  ::waitpid(pid, &status, 0);
  must(status == 0, "git " + words[0]);
}

std::string key_of(int n) {
  const std::string digits = std::to_string(n);
  return std::string("01c").append(23 - digits.size(), '0') + digits;
}

void write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

std::string name_of(int n) {
  return "src" + std::to_string(n / 400) + "/m" + std::to_string(n / 40) + "/f" +
         std::to_string(n) + ".txt";
}

std::string text_of(int n) {
  std::string text;
  for (int line = 0; text.size() < 2000; ++line) {
    text += "file " + std::to_string(n) + " line " + std::to_string(line * 7919 % 1000) + "\n";
  }
  return text;
}

/// About 2 KiB a file, 40 files a folder, packed as a clone would be.
void make_repository(const std::string& path, int files) {
  for (int i = 0; i < files; ++i) {
    if (i % 40 == 0) fs::create_directories(fs::path(path + "/" + name_of(i)).parent_path());
    write(path + "/" + name_of(i), text_of(i));
  }
  git(path, {"init", "-q", "-b", "main"});
  git(path, {"add", "-A"});
  git(path, {"commit", "-q", "-m", "base"});
  git(path, {"repack", "-q", "-a", "-d"});
}

struct Row {
  int files;
  int touched;
  std::string name;
  std::vector<Cost> ours;
  std::vector<Cost> theirs;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Summary {
  double ours;
  double theirs;
  double ratio;
};

Summary summary(const Row& row, double Cost::* part) {
  std::vector<double> ours;
  std::vector<double> theirs;
  std::vector<double> ratios;
  for (std::size_t i = 0; i < row.ours.size(); ++i) {
    ours.push_back(row.ours[i].*part);
    theirs.push_back(row.theirs[i].*part);
    ratios.push_back(ours.back() / theirs.back());
  }
  return {median(ours), median(theirs), median(ratios)};
}

/// One repository with a worktree for each side.
class Place {
 public:
  Place(const std::string& root, int files)
      : files_(files), repo_(root + "/repo" + std::to_string(files)) {
    make_repository(repo_, files);
    fs::create_directories(repo_ + "-trees");
    auto made = bg::create_worktree({.worktree = ref(), .base = {}, .private_index = our_index()});
    must(made.has_value(), "create_worktree");
    base_ = made->base_commit;
    git(repo_, {"worktree", "add", "-q", "--detach", their_tree()});
    fs::copy_file(repo_ + "/.git/worktrees/theirs/index", their_index());
    settle(0);
  }

  void measure(int touched, int rounds, std::vector<Row>& rows) {
    enum { diff_hints, diff_full, list_hints, snapshot_hints, snapshot_full, kRows };
    const char* const names[] = {"change with patches, hints", "change with patches, full scan",
                                 "change, counts only, hints", "snapshot, hints",
                                 "snapshot, full scan"};
    std::vector<Row> made;
    for (const char* name : names) made.push_back({files_, touched, name, {}, {}});
    const std::vector<std::string> private_add = {"add", "-A"};
    const auto their_diff = [&] {
      git(their_tree(), {"diff", base_});
      git(their_tree(), {"ls-files", "--others", "--exclude-standard"});
    };
    const auto their_list = [&] {
      git(their_tree(), {"diff", "--numstat", base_});
      git(their_tree(), {"ls-files", "--others", "--exclude-standard"});
    };
    const auto their_snapshot = [&] {
      git(their_tree(), {"add", "-A"}, their_index());
      git(their_tree(), {"write-tree"}, their_index());
    };
    for (int round = 0; round < rounds; ++round) {
      const std::vector<std::string> names_touched = edit(touched, round);
      const bg::Hints hints{.complete = true, .since = tree_, .paths = names_touched};
      const auto both = [&](Row& row, const std::function<void()>& ours,
                            const std::function<void()>& theirs) {
        if (round % 2 == 0) row.ours.push_back(timed(ours));
        row.theirs.push_back(timed(theirs));
        if (round % 2 != 0) row.ours.push_back(timed(ours));
      };
      const auto change = [&](const bg::Hints& known, bool patches) {
        auto found = bg::diff({.worktree = ref(),
                               .from = base_,
                               .to = "worktree",
                               .with_patches = patches,
                               .private_index = our_index(),
                               .hints = known});
        must(found && found->files.size() == names_touched.size(), "diff");
        must(found->scan.full == !known.complete, "the way of scanning");
      };
      both(made[diff_full], [&] { change({}, true); }, their_diff);
      both(made[diff_hints], [&] { change(hints, true); }, their_diff);
      both(made[list_hints], [&] { change(hints, false); }, their_list);
      both(made[snapshot_full], [&] { snapshot({}, round); }, their_snapshot);
      restore(names_touched);
      settle(round);
      edit(touched, round);
      bg::Hints again = hints;
      again.since = tree_;
      both(made[snapshot_hints], [&] { snapshot(again, round); }, their_snapshot);
      restore(names_touched);
      settle(round);
    }
    rows.insert(rows.end(), made.begin(), made.end());
  }

 private:
  bg::WorktreeRef ref() const { return {repo_, our_tree(), key_of(1)}; }
  std::string our_tree() const { return repo_ + "-trees/ours"; }
  std::string their_tree() const { return repo_ + "-trees/theirs"; }
  std::string our_index() const { return repo_ + "-trees/ours.index"; }
  std::string their_index() const { return repo_ + "-trees/theirs.index"; }

  void snapshot(const bg::Hints& hints, int round) {
    auto taken = bg::take_snapshot({.worktree = ref(),
                                    .name = std::to_string(round),
                                    .private_index = our_index(),
                                    .time_s = 1,
                                    .hints = hints});
    must(taken && taken->scan.full == !hints.complete, "take_snapshot");
    tree_ = taken->tree;
  }

  std::vector<std::string> edit(int touched, int round) {
    std::vector<std::string> names;
    for (int i = 0; i < touched - 1; ++i) {
      const int n = static_cast<int>((static_cast<long>(i) * 397 + round * 31L) % files_);
      const std::string name = name_of(n);
      if (std::find(names.begin(), names.end(), name) != names.end()) continue;
      names.push_back(name);
      for (const std::string& tree : {our_tree(), their_tree()}) {
        std::ofstream(tree + "/" + name, std::ios::app) << "round " << round << "\n";
      }
    }
    names.push_back("new" + std::to_string(round));
    for (const std::string& tree : {our_tree(), their_tree()}) {
      write(tree + "/" + names.back(), "new\n");
    }
    return names;
  }

  void restore(const std::vector<std::string>& names) {
    for (const std::string& tree : {our_tree(), their_tree()}) {
      for (const std::string& name : names) {
        if (name.starts_with("new")) {
          fs::remove(tree + "/" + name);
        } else {
          const std::string digits = name.substr(name.rfind('f') + 1);
          write(tree + "/" + name, text_of(std::atoi(digits.c_str())));
        }
      }
    }
  }

  /// Both sides have seen the files as they are now.
  void settle(int round) {
    fs::remove(our_index() + ".memory");
    for (int i = 0; i < 2; ++i) snapshot({}, round);
    git(their_tree(), {"update-index", "-q", "--refresh"});
    git(their_tree(), {"add", "-A"}, their_index());
    git(their_tree(), {"write-tree"}, their_index());
  }

  int files_;
  std::string repo_;
  std::string base_;
  std::string tree_;
};

void print(const Row& row) {
  std::printf("  %6d %5d  %-32s", row.files, row.touched, row.name.c_str());
  for (double Cost::* part : {&Cost::wall, &Cost::cpu}) {
    const Summary s = summary(row, part);
    std::printf(" | %8.1f %8.1f  x%.2f", s.ours, s.theirs, s.ratio);
  }
  std::printf("\n");
}

void write_json(const std::string& path, const std::vector<Row>& rows) {
  std::ofstream out(path);
  out << "[\n";
  for (const Row& row : rows) {
    const Summary wall = summary(row, &Cost::wall);
    const Summary cpu = summary(row, &Cost::cpu);
    out << R"(  {"files": )" << row.files << R"(, "touched": )" << row.touched << R"(, "what": ")"
        << row.name << R"(", "rounds": )" << row.ours.size() << R"(, "wall_ms": )" << wall.ours
        << R"(, "git_wall_ms": )" << wall.theirs << R"(, "wall_ratio": )" << wall.ratio
        << R"(, "cpu_ms": )" << cpu.ours << R"(, "git_cpu_ms": )" << cpu.theirs
        << R"(, "cpu_ratio": )" << cpu.ratio << (&row == &rows.back() ? "}\n" : "},\n");
  }
  out << "]\n";
}

}  // namespace

int main(int argc, char** argv) {
  const char* temporary = std::getenv("TMPDIR");
  std::string root = argc > 1 ? argv[1] : temporary != nullptr ? temporary : "/tmp";
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 7;
  root += "/berth-git-bench-XXXXXX";
  if (rounds < 1 || ::mkdtemp(root.data()) == nullptr) {
    std::fprintf(stderr, "usage: git_changes_bench [folder] [rounds] [json file]\n");
    return 2;
  }
  const bg::Library library(bg::Library::Options{.user_config = false});
  std::vector<Row> rows;
  std::printf("  %6s %5s  %-32s | wall ms: berth, git, ratio   | cpu ms: berth, git, ratio\n",
              "files", "turn", "");
  for (const int files : {1000, 10000, 50000}) {
    Place place(root, files);
    for (const int touched : {1, 10, 20, 1000}) {
      if (touched > files / 2) continue;
      const std::size_t before = rows.size();
      place.measure(touched, rounds, rows);
      for (std::size_t i = before; i < rows.size(); ++i) print(rows[i]);
      std::fflush(stdout);
    }
  }
  if (argc > 3) write_json(argv[3], rows);
  std::error_code ignored;
  fs::remove_all(root, ignored);
  return 0;
}
