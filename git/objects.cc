#include <berth/git/failure.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>

#include <git2.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <string_view>

namespace berth::git::detail {
namespace {

constexpr std::chrono::milliseconds kDeadLockAge{2000};
constexpr std::chrono::milliseconds kDeadLockLook{50};

Result<git_oid> parse_id(const std::string& id) {
  git_oid oid;
  if (!is_object_id(id) || id.size() != GIT_OID_HEXSZ || git_oid_fromstr(&oid, id.c_str()) != 0) {
    return fail(ErrorKind::invalid, "bad_object_id", "'" + id + "': not 40 hex digits");
  }
  return oid;
}

/// Calls `attempt` until it does not meet another writer's lock file or a folder that another one
/// is just removing. Lock files cannot be waited for, so this asks again, half a second in all; and
/// once more where the writer was killed.
template <typename Attempt>
int retried(git_repository* repository, const std::string& name, Attempt attempt) {
  int rc = attempt();
  for (int wait_ms = 1; wait_ms < 256 && (rc == GIT_ELOCKED || rc == GIT_ENOTFOUND || rc == -1);
       wait_ms *= 2) {
    ::poll(nullptr, 0, wait_ms);
    rc = attempt();
  }
  if (rc == GIT_ELOCKED && clear_dead_lock(git_repository_commondir(repository), name)) {
    rc = attempt();
  }
  return rc;
}

}  // namespace

std::string hex(const git_oid& id) {
  std::string out(GIT_OID_HEXSZ, '0');
  git_oid_fmt(out.data(), &id);
  return out;
}

Result<Handle<git_commit>> find_commit(git_repository* repository, const std::string& rev) {
  const std::string name = rev.empty() ? "HEAD" : rev;
  if (name == "HEAD" && git_repository_head_unborn(repository) == 1) {
    return fail(ErrorKind::conflict, "repository_empty",
                std::string(git_repository_path(repository)) + ": has no commit yet");
  }
  Handle<git_object> object;
  int rc = git_revparse_single(out(object), repository, name.c_str());
  if (rc == GIT_ENOTFOUND || rc == GIT_EINVALIDSPEC || rc == GIT_EAMBIGUOUS) {
    return fail(ErrorKind::not_found, "rev_not_found", libgit2_error(rc, "'" + name + "'").message);
  }
  if (rc != 0) return libgit2_fail(rc, "'" + name + "'");
  Handle<git_object> peeled;
  rc = git_object_peel(out(peeled), object.get(), GIT_OBJECT_COMMIT);
  if (rc == GIT_EPEEL || rc == GIT_EINVALIDSPEC || rc == GIT_EAMBIGUOUS) {
    return fail(ErrorKind::invalid, "not_a_commit", "'" + name + "': does not name a commit");
  }
  if (rc != 0) return libgit2_fail(rc, "'" + name + "'");
  return Handle<git_commit>(reinterpret_cast<git_commit*>(peeled.release()));
}

Result<Handle<git_tree>> find_tree(git_repository* repository, const std::string& id) {
  Result<git_oid> oid = parse_id(id);
  if (!oid) return fail(std::move(oid).error());
  Handle<git_object> object;
  int rc = git_object_lookup(out(object), repository, &*oid, GIT_OBJECT_ANY);
  if (rc != 0) return libgit2_fail(rc, "object " + id);
  Handle<git_object> tree;
  rc = git_object_peel(out(tree), object.get(), GIT_OBJECT_TREE);
  if (rc != 0) {
    return fail(ErrorKind::invalid, "bad_object_id", id + ": neither a commit nor a tree");
  }
  return Handle<git_tree>(reinterpret_cast<git_tree*>(tree.release()));
}

Result<std::string> ref_target(git_repository* repository, const std::string& name) {
  git_oid oid;
  const int rc = git_reference_name_to_id(&oid, repository, name.c_str());
  if (rc == GIT_ENOTFOUND) return std::string();
  if (rc != 0) return libgit2_fail(rc, name);
  return hex(oid);
}

bool clear_dead_lock(const std::string& common_dir, const std::string& name) {
  if (!name.starts_with("refs/berth/") && !name.starts_with("refs/heads/berth/")) return false;
  const std::string file = common_dir + "/" + name + ".lock";
  struct stat first = {};
  if (::stat(file.c_str(), &first) != 0) return true;
  // Whoever lives holds such a lock for milliseconds. What was seen all this time is as dead as
  // what is older: a clock that was set back makes it look younger.
  for (std::chrono::milliseconds seen{}; seen < kDeadLockAge; seen += kDeadLockLook) {
    const auto age = std::chrono::system_clock::now().time_since_epoch() -
                     std::chrono::seconds(first.st_mtim.tv_sec);
    if (age > kDeadLockAge + std::chrono::seconds(1)) break;
    ::poll(nullptr, 0, static_cast<int>(kDeadLockLook.count()));
    struct stat now = {};
    if (::stat(file.c_str(), &now) != 0) return true;
    if (now.st_ino != first.st_ino || now.st_mtim.tv_nsec != first.st_mtim.tv_nsec) return false;
  }
  return ::unlink(file.c_str()) == 0 || errno == ENOENT;
}

Result<void> set_ref(git_repository* repository, const std::string& name, const std::string& id) {
  Result<git_oid> oid = parse_id(id);
  if (!oid) return fail(std::move(oid).error());
  const int rc = retried(repository, name, [&] {
    Handle<git_reference> made;
    return git_reference_create(out(made), repository, name.c_str(), &*oid, 1, "berth");
  });
  if (rc != 0) return libgit2_fail(rc, name);
  return {};
}

Result<void> delete_ref(git_repository* repository, const std::string& name,
                        const std::string& id) {
  const int rc = retried(repository, name, [&] {
    Handle<git_reference> found;
    const int looked = git_reference_lookup(out(found), repository, name.c_str());
    if (looked == GIT_ENOTFOUND) return 0;
    if (looked != 0) return looked;
    const git_oid* target = git_reference_target(found.get());
    if (target == nullptr || hex(*target) != id) return static_cast<int>(GIT_EMODIFIED);
    return git_reference_delete(found.get());
  });
  if (rc == GIT_EMODIFIED) {
    return fail(ErrorKind::conflict, "ref_moved", name + ": was moved by somebody else");
  }
  if (rc != 0) return libgit2_fail(rc, name);
  return {};
}

Result<std::int64_t> highest_number(git_repository* repository, const std::string& prefix) {
  Handle<git_reference_iterator> iterator;
  int rc = git_reference_iterator_glob_new(out(iterator), repository, (prefix + "*").c_str());
  std::int64_t highest = -1;
  const char* name = nullptr;
  while (rc == 0 && (rc = git_reference_next_name(&name, iterator.get())) == 0) {
    const std::string_view text = std::string_view(name).substr(prefix.size());
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size())
      highest = std::max(highest, number);
  }
  if (rc != GIT_ITEROVER) return libgit2_fail(rc, prefix);
  return highest;
}

