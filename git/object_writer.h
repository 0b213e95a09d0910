// git/object_writer.h — puts objects into a repository without asking it to look around first.
// Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/index_entries.h>

#include <memory>
#include <string>
#include <string_view>

struct git_odb_backend;

namespace berth::git::detail {

enum class ObjectKind : std::uint8_t { blob, tree };

/// libgit2's own write reads the folder of packs again for each object that is new, and makes each
/// file in `objects/` before it moves it, which ext4 pays for with a search. This writes loose
/// objects where git does: beside their final name, as "tmp_obj_*", which `git gc` sweeps when the
/// writer was killed.
///
/// One thread. What is there already is made young again, so that a `git gc` beside us keeps it.
class ObjectWriter {
 public:
  /// `repository` outlives it.
  explicit ObjectWriter(git_repository* repository);
  ~ObjectWriter();
  ObjectWriter(const ObjectWriter&) = delete;
  ObjectWriter& operator=(const ObjectWriter&) = delete;

  /// Before the first `put`. With `in_memory` objects are visible through the repository's handle
  /// alone, and gone with it.
  Result<void> open(bool in_memory);

  /// Errors: `unavailable` "git_write_failed" (a full disk, a read-only one); others by errno.
  Result<ObjectId> put(ObjectKind kind, std::string_view bytes);

 private:
  class Deflater;
  bool make_young(const ObjectId& id) const;
  Result<void> put_loose(const ObjectId& id, std::string_view header, std::string_view bytes);

  git_repository* repository_;
  Handle<git_odb> odb_;
  git_odb_backend* memory_ = nullptr;  // owned by the object database
  std::string folder_;                 // of loose objects
  std::unique_ptr<Deflater> deflater_;
};

}  // namespace berth::git::detail
