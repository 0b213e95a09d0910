// git/refs.h — refs and commits of a repository, whoever reads it: libgit2 or the git command.
// Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/git_command.h>
#include <berth/git/handles.h>
#include <berth/git/hardened.h>
#include <berth/git/opened.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace berth::git::detail {

/// Does this failure of libgit2 mean that the git command shall do it?
bool goes_to_command(const WorktreeRef& worktree, const Error& error);

struct NamedRef {
  std::string name;
  std::string id;
  /// When its commit was made; 0: it is gone, is none, or (by the git command) has above 64 KiB.
  std::int64_t time_s = 0;
};

/// Opened once, the backend chosen then.
class Refs {
 public:
  /// Of the repository of `worktree`; its path and key do not matter. `patience` is for the git
  /// command. Errors: those of inspect_repository.
  static Result<Refs> open(const WorktreeRef& worktree, const Patience& patience);

  const Location& location() const { return location_; }
  Backend backend() const { return command_.has_value() ? Backend::git_command : Backend::libgit2; }
  /// One of these two is there.
  git_repository* repository() const { return repository_.get(); }
  const HardenedGit* command() const { return command_ ? &*command_ : nullptr; }

  /// See HardenedGit.
  void go_to_the_end() {
    if (command_) command_->go_to_the_end();
  }

  /// As resolve_commit; empty means HEAD of the path that the repository was named by.
  Result<std::string> commit(const std::string& rev) const;
  /// The id that the ref points to; empty when there is no such ref.
  Result<std::string> target(const std::string& name) const;
  /// Those that begin with `prefix`, which ends in "/", by name; not those that name others.
  Result<std::vector<NamedRef>> list(const std::string& prefix) const;
  /// See set_ref and delete_ref in objects.h.
  Result<void> set(const std::string& name, const std::string& id) const;
  Result<void> remove(const std::string& name, const std::string& id) const;
  /// From an id to another, told in the ref's log. Error `conflict` "ref_moved" when it is at
  /// neither.
  Result<void> move(const std::string& name, const std::string& from, const std::string& to,
                    const std::string& why) const;
  /// The next free number below `prefix`, which ends in "/": 1 when there is none.
  Result<std::string> next_number(const std::string& prefix) const;
  /// Commits of `tip` that `base` has not.
  Result<std::uint64_t> beyond(const std::string& tip, const std::string& base) const;

  /// A commit as it is stored: headers, an empty line, the message.
  Result<std::string> raw_commit(const std::string& id) const;
  /// Writes a commit by "berth" without moving any ref.
  Result<std::string> write_commit(const std::string& tree, const std::vector<std::string>& parents,
                                   const std::string& message, std::int64_t time_s) const;
  /// The same by somebody else.
  Result<std::string> write_commit(const std::string& tree, const std::vector<std::string>& parents,
                                   const std::string& message, const Author& author) const;

 private:
  Refs(Location location, Handle<git_repository> repository, std::optional<HardenedGit> command)
      : location_(std::move(location)),
        repository_(std::move(repository)),
        command_(std::move(command)) {}

  Result<void> update(const std::vector<std::string>& arguments, const std::string& name) const;

  Location location_;
  Handle<git_repository> repository_;  // one of the two
  std::optional<HardenedGit> command_;
};

}  // namespace berth::git::detail
