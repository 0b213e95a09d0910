// What an index file of any bytes is read as is in order, and stays the same when it is written and
// read again.
#include <berth/git/index_entries.h>

#include "folder.h"

namespace {

using namespace berth;
using git::detail::IndexEntry;
using git::detail::IndexFile;
using git::detail::ObjectId;

bool is_same(const IndexEntry& a, const IndexEntry& b) {
  return a.path == b.path && a.stat == b.stat && a.id == b.id && a.mode == b.mode;
}

void check_order(const std::vector<IndexEntry>& entries) {
  std::string_view before;
  for (const IndexEntry& entry : entries) {
    FUZZ_CHECK(entry.path > before);
    FUZZ_CHECK(entry.path.find('\0') == std::string_view::npos);
    FUZZ_CHECK(git::detail::find_entry(entries, entry.path) == &entry);
    before = entry.path;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  static const std::string given = folder.file("given");
  static const std::string written = folder.file("written");
  fuzz::Folder::write(given, fuzz::Input(data, size).rest());
  Result<IndexFile> index = IndexFile::open(given);
  if (!index) {
    const std::string_view code = index.error().code;
    FUZZ_CHECK(code == "index_broken" || code == "git_index_unsupported");
    return 0;
  }
  const IndexFile moved = *std::move(index);  // what it points at moves along
  check_order(moved.entries());
  const ObjectId tree = moved.tree().value_or(ObjectId{});
  FUZZ_CHECK(git::detail::write_index(written, moved.entries(), tree).has_value());
  const Result<IndexFile> again = IndexFile::open(written);
  FUZZ_CHECK(again.has_value());
  FUZZ_CHECK(again->tree() == tree);
  FUZZ_CHECK(again->entries().size() == moved.entries().size());
  for (std::size_t i = 0; i < moved.entries().size(); ++i) {
    FUZZ_CHECK(is_same(moved.entries()[i], again->entries()[i]));
  }
  return 0;
}
