#include <berth/core/text.h>
#include <berth/git/cat_file.h>
#include <berth/git/failure.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>
#include <berth/git/refs.h>

#include <git2.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <sstream>

namespace berth::git::detail {
namespace {

// Together half of GitRun::output_max. A commit of berth's has less than 1 KiB.
constexpr std::uint64_t kCommitBytesMax = 64 * 1024;
constexpr std::size_t kCommitsAtOnce = 500;

std::int64_t number_of(std::string_view text) {
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : -1;
}

Result<std::string> commit_by_command(const HardenedGit& git, const std::string& rev) {
  const std::string name = rev.empty() ? "HEAD" : rev;
  Result<std::string> object =
      git.run({"rev-parse", "--quiet", "--verify", "--end-of-options", name + "^{object}"});
  if (!object && object.error().kind != ErrorKind::internal) return object;
  if (!object) {
    if (name == "HEAD") {
      return fail(ErrorKind::conflict, "repository_empty",
                  git.location().git_dir + ": has no commit yet");
    }
    return fail(ErrorKind::not_found, "rev_not_found", "'" + name + "': does not exist");
  }
  Result<std::string> commit =
      git.run({"rev-parse", "--quiet", "--verify", "--end-of-options", name + "^{commit}"});
  if (!commit && commit.error().kind == ErrorKind::internal) {
    return fail(ErrorKind::invalid, "not_a_commit", "'" + name + "': does not name a commit");
  }
  if (!commit) return commit;
  return without_newline(*std::move(commit));
}

/// When the commit was made, by its line "committer berth <berth@localhost> 1700000000 +0000".
std::int64_t time_of(std::string_view commit) {
  const std::size_t committer = commit.find("\ncommitter ");
  if (committer == std::string_view::npos) return 0;
  std::string_view rest = commit.substr(committer + 1);
  const std::string_view line = take_line(rest);
  const std::size_t end = line.rfind(' ');
  const std::size_t begin = end == std::string_view::npos ? end : line.rfind(' ', end - 1);
  if (begin == std::string_view::npos) return 0;
  return std::max<std::int64_t>(number_of(line.substr(begin + 1, end - begin - 1)), 0);
}

Result<std::vector<NamedRef>> list_refs(git_repository* repository, const std::string& prefix) {
  std::vector<NamedRef> refs;
  Handle<git_reference_iterator> iterator;
  int rc = git_reference_iterator_glob_new(out(iterator), repository, (prefix + "*").c_str());
  Handle<git_reference> next;
  while (rc == 0 && (rc = git_reference_next(out(next), iterator.get())) == 0) {
    const git_oid* id = git_reference_target(next.get());
    if (id == nullptr) continue;
    NamedRef ref{.name = git_reference_name(next.get()), .id = hex(*id)};
    Handle<git_commit> commit;
    if (git_commit_lookup(out(commit), repository, id) == 0) {
      ref.time_s = git_commit_time(commit.get());
    }
    refs.push_back(std::move(ref));
  }
  if (rc != GIT_ITEROVER) return libgit2_fail(rc, prefix);
  std::sort(refs.begin(), refs.end(),
            [](const NamedRef& left, const NamedRef& right) { return left.name < right.name; });
  return refs;
}

/// The refs first and their objects then: a ref whose object is gone, or no small commit, is listed
/// too.
Result<std::vector<NamedRef>> list_by_command(const HardenedGit& git, const std::string& prefix) {
  Result<std::string> listed =
      git.run({"for-each-ref", "--format=%(refname) %(objectname) %(symref)", prefix});
  if (!listed) return fail(std::move(listed).error());
  std::vector<NamedRef> refs;
  std::vector<std::string> ids;
  std::istringstream lines(*listed);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    NamedRef ref;
    std::string other;
    words >> ref.name >> ref.id >> other;
    if (!other.empty()) continue;
    ids.push_back(ref.id);
    refs.push_back(std::move(ref));
  }
  std::map<std::string, std::int64_t, std::less<>> times;
  Result<void> read = read_objects(
      git, ids, "commit", [](std::uint64_t bytes) { return bytes <= kCommitBytesMax; },
      kCommitsAtOnce,
      [&times](std::string_view id, std::string_view commit) {
        times.emplace(id, time_of(commit));
      });
  if (!read) return fail(std::move(read).error());
  for (NamedRef& ref : refs) {
    const auto time = times.find(ref.id);
    if (time != times.end()) ref.time_s = time->second;
  }
  return refs;
}

}  // namespace

