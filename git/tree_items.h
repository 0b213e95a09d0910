// git/tree_items.h — the bytes of a tree object. Private to this folder.
#pragma once

#include <berth/git/index_entries.h>

#include <cstdint>
#include <string_view>

namespace berth::git::detail {

/// An entry as they say it: "<mode in octal> <name>\0<id>". It points into them.
struct TreeItem {
  std::uint32_t mode = 0;
  std::string_view name;
  ObjectId id{};
  std::string_view bytes;  ///< All of it.
};

/// Takes the first entry off `rest`; false when that is none.
bool take_item(std::string_view& rest, TreeItem& item);

}  // namespace berth::git::detail
