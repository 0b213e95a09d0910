// A patch of one changed file, read by libgit2 and applied to the old tree, gives exactly the new
// tree; a file that has no patch is marked as binary, and only one that git takes for binary is.
#include <berth/git/diff.h>
#include <berth/git/handles.h>
#include <berth/git/library.h>

#include <git2.h>

#include <array>
#include <optional>

#include "folder.h"

namespace {

using namespace berth;
using git::detail::Handle;
using git::detail::out;

constexpr int kInputsAStore = 500;  // then the objects on disk are thrown away
constexpr std::size_t kBinaryLook = 8000;
constexpr std::uint32_t kLink = 0120000;
constexpr std::array<std::uint32_t, 4> kModes = {0100644, 0100755, kLink, 0};

struct Side {
  std::string path;
  std::uint32_t mode = 0;  // 0: it is not there
  std::string_view content;

  bool is_binary() const {
    return mode != 0 && content.substr(0, kBinaryLook).find('\0') != std::string_view::npos;
  }
};

class Store {
 public:
  explicit Store(const std::string& path) : path_(path) {
    fuzz::Folder::clear(path);
    FUZZ_CHECK(git_repository_init(out(repository_), path.c_str(), 1) == 0);
  }
  const std::string& path() const { return path_; }
  git_repository* get() const { return repository_.get(); }

  /// A tree with the file and another that never changes; nothing for a name that git refuses.
  std::optional<git_oid> tree(const Side& side) {
    Handle<git_index> index;
    FUZZ_CHECK(git_index_new(out(index)) == 0);
    FUZZ_CHECK(add(index.get(), {.path = "zz/same", .mode = 0100644, .content = "same\n"}));
    if (side.mode != 0 && !add(index.get(), side)) return std::nullopt;
    git_oid id;
    if (git_index_write_tree_to(&id, index.get(), get()) != 0) return std::nullopt;
    return id;
  }

 private:
  bool add(git_index* index, const Side& side) {
    git_index_entry entry = {};
    entry.mode = side.mode;
    entry.path = side.path.c_str();
    FUZZ_CHECK(git_blob_create_from_buffer(&entry.id, get(), side.content.data(),
                                           side.content.size()) == 0);
    return git_index_add(index, &entry) == 0;
  }

  std::string path_;
  Handle<git_repository> repository_;
};

std::string hex(const git_oid& id) {
  std::string text(GIT_OID_HEXSZ, '0');
  git_oid_fmt(text.data(), &id);
  return text;
}

/// The id of the tree that libgit2 makes of `from` and the patch.
std::string applied(git_repository* repository, const git_oid& from, const std::string& patch) {
  Handle<git_tree> tree;
  Handle<git_diff> diff;
  Handle<git_index> index;
  git_oid id;
  FUZZ_CHECK(git_tree_lookup(out(tree), repository, &from) == 0);
  FUZZ_CHECK(git_diff_from_buffer(out(diff), patch.data(), patch.size()) == 0);
  FUZZ_CHECK(git_apply_to_tree(out(index), repository, tree.get(), diff.get(), nullptr) == 0);
  FUZZ_CHECK(git_index_write_tree_to(&id, index.get(), repository) == 0);
  return hex(id);
}

void check_diff(Store& store, const Side& before, const Side& after, bool binary_patches) {
  const std::optional<git_oid> from = store.tree(before);
  const std::optional<git_oid> to = store.tree(after);
  if (!from || !to) return;
  const Result<git::Change> change = git::diff({.worktree = {.repository = store.path()},
                                                .from = hex(*from),
                                                .to = hex(*to),
                                                .binary_patches = binary_patches});
  FUZZ_CHECK(change.has_value());
  FUZZ_CHECK(change->files.empty() == (hex(*from) == hex(*to)));
  FUZZ_CHECK(!change->patch_truncated && !change->files_truncated);
  bool whole = true;
  for (const git::FileChange& file : change->files) {
    FUZZ_CHECK(file.counted);
    if (file.binary && file.status != git::FileStatus::renamed) {
      FUZZ_CHECK(before.is_binary() || after.is_binary());
    }
    FUZZ_CHECK(!file.patch.empty() || (file.binary && !binary_patches));
    whole = whole && !file.patch.empty();
    // What libgit2 cannot apply and git can: a name with a space and no hunk or at its end,
    // a deletion and an addition of one name, and a file that was only renamed, for whose mode it
    // takes 0100644.
    const bool spaced = (file.path + file.old_path).find(' ') != std::string::npos;
    if (spaced && (file.path.ends_with(' ') || file.patch.find("\n@@ ") == std::string::npos))
      return;
    if (file.status == git::FileStatus::typechange) return;
    if (file.status == git::FileStatus::renamed && file.mode != kModes[0]) return;
  }
  if (!whole || change->files.empty()) return;
  const std::string patch = git::patch_text(*change);
  const bool gives_the_new_tree = applied(store.get(), *from, patch) == hex(*to);
  if (!gives_the_new_tree) std::fprintf(stderr, "%s", patch.c_str());
  FUZZ_CHECK(gives_the_new_tree);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const git::Library library{
      git::Library::Options{.user_config = false, .certificates = {}}};
  static const fuzz::Folder folder;
  static std::optional<Store> store;
  static int inputs = 0;
  if (inputs++ % kInputsAStore == 0) {
    store.reset();
    store.emplace(folder.file("store.git"));
  }
  // Kinds, size of the name, name, size of the old content in two bytes, old content, new content.
  fuzz::Input input(data, size);
  const std::uint8_t kinds = input.byte();
  const std::size_t name_size = input.byte() % 64U;
  std::string name(input.rest().substr(0, name_size));
  for (std::size_t i = 0; i < name.size(); ++i) input.byte();
  const std::size_t old_size_high = input.byte();
  const std::size_t old_size = old_size_high * 256 + input.byte();
  const std::string_view old_content = input.rest().substr(0, old_size);
  name = name.substr(0, name.find('\0'));
  Side before{name, kModes[kinds & 3U], old_content};
  Side after{name, kModes[kinds >> 2 & 3U], input.rest().substr(old_content.size())};
  if ((kinds & 0x20) != 0) after.path = "moved/" + name;
  check_diff(*store, before, after, (kinds & 0x10) != 0);
  return 0;
}
