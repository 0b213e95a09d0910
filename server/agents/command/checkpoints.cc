#include <berth/server/agents/command/checkpoints.h>

#include <berth/core/hash.h>
#include <berth/core/json_doc.h>
#include <berth/io/folder_tree.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

namespace berth::server {

namespace {

constexpr std::size_t kBytesMax = std::size_t{1} << 30;
constexpr std::size_t kPiece = std::size_t{1} << 20;
constexpr std::size_t kKept = 5;
constexpr const char* kLatest = "session-latest.json";

/// What the agent wrote. Its folder is its own: a link that leads out of it, or anything but a
/// file, is read as empty, which is never whole.
Result<std::string> read_of_agent(io::Files& files, const std::string& folder,
                                  const std::string& name) {
  Result<std::unique_ptr<io::FolderTree>> tree = files.open_tree(folder);
  if (!tree.has_value()) return fail(std::move(tree.error()));
  std::string text;
  Result<std::unique_ptr<io::TreeFile>> file = (*tree)->open(name);
  for (bool more = file.has_value(); more && text.size() < kBytesMax;) {
    Result<std::string> piece = (*file)->read(text.size(), kPiece);
    if (!piece.has_value()) return piece;
    more = !piece->empty();
    text += *piece;
  }
  if (file.has_value()) return text;
  const ErrorKind kind = file.error().kind;
  const bool odd = kind == ErrorKind::invalid || kind == ErrorKind::denied;
  if (odd || kind == ErrorKind::not_found) return std::string();
  return fail(std::move(file.error()));
}

bool is_whole(std::string_view text) {
  const Result<JsonDoc> doc = JsonDoc::parse(text);
  return doc.has_value() && doc->root().is_object();
}

/// The file that the agent wrote last: by its agreed names, else the latest by time. Empty: none.
Result<std::string> newest_name(io::Files& files, const std::string& folder) {
  Result<std::vector<io::FolderEntry>> listed = files.list(folder);
  if (!listed.has_value()) {
    if (listed.error().kind == ErrorKind::not_found) return std::string();
    return fail(std::move(listed.error()));
  }
  const io::FolderEntry* newest = nullptr;
  for (const char* agreed : {kLatest, "latest.json"}) {
    for (const io::FolderEntry& entry : *listed) {
      if (!entry.folder && entry.name == agreed) return entry.name;
    }
  }
  for (const io::FolderEntry& entry : *listed) {
    if (entry.folder || !entry.name.ends_with(".json") || entry.name.starts_with("bad-") ||
        entry.name == "init.json") {
      continue;
    }
    // Equal times: the higher number, which the sorted list has last.
    if (newest == nullptr || entry.modified_ms >= newest->modified_ms) newest = &entry;
  }
  return newest == nullptr ? std::string() : newest->name;
}

struct Copy {
  std::uint64_t number = 0;
  std::string checksum;
  std::string name;
};

/// Our copies, oldest first: "<number>-<checksum>.json".
std::vector<Copy> copies_in(io::Files& files, const std::string& folder) {
  std::vector<Copy> copies;
  const Result<std::vector<io::FolderEntry>> listed = files.list(folder);
  if (!listed.has_value()) return copies;
  for (const io::FolderEntry& entry : *listed) {
    Copy copy;
    const std::size_t dash = entry.name.find('-');
    if (entry.folder || dash == std::string::npos || !entry.name.ends_with(".json")) continue;
    const char* end = entry.name.data() + dash;
    if (std::from_chars(entry.name.data(), end, copy.number).ptr != end) continue;
    copy.checksum = entry.name.substr(dash + 1, entry.name.size() - dash - 6);
    copy.name = entry.name;
    copies.push_back(std::move(copy));
  }
  std::sort(copies.begin(), copies.end(),
            [](const Copy& a, const Copy& b) { return a.number < b.number; });
  return copies;
}

std::string checksum_of(std::string_view text) {
  return fmt::format("{:016x}", fnv1a(text));
}

Result<void> set_aside(io::Files& files, const std::string& folder, const std::string& name,
                       std::int64_t now_ms) {
  return files.rename(folder + "/" + name, fmt::format("{}/bad-{}-{}", folder, now_ms, name));
}

}  // namespace

Result<bool> keep_checkpoint(io::Files& files, const CheckpointFolders& folders) {
  Result<std::string> name = newest_name(files, folders.written);
  if (!name.has_value()) return fail(std::move(name.error()));
  if (name->empty()) return false;
  Result<std::string> text = read_of_agent(files, folders.written, *name);
  if (!text.has_value()) return fail(std::move(text.error()));
  if (!is_whole(*text)) return false;
  std::vector<Copy> copies = copies_in(files, folders.kept);
  const std::string checksum = checksum_of(*text);
  if (!copies.empty() && copies.back().checksum == checksum) return true;
  Result<void> done = files.make_directories(folders.kept, 0700);
  if (!done.has_value()) return fail(std::move(done.error()));
  const std::uint64_t number = copies.empty() ? 1 : copies.back().number + 1;
  done =
      files.write_atomic(fmt::format("{}/{}-{}.json", folders.kept, number, checksum), *text, 0600);
  if (!done.has_value()) return fail(std::move(done.error()));
  for (std::size_t i = 0; i + kKept <= copies.size(); ++i) {
    done = files.remove_if_exists(folders.kept + "/" + copies[i].name);
    if (!done.has_value()) return fail(std::move(done.error()));
  }
  return true;
}

Result<ChosenCheckpoint> choose_checkpoint(io::Files& files, const CheckpointFolders& folders,
                                           std::int64_t now_ms) {
  Result<std::string> name = newest_name(files, folders.written);
  if (!name.has_value()) return fail(std::move(name.error()));
  ChosenCheckpoint chosen;
  if (!name->empty()) {
    Result<std::string> text = read_of_agent(files, folders.written, *name);
    if (!text.has_value()) return fail(std::move(text.error()));
    if (is_whole(*text)) {
      chosen.path = folders.written + "/" + *name;
      return chosen;
    }
    Result<void> aside = set_aside(files, folders.written, *name, now_ms);
    if (!aside.has_value()) return fail(std::move(aside.error()));
    chosen.reason = "the checkpoint " + *name + " is torn and was set aside";
  } else {
    chosen.reason = "the agent wrote no checkpoint";
  }
  std::vector<Copy> copies = copies_in(files, folders.kept);
  for (auto copy = copies.rbegin(); copy != copies.rend(); ++copy) {
    Result<std::string> text = files.read(folders.kept + "/" + copy->name, kBytesMax);
    if (!text.has_value()) return fail(std::move(text.error()));
    if (checksum_of(*text) != copy->checksum || !is_whole(*text)) {
      Result<void> aside = set_aside(files, folders.kept, copy->name, now_ms);
      if (!aside.has_value()) return fail(std::move(aside.error()));
      continue;
    }
    chosen.path = folders.written + "/" + kLatest;
    Result<void> put = files.write_atomic(chosen.path, *text, 0600);
    if (!put.has_value()) return fail(std::move(put.error()));
    chosen.reason += fmt::format("; the copy {} was used", copy->number);
    return chosen;
  }
  return chosen;
}

}  // namespace berth::server
