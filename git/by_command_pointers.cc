#include <berth/core/text.h>
#include <berth/git/by_command.h>
#include <berth/git/lfs_pointer.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace berth::git::detail {
namespace {

// What git prints of so many stays far below GitRun::output_max: a line of about 90 bytes each, or
// that and a blob of at most 1 KiB.
constexpr std::size_t kSizesAtOnce = 100'000;
constexpr std::size_t kBlobsAtOnce = 10'000;

/// "<id> blob <size>"; nothing for what is missing or no blob.
std::optional<std::uint64_t> blob_bytes(std::string_view line) {
  const std::size_t type = line.find(" blob ");
  if (type == std::string_view::npos) return std::nullopt;
  std::uint64_t bytes = 0;
  std::from_chars(line.data() + type + 6, line.data() + line.size(), bytes);
  return bytes;
}

/// What `how` prints of each of `ids`, to `take`, in parts that a run may print.
template <typename Take>
Result<void> ask(const BorrowedObjects& objects, const char* how,
                 const std::vector<std::string>& ids, std::size_t at_once, Take take) {
  for (std::size_t begin = 0; begin < ids.size(); begin += at_once) {
    std::string wanted;
    for (std::size_t i = begin; i < std::min(ids.size(), begin + at_once); ++i) {
      wanted += ids[i] + "\n";
    }
    Result<std::string> printed = objects.run({"cat-file", how}, std::move(wanted));
    if (!printed) return fail(std::move(printed).error());
    take(std::string_view(*printed));
  }
  return {};
}

}  // namespace

Result<std::set<std::string>> lfs_pointers(const BorrowedObjects& objects,
                                           const std::vector<std::string>& ids) {
  std::vector<std::string> small;
  const auto note_small = [&](std::string_view rest) {
    while (!rest.empty()) {
      const std::string_view line = take_line(rest);
      const std::optional<std::uint64_t> bytes = blob_bytes(line);
      if (bytes && may_be_lfs_pointer(*bytes)) small.emplace_back(line.substr(0, line.find(' ')));
    }
  };
  std::set<std::string> pointers;
  const auto note_pointers = [&](std::string_view rest) {
    while (!rest.empty()) {
      const std::string_view line = take_line(rest);
      const std::optional<std::uint64_t> bytes = blob_bytes(line);
      if (!bytes) continue;
      const std::string_view content = rest.substr(0, *bytes);
      rest.remove_prefix(std::min(rest.size(), content.size() + 1));
      if (is_lfs_pointer(content)) pointers.emplace(line.substr(0, line.find(' ')));
    }
  };
  Result<void> done = ask(objects, "--batch-check", ids, kSizesAtOnce, note_small);
  if (done) done = ask(objects, "--batch", small, kBlobsAtOnce, note_pointers);
  if (!done) return fail(std::move(done).error());
  return pointers;
}

}  // namespace berth::git::detail
