// git/hardened.h — runs of the git command that execute nothing which a repository names. Private
// to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/git_command.h>
#include <berth/git/opened.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::git::detail {

/// What was begun is given so much time to come to its end. Git needs seconds for that; but a pipe
/// that an agent puts in the place of a file of attributes keeps it waiting for ever.
inline constexpr std::chrono::minutes kToTheEndMax{10};

/// Who makes a commit, and when.
struct Author {
  std::string name = "berth";
  std::string email = "berth@localhost";
  std::int64_t time_s = 0;
};

/// Git on the refs and objects of a repository. The repository's configuration is read, so only
/// commands are run here that look at no working file: then neither filters nor file system
/// monitors nor diff programs are asked for, and hooks are switched off. No transport works, so
/// nothing is fetched.
class HardenedGit {
 public:
  HardenedGit(GitCommand& command, Location location, Patience patience);

  /// Lets it fetch by that one transport ("file").
  void allow_transport(std::string name) { transport_ = std::move(name); }

  const Location& location() const { return location_; }
  GitCommand& command() const { return *command_; }
  const Patience& patience() const { return patience_; }

  /// What it printed. An exit code other than 0 is `internal` "git_failed", or by its text: `busy`
  /// "git_locked", `unavailable` "git_objects_missing" | "git_write_failed" | "git_unreadable",
  /// `unsupported` "git_index_unsupported" | "git_extension" | "git_format_version".
  /// `author`, when given, is that of a commit that is made.
  Result<std::string> run(std::vector<std::string> arguments, std::string input = {},
                          const std::optional<Author>& author = std::nullopt) const;

  /// From now on no cancel counts, and of deadlines only kToTheEndMax, beginning now.
  void go_to_the_end() {
    patience_ = {.deadline = std::chrono::steady_clock::now() + kToTheEndMax};
  }

 private:
  GitCommand* command_;
  Location location_;
  Patience patience_;
  std::string transport_ = "none";
};

/// A short-lived repository of berth's own that lends the objects of another, so that its working
/// files can be read and written without any of its configuration: no filter, hook or monitor of
/// that has a name here. Line endings, modes and ignore rules are taken over as data.
class BorrowedObjects {
 public:
  /// `folder` are the working files (need not exist for commands that look at none), `index` the
  /// file of the index.
  static Result<BorrowedObjects> make(const HardenedGit& git, std::string folder,
                                      std::string index);
  BorrowedObjects(BorrowedObjects&& other) noexcept;
  BorrowedObjects& operator=(BorrowedObjects&&) = delete;
  ~BorrowedObjects();

  /// Where it lies; gone with the object.
  const std::string& git_dir() const { return git_dir_; }
  const std::string& index() const { return index_; }
  /// An empty folder in the place of the working files.
  Result<void> use_no_files();
  /// An index that goes with the object.
  void use_own_index() { index_ = git_dir_ + "/index"; }
  /// Copies the index of the git folder `from` and uses the copy: what a split one is split over
  /// is looked for here too. Missing is fine.
  Result<void> take_index(const std::string& from);
  /// What HEAD is: a commit id; until then nothing.
  Result<void> set_head(const std::string& commit);
  Result<std::string> run(std::vector<std::string> arguments, std::string input = {}) const;
  /// The same, with a failure that is not an error: its exit code is in the answer.
  Result<GitOutput> try_run(std::vector<std::string> arguments, std::string input = {}) const;

 private:
  BorrowedObjects(GitCommand& command, Patience patience)
      : command_(&command), patience_(std::move(patience)) {}

  GitCommand* command_;
  Patience patience_;
  std::string git_dir_;
  std::string common_dir_;
  std::string folder_;
  std::string index_;
};

/// The parts of `text` between zero bytes; one at its end adds no part.
std::vector<std::string> split_at_zero(std::string_view text);

/// Without the line feed at its end.
std::string without_newline(std::string text);

}  // namespace berth::git::detail
