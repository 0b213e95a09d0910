#include <berth/git/by_command.h>
#include <berth/git/cat_file.h>
#include <berth/git/lfs_pointer.h>

namespace berth::git::detail {

constexpr std::size_t kPointersAtOnce = 10'000;  // of at most 1 KiB each

Result<std::set<std::string>> lfs_pointers(const BorrowedObjects& objects,
                                           const std::vector<std::string>& ids) {
  std::set<std::string> pointers;
  Result<void> done = read_objects(objects, ids, "blob", may_be_lfs_pointer, kPointersAtOnce,
                                   [&](std::string_view id, std::string_view content) {
                                     if (is_lfs_pointer(content)) pointers.emplace(id);
                                   });
  if (!done) return fail(std::move(done).error());
  return pointers;
}

}  // namespace berth::git::detail
