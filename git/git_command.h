// git/git_command.h — the git program as somebody else runs it for us, where libgit2 does not do.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace berth::git {

/// One run of git.
struct GitRun {
  std::vector<std::string> arguments;  ///< Without "git" itself.
  /// The whole environment but for PATH, which is the operator's.
  std::vector<std::pair<std::string, std::string>> environment;
  std::string directory;  ///< Absolute.
  std::string input;      ///< Its stdin, which then ends.
  std::size_t output_max = std::size_t{64} << 20;
  Patience patience;
};

struct GitOutput {
  int exit_code = -1;  ///< 128 + number when a signal ended it.
  std::string output;
  std::string error;  ///< Its first 64 KiB.
};

/// Runs git. Blocking, from any thread, several at once. Outlives every call that was given it.
class GitCommand {
 public:
  virtual ~GitCommand() = default;

  /// A program that ended with a code other than 0 is no error of this call.
  ///
  /// Errors: `unsupported` "git_command_missing"; `overloaded` "git_output_too_large" (it was
  /// killed), `timed_out` "git_timed_out", `cancelled`: then its process and what it started are
  /// gone.
  virtual Result<GitOutput> run(const GitRun& run) = 0;

  /// A folder of berth's own, not readable for others, for files that live as long as one call.
  virtual std::string scratch_folder() const = 0;
};

/// What performs the calls on a repository.
enum class Backend : std::uint8_t {
  /// libgit2, or the git command where libgit2 cannot read the repository and there is a command.
  automatic,
  libgit2,
  git_command,
};

}  // namespace berth::git
