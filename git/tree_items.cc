#include <berth/git/tree_items.h>

#include <charconv>
#include <cstring>

namespace berth::git::detail {

bool take_item(std::string_view& rest, TreeItem& item) {
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), item.mode, 8);
  const auto space = static_cast<std::size_t>(end - rest.data());
  if (error != std::errc() || !rest.substr(space).starts_with(' ')) return false;
  const std::size_t zero = rest.find('\0', space);
  if (zero == std::string_view::npos || rest.size() - zero <= item.id.size()) return false;
  item.name = rest.substr(space + 1, zero - space - 1);
  std::memcpy(item.id.data(), rest.data() + zero + 1, item.id.size());
  item.bytes = rest.substr(0, zero + 1 + item.id.size());
  rest.remove_prefix(item.bytes.size());
  return true;
}

}  // namespace berth::git::detail
