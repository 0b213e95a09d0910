#include "rig.h"

#include "facts.h"

#include <berth/git/library.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace berth::git::bench {
namespace {

namespace fs = std::filesystem;
using berth::bench::Spread;

constexpr int kPacks = 5;

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

constexpr const char* kDropCaches = "/proc/sys/vm/drop_caches";

void drop_caches() {
  ::sync();
  const int fd = ::open(kDropCaches, O_WRONLY | O_CLOEXEC);
  must(fd >= 0 && ::write(fd, "3", 1) == 1, kDropCaches);
  ::close(fd);
}

/// `out` is where its output goes.
void start_git(const std::string& folder, const std::vector<std::string>& words,
               const std::string& index, const std::string& out, const std::string& in = {}) {
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
  ::posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!in.empty()) ::posix_spawn_file_actions_addopen(&actions, 0, in.c_str(), O_RDONLY, 0);
  pid_t pid = 0;
  must(::posix_spawnp(&pid, "git", &actions, nullptr, argv.data(), envp.data()) == 0, "git");
  ::posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  ::waitpid(pid, &status, 0);
  must(status == 0, "git " + words[0] + " in " + folder);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::vector<int> numbers_of(std::string list) {
  std::vector<int> numbers;
  list += ",";
  for (std::size_t comma; (comma = list.find(',')) != std::string::npos;) {
    numbers.push_back(std::max(1, std::atoi(list.substr(0, comma).c_str())));
    list.erase(0, comma + 1);
  }
  return numbers;
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] {
      must(i + 1 < argc, "no value after " + word);
      return std::string(argv[++i]);
    };
    if (word == "--files") {
      options.files = numbers_of(value());
    } else if (word == "--touched") {
      options.touched = numbers_of(value());
    } else if (word == "--rounds") {
      options.rounds = numbers_of(value())[0];
    } else if (word == "--commits") {
      options.commits = numbers_of(value())[0];
    } else if (word == "--cold") {
      options.cold = true;
    } else if (word == "--only") {
      options.only = value();
    } else if (word == "--json") {
      options.json = value();
    } else {
      must(!word.starts_with("-"), "unknown option " + word);
      options.folder = word;
    }
  }
  if (options.folder.empty()) {
    const char* temporary = std::getenv("TMPDIR");
    options.folder = temporary != nullptr ? temporary : "/tmp";
  }
  return options;
}

Cost timed(const std::function<void()>& work) {
  const double cpu = cpu_ms();
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - start;
  return {wall.count(), cpu_ms() - cpu};
}

Cost timed(const Options& options, const std::function<void()>& work) {
  if (options.cold) drop_caches();
  return timed(work);
}

void must(bool ok, const std::string& what) {
  if (!ok) throw std::runtime_error(what);
}

void run_git(const std::string& folder, const std::vector<std::string>& words,
             const std::string& index) {
  start_git(folder, words, index, "/dev/null");
}

void expect_clean(const std::string& tree) {
  const std::string told = tree + ".status";
  start_git(tree, {"status", "--porcelain"}, {}, told);
  must(fs::file_size(told) == 0, "clean status of " + tree);
  fs::remove(told);
}

