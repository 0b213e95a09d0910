// git/cat_file.h — reads many small objects by the git command, in runs that each print a bounded
// amount whatever the repository holds. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/core/text.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::git::detail {

/// A line of about 90 bytes each stays far below GitRun::output_max.
inline constexpr std::size_t kSizesAtOnce = 100'000;

/// The size in a line "<id> <type> <size>"; nothing for another type, and for what is missing.
inline std::optional<std::uint64_t> object_bytes(std::string_view line, std::string_view type) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  line.remove_prefix(space + 1);
  if (!line.starts_with(type) || line.substr(type.size(), 1) != " ") return std::nullopt;
  std::uint64_t bytes = 0;
  std::from_chars(line.data() + type.size() + 1, line.data() + line.size(), bytes);
  return bytes;
}

/// What `how` prints of each of `ids`, to `take`, in parts. `git` is HardenedGit or
/// BorrowedObjects.
template <typename Git, typename Take>
Result<void> cat_file(const Git& git, const char* how, const std::vector<std::string>& ids,
                      std::size_t at_once, Take take) {
  for (std::size_t begin = 0; begin < ids.size(); begin += at_once) {
    std::string wanted;
    for (std::size_t i = begin; i < std::min(ids.size(), begin + at_once); ++i) {
      wanted += ids[i] + "\n";
    }
    Result<std::string> printed = git.run({"cat-file", how}, std::move(wanted));
    if (!printed) return fail(std::move(printed).error());
    take(std::string_view(*printed));
  }
  return {};
}

/// take(id, content) for each of `ids` (full ones) that is of this type and of a size that `fits`.
/// So many of those `at_once` stay below GitRun::output_max.
template <typename Git, typename Fits, typename Take>
Result<void> read_objects(const Git& git, const std::vector<std::string>& ids,
                          std::string_view type, Fits fits, std::size_t at_once, Take take) {
  std::vector<std::string> small;
  const auto note_small = [&](std::string_view rest) {
    while (!rest.empty()) {
      const std::string_view line = take_line(rest);
      const std::optional<std::uint64_t> bytes = object_bytes(line, type);
      if (bytes && fits(*bytes)) small.emplace_back(line.substr(0, line.find(' ')));
    }
  };
  const auto take_each = [&](std::string_view rest) {
    while (!rest.empty()) {
      const std::string_view line = take_line(rest);
      const std::optional<std::uint64_t> bytes = object_bytes(line, type);
      if (!bytes) continue;
      const std::string_view content = rest.substr(0, *bytes);
      rest.remove_prefix(std::min(rest.size(), content.size() + 1));
      take(line.substr(0, line.find(' ')), content);
    }
  };
  Result<void> done = cat_file(git, "--batch-check", ids, kSizesAtOnce, note_small);
  if (done) done = cat_file(git, "--batch", small, at_once, take_each);
  return done;
}

}  // namespace berth::git::detail