bool goes_to_command(const WorktreeRef& worktree, const Error& error) {
  return worktree.command != nullptr && worktree.backend == Backend::automatic &&
         error.kind == ErrorKind::unsupported;
}

Result<Refs> Refs::open(const WorktreeRef& worktree, const Patience& patience) {
  if (worktree.backend != Backend::git_command) {
    Result<Opened> opened = open_objects(worktree.repository);
    if (opened) return Refs(opened->location, std::move(opened->repository), std::nullopt);
    if (!goes_to_command(worktree, opened.error())) return fail(std::move(opened).error());
  }
  if (worktree.command == nullptr) {
    return fail(ErrorKind::unsupported, "git_command_missing",
                worktree.repository + ": needs the git command, which is not configured");
  }
  Result<Location> location = locate(worktree.repository);
  if (!location) return fail(std::move(location).error());
  HardenedGit git(*worktree.command, *location, patience);
  // Git's own judgement whether it can read it, before anything is decided by its answers.
  if (Result<std::string> dir = git.run({"rev-parse", "--git-dir"}); !dir) {
    return fail(std::move(dir).error());
  }
  return Refs(*std::move(location), Handle<git_repository>(), std::move(git));
}

Result<std::string> Refs::commit(const std::string& rev) const {
  if (command_) return commit_by_command(*command_, rev);
  Result<Handle<git_commit>> found = find_commit(repository_.get(), rev);
  if (!found) return fail(std::move(found).error());
  return hex(*git_commit_id(found->get()));
}

Result<std::string> Refs::target(const std::string& name) const {
  if (!command_) return ref_target(repository_.get(), name);
  Result<std::string> found =
      command_->run({"for-each-ref", "--format=%(refname) %(objectname)", name});
  if (!found) return found;
  std::istringstream lines(*found);
  for (std::string ref, id; lines >> ref >> id;) {
    if (ref == name) return id;  // a pattern also finds what lies below the name
  }
  return std::string();
}

Result<std::vector<NamedRef>> Refs::list(const std::string& prefix) const {
  return command_ ? list_by_command(*command_, prefix) : list_refs(repository_.get(), prefix);
}

Result<void> Refs::set(const std::string& name, const std::string& id) const {
  if (!command_) return set_ref(repository_.get(), name, id);
  return update({"update-ref", "--no-deref", name, id}, name);
}

Result<void> Refs::remove(const std::string& name, const std::string& id) const {
  if (!command_) return delete_ref(repository_.get(), name, id);
  Result<std::string> now = target(name);
  if (!now) return fail(std::move(now).error());
  if (now->empty()) return {};
  if (*now != id) {
    return fail(ErrorKind::conflict, "ref_moved", name + ": was moved by somebody else");
  }
  return update({"update-ref", "--no-deref", "-d", name, id}, name);
}

Result<void> Refs::move(const std::string& name, const std::string& from, const std::string& to,
                        const std::string& why) const {
  const auto moved = [&name] {
    return fail(ErrorKind::conflict, "ref_moved", name + ": was moved by somebody else");
  };
  if (command_) {
    Result<void> done = update({"update-ref", "--no-deref", "-m", why, name, to, from}, name);
    if (done) return done;
    // Git says the same of a ref that is elsewhere as of one that is locked.
    Result<std::string> now = target(name);
    if (now && *now == to) return {};
    return now && *now != from ? Result<void>(moved()) : done;
  }
  Handle<git_reference> reference;
  git_oid from_id;
  git_oid to_id;
  int rc = git_oid_fromstr(&from_id, from.c_str());
  if (rc == 0) rc = git_oid_fromstr(&to_id, to.c_str());
  if (rc == 0) {
    rc = git_reference_create_matching(out(reference), repository_.get(), name.c_str(), &to_id, 1,
                                       &from_id, why.c_str());
  }
  if (rc == GIT_EMODIFIED) return moved();
  if (rc != 0) return libgit2_fail(rc, name);
  return {};
}