Result<std::string> write_commit(git_repository* repository, const git_oid& tree_id,
                                 const std::vector<std::string>& parents,
                                 const std::string& message, const Author& author) {
  Handle<git_tree> tree;
  int rc = git_tree_lookup(out(tree), repository, &tree_id);
  if (rc != 0) return libgit2_fail(rc, "tree " + hex(tree_id));
  std::vector<Handle<git_commit>> owned;
  std::vector<const git_commit*> pointers;
  for (const std::string& parent : parents) {
    Result<git_oid> oid = parse_id(parent);
    if (!oid) return fail(ErrorKind::invalid, "bad_parent", oid.error().message);
    Handle<git_commit> commit;
    if (git_commit_lookup(out(commit), repository, &*oid) != 0) {
      return fail(ErrorKind::invalid, "bad_parent", parent + ": no such commit");
    }
    pointers.push_back(commit.get());
    owned.push_back(std::move(commit));
  }
  Handle<git_signature> signature;
  rc = git_signature_new(out(signature), author.name.c_str(), author.email.c_str(), author.time_s,
                         0);
  git_oid commit_id;
  if (rc == 0) {
    rc = git_commit_create(&commit_id, repository, nullptr, signature.get(), signature.get(),
                           nullptr, message.c_str(), tree.get(), pointers.size(), pointers.data());
  }
  if (rc != 0) return libgit2_fail(rc, "commit of tree " + hex(tree_id));
  return hex(commit_id);
}

}  // namespace berth::git::detail
