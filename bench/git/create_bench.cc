// bench/git/create_bench.cc — workspaces made as worktrees and as overlays, next to `git worktree
// add` in the same run.
//
// create_bench [--files N,N..] [--rounds N] [--cold] [--json FILE] [FOLDER]: makes repositories
// below FOLDER (default: TMPDIR), creates workspaces in turn with berth and with git, checks each
// with `git status`, and prints medians and the median of the ratios within a round. The git
// command's figures include starting its process, as a program that calls it pays that too. What
// was made is deleted at the end only: on ext4 without a journal a fresh deletion slows the next
// creation. --cold drops the page cache before each (root only).

#include <berth/git/library.h>
#include <berth/git/overlay.h>
#include <berth/git/removal.h>
#include <berth/git/worktree.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;
namespace bg = berth::git;

struct Options {
  std::vector<int> files{1000, 10000, 50000};
  int rounds = 5;
  bool cold = false;
  std::string json;
  std::string folder;
};

/// Wall and processor time (this process and its children) in ms.
struct Cost {
  double wall = 0;
  double cpu = 0;
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

/// Thrown, so that what is mounted is unmounted on the way out.
void must(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error(what);
}

int sh_code(const std::string& folder, const std::string& command) {
  const std::string line = "cd '" + folder +
                           "' && GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null "
                           "GIT_AUTHOR_NAME=b GIT_AUTHOR_EMAIL=b@b GIT_COMMITTER_NAME=b "
                           "GIT_COMMITTER_EMAIL=b@b sh -c '" +
                           command + "' >/dev/null 2>&1";
  return std::system(line.c_str());
}

void sh(const std::string& folder, const std::string& command) {
  must(sh_code(folder, command) == 0, command);
}

std::string key_of(int n) {
  const std::string digits = std::to_string(n);
  return std::string("01b").append(23 - digits.size(), '0') + digits;
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
    std::ofstream(folder + "/f" + std::to_string(i) + ".txt", std::ios::binary) << text;
  }
  sh(path, "git init -q -b main && git add -A && git commit -q -m base && git repack -q -a -d");
}

void expect_clean(const std::string& tree) {
  must(sh_code(tree, "told=$(git status --porcelain) && test -z \"$told\"") == 0,
       "clean status of " + tree);
}

/// Allocated bytes below `path`; files with several names count for their first owner, not here.
std::uint64_t disk_of(const std::string& path) {
  std::uint64_t sum = 0;
  const auto add = [&](const std::string& file) {
    struct stat st{};
    if (::lstat(file.c_str(), &st) != 0) return;
    if (S_ISDIR(st.st_mode) || st.st_nlink == 1) {
      sum += static_cast<std::uint64_t>(st.st_blocks) * 512;
    }
  };
  add(path);
  if (!fs::is_directory(path)) return sum;
  for (const auto& entry : fs::recursive_directory_iterator(path)) add(entry.path().string());
  return sum;
}

