#include <berth/git/failure.h>
#include <berth/git/objects.h>
#include <berth/git/tree_difference.h>
#include <berth/git/tree_items.h>
#include <berth/git/tree_update.h>

#include <git2.h>
#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace berth::git::detail {
namespace {

constexpr int kBeforeAllOthers = 999;
/// Folders further down stay as they are: this calls itself for each.
constexpr int kDepthMax = 256;

/// The entries of a tree, which point into its object.
struct Items {
  Handle<git_odb_object> object;
  std::vector<TreeItem> all;
};

/// The bytes of two new trees.
struct Cut {
  std::string before;
  std::string after;
};

bool is_folder(const TreeItem& item) {
  return item.mode == GIT_FILEMODE_TREE;
}

/// As git sorts them: a folder as if its name ended in a slash. Two that only differ in what they
/// are, a file and a folder, are no pair.
int order(const TreeItem& left, const TreeItem& right) {
  const std::size_t shorter = std::min(left.name.size(), right.name.size());
  const int known = left.name.substr(0, shorter).compare(right.name.substr(0, shorter));
  if (known != 0) return known;
  const auto next = [shorter](const TreeItem& item) -> int {
    if (item.name.size() > shorter) return static_cast<unsigned char>(item.name[shorter]);
    return is_folder(item) ? '/' : 0;
  };
  const int differ = next(left) - next(right);
  if (differ != 0) return differ;
  return static_cast<int>(left.name.size()) - static_cast<int>(right.name.size());
}

/// Entries that are out of order in a broken tree are taken for different: libgit2 decides then.
class Cutter {
 public:
  Cutter(git_odb* odb, const Patience& patience) : odb_(odb), patience_(patience) {}

  Result<void> open() {
    int rc = git_mempack_new(&memory_);
    if (rc == 0) rc = git_odb_add_backend(odb_, memory_, kBeforeAllOthers);
    if (rc != 0) return libgit2_fail(rc, "objects");
    return {};
  }

  Result<Cut> cut(const ObjectId& before, const ObjectId& after, int depth) {
    Cut left;
    if (before == after) return left;
    if (Result<void> patient = patience_.check("comparing trees"); !patient) {
      return fail(std::move(patient).error());
    }
    Result<Items> old_items = read(before);
    if (!old_items) return fail(std::move(old_items).error());
    Result<Items> new_items = read(after);
    if (!new_items) return fail(std::move(new_items).error());
    auto one = old_items->all.begin();
    auto other = new_items->all.begin();
    while (one != old_items->all.end() && other != new_items->all.end()) {
      const int side = order(*one, *other);
      if (side < 0) {
        left.before += (one++)->bytes;
      } else if (side > 0) {
        left.after += (other++)->bytes;
      } else if (Result<void> put = put_pair(*one++, *other++, left, depth); !put) {
        return fail(std::move(put).error());
      }
    }
    for (; one != old_items->all.end(); ++one) left.before += one->bytes;
    for (; other != new_items->all.end(); ++other) left.after += other->bytes;
    return left;
  }

  Result<ObjectId> store(std::string_view bytes) {
    git_oid oid;
    int rc = git_odb_hash(&oid, bytes.data(), bytes.size(), GIT_OBJECT_TREE);
    if (rc == 0) rc = memory_->write(memory_, &oid, bytes.data(), bytes.size(), GIT_OBJECT_TREE);
    if (rc != 0) return libgit2_fail(rc, "a tree in memory");
    return to_id(oid);
  }

 private:
  Result<Items> read(const ObjectId& id) {
    Items items;
    const git_oid oid = to_oid(id);
    const int rc = git_odb_read(out(items.object), odb_, &oid);
    if (rc != 0) return libgit2_fail(rc, hex(id));
    std::string_view rest(static_cast<const char*>(git_odb_object_data(items.object.get())),
                          git_odb_object_size(items.object.get()));
    bool whole = git_odb_object_type(items.object.get()) == GIT_OBJECT_TREE;
    for (TreeItem item; whole && !rest.empty();) {
      whole = take_item(rest, item);
      if (whole) items.all.push_back(item);
    }
    if (!whole) return fail(ErrorKind::internal, "git_failed", hex(id) + ": is no tree");
    return items;
  }

  Result<void> put_pair(const TreeItem& before, const TreeItem& after, Cut& left, int depth) {
    if (before.mode == after.mode && before.id == after.id) return {};
    if (!is_folder(before) || depth == kDepthMax) {
      left.before += before.bytes;
      left.after += after.bytes;
      return {};
    }
    Result<Cut> below = cut(before.id, after.id, depth + 1);
    if (!below) return fail(std::move(below).error());
    Result<void> put = put_folder(before, below->before, left.before);
    return put ? put_folder(after, below->after, left.after) : put;
  }

  Result<void> put_folder(const TreeItem& folder, const std::string& bytes, std::string& into) {
    if (bytes.empty()) return {};
    Result<ObjectId> id = store(bytes);
    if (!id) return fail(std::move(id).error());
    into += folder.bytes.substr(0, folder.bytes.size() - id->size());
    into.append(reinterpret_cast<const char*>(id->data()), id->size());
    return {};
  }

  git_odb* odb_;
  git_odb_backend* memory_ = nullptr;  // owned by the object database
  const Patience& patience_;
};

Result<Handle<git_tree>> stored(git_repository* repository, Cutter& cutter,
                                const std::string& bytes) {
  Result<ObjectId> id = cutter.store(bytes);
  if (!id) return fail(std::move(id).error());
  Handle<git_tree> tree;
  const git_oid oid = to_oid(*id);
  const int rc = git_tree_lookup(out(tree), repository, &oid);
  if (rc != 0) return libgit2_fail(rc, hex(*id));
  return tree;
}

}  // namespace

Result<TreeDifference> only_what_differs(git_repository* repository, git_tree* before,
                                         git_tree* after, const Patience& patience) {
  Handle<git_odb> odb;
  const int rc = git_repository_odb(out(odb), repository);
  if (rc != 0) return libgit2_fail(rc, "objects");
  Cutter cutter(odb.get(), patience);
  if (Result<void> opened = cutter.open(); !opened) return fail(std::move(opened).error());
  Result<Cut> left = cutter.cut(to_id(*git_tree_id(before)), to_id(*git_tree_id(after)), 0);
  if (!left) return fail(std::move(left).error());
  Result<Handle<git_tree>> one = stored(repository, cutter, left->before);
  if (!one) return fail(std::move(one).error());
  Result<Handle<git_tree>> other = stored(repository, cutter, left->after);
  if (!other) return fail(std::move(other).error());
  return TreeDifference{.before = *std::move(one), .after = *std::move(other)};
}

}  // namespace berth::git::detail
