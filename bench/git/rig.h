// bench/git/rig.h — what the programs of this folder measure with: options, costs, a report, the
// git command, and a repository to work on.
#pragma once

#include <berth/core/json_writer.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace berth::git::bench {

struct Options {
  std::vector<int> files{1000, 10000, 50000};
  std::vector<int> touched{1, 10, 20, 1000};
  int rounds = 5;
  int commits = 0;    ///< Of the history below the files, in several packs; 0: one commit.
  bool cold = false;  ///< The page cache is dropped before each measurement (root only).
  std::string only;   ///< A part of the names of what is measured.
  std::string json;
  std::string folder;  ///< TMPDIR or /tmp unless named.
};
/// [--files N,N..] [--touched N,N..] [--rounds N] [--commits N] [--cold] [--only WORD] [--json
/// FILE] [FOLDER]
Options parse_options(int argc, char** argv);

/// Wall and processor time (this process and its children) in ms.
struct Cost {
  double wall = 0;
  double cpu = 0;
};
Cost timed(const std::function<void()>& work);
/// The same after the page cache was dropped, if that is wanted.
Cost timed(const Options& options, const std::function<void()>& work);

/// Throws, so that what is mounted is unmounted on the way out.
void must(bool ok, const std::string& what);

/// Runs git in `folder`, its output thrown away; without a shell, so that only the start of git
/// counts, as a program that calls it pays it too.
void run_git(const std::string& folder, const std::vector<std::string>& words,
             const std::string& index = {});
/// Throws unless `git status` in `tree` says nothing.
void expect_clean(const std::string& tree);

/// A session's key that no other program of this folder uses at once.
std::string key_of(int n);

/// The n-th file of a repository, and what is in it: about 2 KiB.
std::string name_of(int n);
std::string text_of(int n);
void write(const std::string& path, const std::string& content);
/// `files` of them, 40 in a folder. In one commit, packed as a clone would be; or with a history of
/// `commits`, each of which changes three files, in a pack for each fifth of them.
void make_repository(const std::string& path, int files, int commits);

/// Allocated bytes below `path`; files with several names count for their first owner, not here.
std::uint64_t disk_of(const std::string& path);

/// A temporary folder, gone with the object.
class Folder {
 public:
  explicit Folder(const std::string& where);
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Prints figures as they come, and writes them as JSON at the end, with what the machine is.
class Report {
 public:
  explicit Report(const Options& options);
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  static void heading(const std::string& text);
  /// Medians of both sides, and the median of the ratios within a round.
  void compare(int files, const std::string& name, const std::vector<Cost>& ours,
               const std::vector<Cost>& theirs);
  void number(int files, const std::string& name, double ours, double theirs, const char* unit);

 private:
  void begin_row(int files, const std::string& name);

  std::string json_;
  std::string load_before_;
  std::string text_;
  JsonWriter rows_;
};

/// main(): Library held, errors told.
int run(int argc, char** argv,
        const std::function<void(const Options&, const std::string& root, Report&)>& work);

}  // namespace berth::git::bench