void drop_caches() {
  ::sync();
  const int fd = ::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  must(fd >= 0 && ::write(fd, "3", 1) == 1, "drop_caches (root only)");
  ::close(fd);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Figures of one size, and everything that was printed about it, for the JSON file.
class Report {
 public:
  explicit Report(const Options& options) : options_(options) {}
  ~Report() {
    if (options_.json.empty()) return;
    std::ofstream(options_.json) << "[" << json_ << "\n]\n";
  }
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  void add(int files, const std::string& name, const std::vector<Cost>& ours,
           const std::vector<Cost>& theirs) {
    std::printf("  %-34s", name.c_str());
    std::string numbers;
    const char* names[] = {"wall", "cpu"};
    int i = 0;
    for (double Cost::* part : {&Cost::wall, &Cost::cpu}) {
      std::vector<double> a;
      std::vector<double> b;
      std::vector<double> ratios;
      for (std::size_t n = 0; n < ours.size(); ++n) {
        a.push_back(ours[n].*part);
        b.push_back(theirs[n].*part);
        ratios.push_back(a.back() / b.back());
      }
      std::printf(" | %8.1f %8.1f  x%.3f", median(a), median(b), median(ratios));
      char text[200];
      std::snprintf(text, sizeof text, ", \"%s_ms\": %.3f, \"git_%s_ms\": %.3f, \"%s_ratio\": %.4f",
                    names[i], median(a), names[i], median(b), names[i], median(ratios));
      numbers += text;
      ++i;
    }
    std::printf("\n");
    std::fflush(stdout);
    entry(files, name, numbers);
  }
  void add_number(int files, const std::string& name, double ours, double theirs,
                  const char* unit) {
    std::printf("  %-34s | %8.1f %8.1f %s\n", name.c_str(), ours, theirs, unit);
    char text[160];
    std::snprintf(text, sizeof text, ", \"ours\": %.3f, \"git\": %.3f, \"unit\": \"%s\"", ours,
                  theirs, unit);
    entry(files, name, text);
  }

 private:
  void entry(int files, const std::string& name, const std::string& numbers) {
    json_ += (json_.empty() ? "\n" : ",\n");
    json_ +=
        "  {\"files\": " + std::to_string(files) + ", \"what\": \"" + name + "\"" + numbers + "}";
  }
  const Options& options_;
  std::string json_;
};

/// One repository and the workspaces made of it.
class Size {
 public:
  Size(const std::string& root, int files, const Options& options, Report& report)
      : files_(files),
        options_(options),
        report_(report),
        repo_(root + "/repo" + std::to_string(files)),
        trees_(repo_ + "-trees"),
        store_(repo_ + "-store"),
        overlays_(bg::probe_overlay(store_).usable) {
    make_repository(repo_, files);
    fs::create_directories(trees_);
  }

  void run() {
    std::printf("%d files, %d rounds%s\n", files_, options_.rounds, options_.cold ? ", cold" : "");
    std::printf("  %-34s | wall ms: berth, git, ratio    | cpu ms: berth, git, ratio\n", "");
    std::vector<Cost> plain;
    std::vector<Cost> overlay;
    std::vector<Cost> theirs;
    if (overlays_) overlay_create("prepare");
    for (int round = 0; round < options_.rounds; ++round) {
      const std::string number = std::to_string(round);
      const std::vector<std::function<void()>> turns{
          [&] { plain.push_back(measure([&] { plain_create("plain" + number); })); },
          [&] { theirs.push_back(measure([&] { git_create("git" + number); })); },
          [&] {
            if (overlays_) overlay.push_back(measure([&] { overlay_create("over" + number); }));
          }};
      for (std::size_t i = 0; i < turns.size(); ++i) {
        turns[(i + static_cast<std::size_t>(round)) % turns.size()]();  // nobody always goes first
      }
      expect_clean(trees_ + "/plain" + number);
      if (overlays_) expect_clean(trees_ + "/over" + number);
    }
    const std::string cold = options_.cold ? ", cold" : "";
    report_.add(files_, "create worktree" + cold, plain, theirs);
    if (!overlays_) return;
    report_.add(files_, "create overlay, base prepared" + cold, overlay, theirs);
    if (options_.cold) return;
    const std::string key = keys_.back();
    const std::string registration = repo_ + "/.git/worktrees/";
    report_.add_number(
        files_, "disk per overlay",
        static_cast<double>(disk_of(store_ + "/layers/" + key) + disk_of(registration + key) +
                            disk_of(index_of(key))) /
            1024,
        static_cast<double>(disk_of(trees_ + "/git0") + disk_of(registration + "git0")) / 1024,
        "KiB");
    if (files_ <= 10000) hundred();
  }

  ~Size() {
    for (const bg::WorktreeRef& one : mounted_) {
      bg::WorkLoss report;
      bg::RemoveOverlay remove{.worktree = {.worktree = one, .base = {}, .force = true},
                               .store = store_};
      static_cast<void>(bg::remove_overlay(remove, report));
    }
  }
  Size(const Size&) = delete;
  Size& operator=(const Size&) = delete;

 private:
  Cost measure(const std::function<void()>& work) {
    if (options_.cold) drop_caches();
    return timed(work);
  }
  std::string index_of(const std::string& key) const { return store_ + "/" + key + ".index"; }
  bg::CreateWorktree request(const std::string& name) {
    const std::string key = key_of(next_++);
    keys_.push_back(key);
    return {
        .worktree = {repo_, trees_ + "/" + name, key}, .base = {}, .private_index = index_of(key)};
  }
  void plain_create(const std::string& name) {
    auto made = bg::create_worktree(request(name));
    must(made.has_value(), made ? "" : made.error().message);
  }
  void overlay_create(const std::string& name) {
    const bg::CreateWorktree worktree = request(name);
    mounted_.push_back(worktree.worktree);
    auto made = bg::create_overlay({.worktree = worktree, .store = store_});
    must(made.has_value(), made ? "" : made.error().message);
  }
  void git_create(const std::string& name) {
    sh(repo_, "git worktree add -q -b " + name + " " + trees_ + "/" + name);
  }

  /// A hundred by eight threads, and by eight git commands at a time.
  void hundred() {
    constexpr int kCount = 100;
    constexpr int kAtOnce = 8;
    std::vector<bg::CreateOverlay> requests;
    for (int n = 0; n < kCount; ++n) {
      requests.push_back({.worktree = request("at-once" + std::to_string(n)), .store = store_});
      mounted_.push_back(requests.back().worktree.worktree);
    }
    std::atomic<int> next{0};
    std::atomic<int> failures{0};
    const Cost ours = timed([&] {
      std::vector<std::thread> threads;
      for (int t = 0; t < kAtOnce; ++t) {
        threads.emplace_back([&] {
          for (int n; (n = next++) < kCount;) {
            if (!bg::create_overlay(requests[static_cast<std::size_t>(n)])) ++failures;
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
    });
    must(failures == 0, std::to_string(failures) + " of a hundred overlays at once");
    expect_clean(requests.back().worktree.worktree.path);
    report_.add_number(files_, "100 overlays, 8 at once", ours.wall, 0, "ms");
    if (files_ > 1000) return;  // git would write a million files
    const Cost theirs = timed([&] {
      sh(repo_, "seq 100 | xargs -P 8 -I {} git worktree add -q -b w-{} " + trees_ + "/w-{}");
    });
    report_.add_number(files_, "100 workspaces, 8 at once", ours.wall, theirs.wall, "ms");
  }

  int files_;
  const Options& options_;
  Report& report_;
  std::string repo_;
  std::string trees_;
  std::string store_;
  bool overlays_;
  int next_ = 0;
  std::vector<std::string> keys_;
  std::vector<bg::WorktreeRef> mounted_;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] {
      must(i + 1 < argc, "no value after " + word);
      return std::string(argv[++i]);
    };
    if (word == "--files") {
      options.files.clear();
      std::string list = value() + ",";
      for (std::size_t comma; (comma = list.find(',')) != std::string::npos;) {
        options.files.push_back(std::atoi(list.substr(0, comma).c_str()));
        list.erase(0, comma + 1);
      }
    } else if (word == "--rounds") {
      options.rounds = std::max(1, std::atoi(value().c_str()));
    } else if (word == "--cold") {
      options.cold = true;
    } else if (word == "--json") {
      options.json = value();
    } else {
      options.folder = word;
    }
  }
  if (options.folder.empty()) {
    const char* temporary = std::getenv("TMPDIR");
    options.folder = temporary != nullptr ? temporary : "/tmp";
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) try {
  const Options options = parse(argc, argv);
  std::string root = options.folder + "/berth-create-bench-XXXXXX";
  must(::mkdtemp(root.data()) != nullptr, "mkdtemp in " + options.folder);
  const bg::Library library(bg::Library::Options{.user_config = false});
  int code = 0;
  try {
    Report report(options);
    for (const int files : options.files) Size(root, files, options, report).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "failed: %s\n", error.what());
    code = 1;
  }
  std::error_code ignored;
  fs::remove_all(root, ignored);
  return code;
} catch (const std::exception& error) {
  std::fprintf(stderr, "failed: %s\n", error.what());
  return 2;
}