Result<void> Refs::update(const std::vector<std::string>& arguments,
                          const std::string& name) const {
  Result<std::string> done = command_->run(arguments);
  const bool locked = !done && std::string_view(done.error().code) == "git_locked";
  if (locked && clear_dead_lock(location_.common_dir, name)) done = command_->run(arguments);
  if (!done) return fail(std::move(done).error());
  return {};
}

Result<std::string> Refs::next_number(const std::string& prefix) const {
  std::int64_t highest = -1;
  if (!command_) {
    Result<std::int64_t> found = highest_number(repository_.get(), prefix);
    if (!found) return fail(std::move(found).error());
    highest = *found;
  } else {
    Result<std::string> found = command_->run({"for-each-ref", "--format=%(refname)", prefix});
    if (!found) return found;
    std::istringstream lines(*found);
    for (std::string ref; lines >> ref;) {
      if (ref.starts_with(prefix))
        highest = std::max(highest, number_of(ref.substr(prefix.size())));
    }
  }
  return std::to_string(std::max<std::int64_t>(highest, 0) + 1);
}

Result<std::uint64_t> Refs::beyond(const std::string& tip, const std::string& base) const {
  if (tip == base) return 0;
  if (command_) {
    Result<std::string> count = command_->run({"rev-list", "--count", tip, "^" + base, "--"});
    if (!count) return fail(std::move(count).error());
    return static_cast<std::uint64_t>(
        std::max<std::int64_t>(number_of(without_newline(*count)), 0));
  }
  git_oid tip_id;
  git_oid base_id;
  std::size_t ahead = 0;
  std::size_t behind = 0;
  int rc = git_oid_fromstr(&tip_id, tip.c_str());
  if (rc == 0) rc = git_oid_fromstr(&base_id, base.c_str());
  if (rc == 0) {
    rc = git_graph_ahead_behind(&ahead, &behind, repository_.get(), &tip_id, &base_id);
  }
  if (rc != 0) return libgit2_fail(rc, tip + " and " + base);
  return ahead;
}

Result<std::string> Refs::raw_commit(const std::string& id) const {
  if (!is_object_id(id)) return fail(ErrorKind::invalid, "bad_object_id", "'" + id + "'");
  if (command_) return command_->run({"cat-file", "commit", id});
  git_oid oid;
  Handle<git_odb> odb;
  Handle<git_odb_object> object;
  int rc = git_oid_fromstr(&oid, id.c_str());
  if (rc == 0) rc = git_repository_odb(out(odb), repository_.get());
  if (rc == 0) rc = git_odb_read(out(object), odb.get(), &oid);
  if (rc != 0) return libgit2_fail(rc, "commit " + id);
  if (git_odb_object_type(object.get()) != GIT_OBJECT_COMMIT) {
    return fail(ErrorKind::invalid, "not_a_commit", id + ": is no commit");
  }
  return std::string(static_cast<const char*>(git_odb_object_data(object.get())),
                     git_odb_object_size(object.get()));
}

Result<std::string> Refs::write_commit(const std::string& tree,
                                       const std::vector<std::string>& parents,
                                       const std::string& message, std::int64_t time_s) const {
  return write_commit(tree, parents, message, Author{.time_s = time_s});
}

Result<std::string> Refs::write_commit(const std::string& tree,
                                       const std::vector<std::string>& parents,
                                       const std::string& message, const Author& author) const {
  if (!is_object_id(tree)) return fail(ErrorKind::invalid, "bad_object_id", "'" + tree + "'");
  if (!command_) {
    git_oid oid;
    git_oid_fromstr(&oid, tree.c_str());
    return detail::write_commit(repository_.get(), oid, parents, message, author);
  }
  std::vector<std::string> arguments = {"commit-tree", tree, "-F", "-"};
  for (const std::string& parent : parents) {
    arguments.emplace_back("-p");
    arguments.push_back(parent);
  }
  Result<std::string> commit = command_->run(std::move(arguments), message, author);
  if (!commit) return commit;
  return without_newline(*std::move(commit));
}

}  // namespace berth::git::detail