std::string key_of(int n) {
  const std::string digits = std::to_string(n);
  return std::string("01b").append(23 - digits.size(), '0') + digits;
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

void write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

namespace {

/// Part `part` of the commits as `git fast-import` reads it. The first of all brings every file,
/// the last of all has them as text_of() says again.
void write_import(const std::string& path, int files, int commits, int part) {
  std::ofstream out(path, std::ios::binary);
  const auto data = [&](const std::string& text) { out << "data " << text.size() << "\n" << text; };
  const auto file = [&](int n, const std::string& end) {
    out << "M 100644 inline " << name_of(n) << "\n";
    data(text_of(n) + end);
    out << "\n";
  };
  const int begin = commits * part / kPacks;
  const int end = commits * (part + 1) / kPacks;
  for (int n = begin; n < end; ++n) {
    out << "commit refs/heads/main\ncommitter b <b@b> " << 1'600'000'000 + n * 600 << " +0000\n";
    data("change " + std::to_string(n));
    if (n == begin && n > 0) out << "\nfrom refs/heads/main^0";
    out << "\n";
    if (n == 0 || n == commits - 1) {
      for (int i = 0; i < files; ++i) file(i, "");
      continue;
    }
    for (int i = 0; i < 3; ++i) {
      file(static_cast<int>((n * 131L + i * 977L) % files), "change " + std::to_string(n) + "\n");
    }
  }
}

}  // namespace

void make_repository(const std::string& path, int files, int commits) {
  if (commits > 0) {
    fs::create_directories(path);
    run_git(path, {"init", "-q", "-b", "main"});
    for (int part = 0; part < kPacks; ++part) {
      const std::string input = path + ".import";
      write_import(input, files, commits, part);
      start_git(path, {"fast-import", "--quiet", "--force"}, {}, "/dev/null", input);
      fs::remove(input);
    }
    run_git(path, {"reset", "-q", "--hard", "main"});
    return;
  }
  for (int i = 0; i < files; ++i) {
    const fs::path file = path + "/" + name_of(i);
    if (i % 40 == 0) fs::create_directories(file.parent_path());
    write(file, text_of(i));
  }
  run_git(path, {"init", "-q", "-b", "main"});
  run_git(path, {"add", "-A"});
  run_git(path, {"commit", "-q", "-m", "base"});
  run_git(path, {"repack", "-q", "-a", "-d"});
}

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

Folder::Folder(const std::string& where) : path_(where + "/berth-git-bench-XXXXXX") {
  must(::mkdtemp(path_.data()) != nullptr, "mkdtemp in " + where);
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

Report::Report(const Options& options)
    : json_(options.json), load_before_(berth::bench::load_average()), rows_(text_) {
  rows_.begin_object();
  rows_.key("rows").begin_array();
}

Report::~Report() {
  rows_.end_array();
  berth::bench::write_machine(rows_, load_before_);
  rows_.end_object();
  if (!json_.empty()) std::ofstream(json_) << text_ << "\n";
}

void Report::heading(const std::string& text) {
  std::printf("%-45s | wall ms: berth, git, ratio    | cpu ms: berth, git, ratio\n", text.c_str());
  std::fflush(stdout);
}

void Report::compare(int files, const std::string& name, const std::vector<Cost>& ours,
                     const std::vector<Cost>& theirs) {
  std::printf("  %-43s", name.c_str());
  begin_row(files, name);
  rows_.member_uint64("rounds", ours.size());
  for (const auto& [part, word] : {std::pair{&Cost::wall, "wall"}, std::pair{&Cost::cpu, "cpu"}}) {
    std::vector<double> a;
    std::vector<double> b;
    std::vector<double> ratios;
    for (std::size_t n = 0; n < ours.size(); ++n) {
      a.push_back(ours[n].*part);
      b.push_back(theirs[n].*part);
      ratios.push_back(a.back() / std::max(b.back(), 1e-6));
    }
    const Spread ratio = berth::bench::spread_of(ratios);
    std::printf(" | %8.1f %8.1f  x%.3f", median(a), median(b), ratio.median);
    const std::string key = word;
    rows_.key(key + "_ms").number(berth::bench::rounded(median(a), 3));
    rows_.key("git_" + key + "_ms").number(berth::bench::rounded(median(b), 3));
    berth::bench::write_spread(rows_, key + "_ratio", ratio, 4);
  }
  rows_.end_object();
  std::printf("\n");
  std::fflush(stdout);
}

void Report::number(int files, const std::string& name, double ours, double theirs,
                    const char* unit) {
  std::printf("  %-43s | %8.1f %8.1f %s\n", name.c_str(), ours, theirs, unit);
  std::fflush(stdout);
  begin_row(files, name);
  rows_.key("ours").number(berth::bench::rounded(ours, 3));
  rows_.key("git").number(berth::bench::rounded(theirs, 3));
  rows_.member("unit", unit).end_object();
}

void Report::begin_row(int files, const std::string& name) {
  rows_.begin_object();
  rows_.member_int64("files", files).member("what", name);
}

int run(int argc, char** argv,
        const std::function<void(const Options&, const std::string& root, Report&)>& work) {
  try {
    const Options options = parse_options(argc, argv);
    if (options.cold && ::access(kDropCaches, W_OK) != 0) {
      std::printf("skipped: --cold writes to %s, which this user may not\n", kDropCaches);
      return 0;
    }
    const Library library(Library::Options{.user_config = false});
    const Folder root(options.folder);
    Report report(options);
    work(options, root.path(), report);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "failed: %s\n", error.what());
    return 1;
  }
}

}  // namespace berth::git::bench
