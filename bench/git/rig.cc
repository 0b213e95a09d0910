#include "rig.h"

#include <berth/git/library.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace berth::git::bench {
namespace {

namespace fs = std::filesystem;

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

void drop_caches() {
  ::sync();
  const int fd = ::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  must(fd >= 0 && ::write(fd, "3", 1) == 1, "drop_caches (root only)");
  ::close(fd);
}

/// `out` is where its output goes.
void start_git(const std::string& folder, const std::vector<std::string>& words,
               const std::string& index, const std::string& out) {
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

void make_repository(const std::string& path, int files) {
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

Report::~Report() {
  if (!json_.empty()) std::ofstream(json_) << "[" << entries_ << "\n]\n";
}

void Report::heading(const std::string& text) {
  std::printf("%-45s | wall ms: berth, git, ratio    | cpu ms: berth, git, ratio\n", text.c_str());
  std::fflush(stdout);
}

void Report::compare(int files, const std::string& name, const std::vector<Cost>& ours,
                     const std::vector<Cost>& theirs) {
  std::printf("  %-43s", name.c_str());
  std::string numbers = ", \"rounds\": " + std::to_string(ours.size());
  for (const auto& [part, word] : {std::pair{&Cost::wall, "wall"}, std::pair{&Cost::cpu, "cpu"}}) {
    std::vector<double> a;
    std::vector<double> b;
    std::vector<double> ratios;
    for (std::size_t n = 0; n < ours.size(); ++n) {
      a.push_back(ours[n].*part);
      b.push_back(theirs[n].*part);
      ratios.push_back(a.back() / b.back());
    }
    std::printf(" | %8.1f %8.1f  x%.3f", median(a), median(b), median(ratios));
    std::array<char, 200> text;
    std::snprintf(text.data(), text.size(),
                  R"(, "%s_ms": %.3f, "git_%s_ms": %.3f, "%s_ratio": %.4f)", word, median(a), word,
                  median(b), word, median(ratios));
    numbers += text.data();
  }
  std::printf("\n");
  std::fflush(stdout);
  entry(files, name, numbers);
}

void Report::number(int files, const std::string& name, double ours, double theirs,
                    const char* unit) {
  std::printf("  %-43s | %8.1f %8.1f %s\n", name.c_str(), ours, theirs, unit);
  std::fflush(stdout);
  std::array<char, 160> text;
  std::snprintf(text.data(), text.size(), R"(, "ours": %.3f, "git": %.3f, "unit": "%s")", ours,
                theirs, unit);
  entry(files, name, text.data());
}

void Report::entry(int files, const std::string& name, const std::string& numbers) {
  entries_ += entries_.empty() ? "\n" : ",\n";
  entries_ += R"(  {"files": )" + std::to_string(files) + R"(, "what": ")" + name + "\"" + numbers;
  entries_ += "}";
}

int run(int argc, char** argv,
        const std::function<void(const Options&, const std::string& root, Report&)>& work) {
  try {
    const Options options = parse_options(argc, argv);
    const Library library(Library::Options{.user_config = false});
    const Folder root(options.folder);
    Report report(options.json);
    work(options, root.path(), report);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "failed: %s\n", error.what());
    return 1;
  }
}

}  // namespace berth::git::bench
