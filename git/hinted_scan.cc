#include <berth/git/conversions.h>
#include <berth/git/files.h>
#include <berth/git/hinted_scan.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>

#include <fcntl.h>
#include <git2.h>

#include <algorithm>

namespace berth::git::detail {
namespace {

constexpr std::size_t kPathsMax = 20'000;

/// "a/b/" of "a/b/c".
std::string folder_of(const std::string& path) {
  return path.substr(0, path.rfind('/') + 1);
}

bool leaves_the_worktree(std::string_view path) {
  if (path.starts_with('/') || path.find('\0') != std::string_view::npos) return true;
  return path == ".." || path.starts_with("../") || path.ends_with("/..") ||
         path.find("/../") != std::string_view::npos;
}

/// Without slashes at the end, doubled ones and "." parts; what lies in a repository's `.git` is
/// the repository.
std::string plain_path(std::string_view path) {
  std::string plain;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == ".git") return plain;
    if (!plain.empty()) plain += '/';
    plain += part;
  }
  return plain;
}

}  // namespace

FileStore::Options store_options(const TreeRequest& request, const OutsideRules& outside) {
  return {.root = request.worktree.path,
          .file_bytes_max = request.file_bytes_max,
          .trust_mode = outside.trust_mode,
          .only_in_memory = request.only_in_memory,
          .may_have_attributes = {},
          .patience = request.patience};
}

HintedReader::HintedReader(const TreeRequest& request, const OutsideRules& outside)
    : request_(request),
      outside_(outside),
      repository_(request.worktree.repository.get()),
      objects_(repository_) {}

Result<WorkingTree> HintedReader::read(std::string& reason) {
  Result<void> done = resolve_since(reason);
  if (done && reason.empty()) done = gather(reason);
  if (done && reason.empty()) {
    for (const std::string& path : paths_) {
      done = request_.patience.check("looking at what may have changed");
      if (done) done = look_at(path);
      if (!done) break;
    }
  }
  if (done && reason.empty()) done = store();
  if (!done) return fail(std::move(done).error());
  if (!reason.empty()) return std::move(result_);
  request_.patience.note(Step::scan_hinted_tree);
  ObjectId tree = since_;
  if (!edits_.empty()) {
    Result<ObjectId> updated =
        update_tree(repository_, objects_, since_, edits_, request_.patience);
    if (!updated) return fail(std::move(updated).error());
    tree = *updated;
  }
  result_.tree_ = hex(tree);
  result_.private_index_ = request_.private_index;
  memory_.tree = result_.tree_;
  memory_.rules = outside_.signature;
  memory_.users_index = users_text_;
  result_.memory_ = std::move(memory_);
  result_.report_.full = false;
  result_.report_.files_looked_at = looked_at_;
  return std::move(result_);
}

Result<void> HintedReader::resolve_since(std::string& reason) {
  Result<Handle<git_tree>> since = find_tree(repository_, request_.hints.since);
  if (!since) {
    reason = "hints_unknown_since";
    return {};
  }
  since_ = to_id(*git_tree_id(since->get()));
  Result<std::string> base = ref_target(repository_, base_ref_of(request_.key));
  if (base && !base->empty()) {
    Result<Handle<git_tree>> tree = find_tree(repository_, *base);
    if (tree) base_ = to_id(*git_tree_id(tree->get()));
  }
  from_base_ = base_ == since_ && !request_.hints.only_since_snapshot;
  memory_ =
      request_.private_index.empty() ? ScanMemory() : ScanMemory::load(request_.private_index);
  users_text_ = stat_text(request_.worktree.registration + "/index");
  // The paths name all that differs from the base: no rule change or forced file can hide. Only
  // repositories inside change without a file of the worktree changing.
  if (from_base_) return memory_.tree.empty() ? remember_links() : Result<void>();
  if (memory_.tree != hex(since_)) {
    reason = "hints_unknown_since";
  } else if (memory_.rules != outside_.signature) {
    reason = "rules_changed";
  }
  return {};
}

Result<void> HintedReader::remember_links() {
  std::vector<IndexEntry> entries;
  Result<IndexFile> index = request_.private_index.empty()
                                ? fail(ErrorKind::not_found, "no_index", "")
                                : IndexFile::open(request_.private_index);
  if (index && index->tree() == since_) {
    entries = index->entries();
  } else {
    Result<std::vector<IndexEntry>> listed = list_tree(repository_, since_, "", listed_paths_);
    if (!listed) return fail(std::move(listed).error());
    entries = *std::move(listed);
  }
  for (const IndexEntry& entry : entries) {
    if (entry.mode == kRepositoryMode) memory_.links.insert(std::string(entry.path));
  }
  return {};
}

void HintedReader::add(std::string path) {
  // New ignore rules are about all of their folder.
  const std::size_t name = path.rfind('/') + 1;
  if (std::string_view(path).substr(name) == ".gitignore") {
    path.resize(name == 0 ? 0 : name - 1);
  }
  paths_.insert(std::move(path));
}

Result<void> HintedReader::gather(std::string& reason) {
  if (request_.hints.paths.size() > kPathsMax) {
    reason = "hints_too_many";
    return {};
  }
  for (const std::string& hint : request_.hints.paths) {
    if (leaves_the_worktree(hint)) {
      return fail(ErrorKind::invalid, "bad_hint", "'" + hint + "' is not below the worktree");
    }
    if (hint == ".git" || hint.starts_with(".git/")) continue;
    add(plain_path(hint));
  }
  for (const std::string& path : memory_.links) paths_.insert(path);
  for (const std::string& path : memory_.skipped) paths_.insert(plain_path(path));
  if (!from_base_ && memory_.users_index != users_text_) {
    if (Result<void> added = add_newly_forced(); !added) return added;
  }
  // The root: all of it. Then a full scan, which knows times, is better.
  if (paths_.contains("")) reason = "rules_changed";
  return {};
}

/// The user's index is another: what it tracks against the rules may be other files.
Result<void> HintedReader::add_newly_forced() {
  for (const std::string& path : memory_.forced) paths_.insert(path);
  Result<IndexFile> ours = IndexFile::open(request_.private_index);
  const std::vector<IndexEntry> none;
  const std::vector<IndexEntry>& known = ours ? ours->entries() : none;
  std::size_t at = 0;
  for (const IndexEntry& entry : users().entries()) {
    int order = 1;
    while (at < known.size() && (order = known[at].path.compare(entry.path)) < 0) ++at;
    if (at < known.size() && order == 0) continue;
    if (entry.mode == kRepositoryMode || !is_safe_relative(entry.path)) continue;
    std::string path(entry.path);
    memory_.forced.insert(path);
    paths_.insert(std::move(path));
  }
  return {};
}

const IndexFile& HintedReader::users() {
  if (!users_) {
    users_.emplace();
    Result<IndexFile> index = IndexFile::open(request_.worktree.registration + "/index");
    if (index) users_ = *std::move(index);
  }
  return *users_;
}

/// The tree of a folder that no hint is about. (One that replaced another is named.)
ObjectId HintedReader::folder_of_base(const Way& parent, const std::string& path) const {
  if (paths_.contains(path)) return {};
  const Result<TreeEdit> there =
      find_in_tree(repository_, parent.base, path.substr(path.rfind('/') + 1));
  return there && there->mode == kFolderMode ? there->id : ObjectId{};
}

/// False when it is known that the folder, which ends in a slash, has no such file.
bool HintedReader::may_have(const Way& way, const std::string& folder, const char* name) const {
  if (way.base == ObjectId{} || paths_.contains(folder + name)) return true;
  const Result<TreeEdit> there = find_in_tree(repository_, way.base, name);
  return !there || there->mode != 0;
}

const HintedReader::Way& HintedReader::way_to(const std::string& folder) {
  const auto known = ways_.find(folder);
  if (known != ways_.end()) return known->second;
  Way way;
  if (folder.empty()) {
    way.rules = outside_.rules;
    if (from_base_) way.base = since_;
  } else {
    const std::string bare = folder.substr(0, folder.size() - 1);
    way = way_to(folder_of(bare));
    if (!way.look_at.empty()) return ways_.emplace(folder, std::move(way)).first->second;
    way.ignored = way.ignored || is_ignored(way.rules, bare, true);
    way.base = folder_of_base(way, bare);
    const std::string full = request_.worktree.path + "/" + bare;
    bool inside = way.base == ObjectId{} && kind_of(full) != PathKind::directory;
    if (!inside && way.base == ObjectId{} && is_repository(full)) {
      const Result<TreeEdit> there = find_in_tree(repository_, since_, bare);
      inside = !there || there->mode != kFolderMode;
    }
    if (inside) way.look_at = bare;
  }
  if (way.look_at.empty() && !way.ignored && may_have(way, folder, ".gitignore")) {
    const std::string file = request_.worktree.path + "/" + folder + ".gitignore";
    way.rules = with_rule_file(std::move(way.rules), AT_FDCWD, file.c_str(), folder, false);
  }
  return ways_.emplace(folder, std::move(way)).first->second;
}

bool HintedReader::is_done(const std::string& path) const {
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    if (folders_done_.contains(path.substr(0, slash + 1))) return true;
  }
  return folders_done_.contains(path + "/");
}

Result<void> HintedReader::look_at(const std::string& path) {
  if (is_done(path)) return {};
  const Way& way = way_to(folder_of(path));
  if (!way.look_at.empty()) {
    // Shorter at each step: a folder on the way is looked at instead.
    if (edits_.contains(way.look_at)) return {};
    return look_at(std::string(way.look_at));
  }
  switch (kind_of(request_.worktree.path + "/" + path)) {
    case PathKind::missing:
      edits_[path] = {};
      memory_.skipped.erase(path);
      return {};
    case PathKind::directory:
      return look_at_folder(path, way);
    case PathKind::unreadable:
      unreadable_.push_back(path);
      return {};
    default:
      return look_at_file(path, way);
  }
}

Result<void> HintedReader::look_at_folder(const std::string& path, const Way& way) {
  folders_done_.insert(path + "/");
  const bool ignored = way.ignored || is_ignored(way.rules, path, true);
  Result<TreeEdit> there = find_in_tree(repository_, since_, path);
  if (!there) return fail(std::move(there).error());
  const std::string full = request_.worktree.path + "/" + path;
  if (there->mode == kRepositoryMode && kind_of(full + "/.git") == PathKind::missing) {
    Result<bool> tracked = is_tracked(path);
    if (!tracked) return fail(std::move(tracked).error());
    if (*tracked) return {};  // a submodule that is not filled stays as it is
    edits_[path] = {};
    there->mode = 0;
  }
  if (there->mode == kRepositoryMode || (there->mode != kFolderMode && is_repository(full))) {
    if (ignored && there->mode == 0) return {};
    if (ignored) {
      Result<bool> tracked = is_tracked(path);
      if (!tracked) return fail(std::move(tracked).error());
      if (!*tracked) {
        edits_[path] = {};
        return {};
      }
    }
    old_modes_[path] = there->mode;
    present_.push_back({.path = path, .kind = PlaceKind::repository});
    return {};
  }
  if (there->mode != kFolderMode) {
    Result<TreeEdit> base = find_in_tree(repository_, base_, path);
    if (!base) return fail(std::move(base).error());
    if (base->mode == kRepositoryMode) {  // a submodule that came back, not filled
      edits_[path] = *base;
      memory_.links.insert(path);
      return {};
    }
    if (there->mode != 0) edits_[path] = {};  // it was a file; what is in it now follows
    if (ignored) return {};
  }
  Result<std::vector<IndexEntry>> entries =
      list_tree(repository_, since_, path + "/", listed_paths_);
  if (!entries) return fail(std::move(entries).error());
  const std::vector<char> tracked(entries->size(), 0);
  std::vector<char> found(entries->size(), 0);
  const ScanRequest request{.root = request_.worktree.path,
                            .entries = *entries,
                            .tracked = tracked,
                            .trust_mode = outside_.trust_mode,
                            .patience = request_.patience};
  Result<ScanFindings> findings = scan_folders(
      request, {.folder = path + "/", .rules = way.rules, .ignored = way.ignored || ignored},
      found);
  if (!findings) return fail(std::move(findings).error());
  looked_at_ += findings->looked_at;
  for (Present& doubtful : findings->doubtful) {
    Result<bool> stays = is_tracked(doubtful.path);
    if (!stays) return fail(std::move(stays).error());
    if (*stays) {
      findings->present.push_back(std::move(doubtful));
    } else {
      edits_[doubtful.path] = {};
    }
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == 0) edits_[std::string((*entries)[i].path)] = {};
  }
  for (Present& one : findings->present) {
    if (one.known >= 0) {
      old_modes_[one.path] = (*entries)[static_cast<std::size_t>(one.known)].mode;
    }
    present_.push_back(std::move(one));
  }
  for (std::string& closed : findings->unreadable) unreadable_.push_back(std::move(closed));
  return {};
}

Result<void> HintedReader::look_at_file(const std::string& path, const Way& way) {
  Result<TreeEdit> there = find_in_tree(repository_, since_, path);
  if (!there) return fail(std::move(there).error());
  const bool ignored = way.ignored || is_ignored(way.rules, path, false);
  if (ignored) {
    Result<bool> tracked = is_tracked(path);
    if (!tracked) return fail(std::move(tracked).error());
    if (!*tracked) {
      if (there->mode != 0) edits_[path] = {};
      return {};
    }
  }
  const std::vector<IndexEntry> none;
  const std::vector<char> tracked;
  std::vector<char> found;
  const ScanRequest request{.root = request_.worktree.path,
                            .entries = none,
                            .tracked = tracked,
                            .trust_mode = outside_.trust_mode,
                            .patience = request_.patience};
  Result<ScanFindings> findings = scan_file(request, path, nullptr, false, found);
  if (!findings) return fail(std::move(findings).error());
  looked_at_ += findings->looked_at;
  if (findings->present.empty()) edits_[path] = {};  // a pipe by now, or gone
  for (Present& one : findings->present) {
    old_modes_[path] = there->mode;
    present_.push_back(std::move(one));
  }
  for (std::string& closed : findings->unreadable) unreadable_.push_back(std::move(closed));
  return {};
}

/// Of a path that an ignore rule names: the base or the user's index has it.
Result<bool> HintedReader::is_tracked(const std::string& path) {
  Result<TreeEdit> base = find_in_tree(repository_, base_, path);
  if (!base) return fail(std::move(base).error());
  if (base->mode != 0 && base->mode != kFolderMode) return true;
  if (find_entry(users().entries(), path) == nullptr) return false;
  memory_.forced.insert(path);
  return true;
}

/// Read anew where the user's index is another than the remembered one.
void HintedReader::note_attributes() {
  if (memory_.users_index == users_text_) return;
  memory_.attributes.clear();
  for (const IndexEntry& entry : users().entries()) {
    if (is_attributes_file(entry.path)) memory_.attributes.emplace(entry.path);
  }
}

Result<void> HintedReader::store() {
  for (const auto& [folder, way] : ways_) {
    if (!may_have(way, folder, ".gitattributes")) result_.without_attributes_.insert(folder);
  }
  FileStore::Options options = store_options(request_, outside_);
  options.may_have_attributes = [this](const std::string& folder) {
    return !result_.without_attributes_.contains(folder);
  };
  FileStore store(repository_, objects_, std::move(options));
  note_attributes();
  const UsersIndex users{
      .attributes = memory_.attributes,
      .entries = [this]() -> const std::vector<IndexEntry>& { return this->users().entries(); }};
  if (Result<void> begun = store.begin(present_, users); !begun) return begun;
  for (const Present& present : present_) {
    const std::uint32_t old_mode = old_modes_[present.path];
    Result<std::optional<TreeEdit>> put = store.put(present, old_mode);
    if (!put) return fail(std::move(put).error());
    if (*put) {
      edits_[present.path] = **put;
      if ((*put)->mode == kRepositoryMode) memory_.links.insert(present.path);
    } else if (old_mode != 0 && (old_mode & 0170000) != 0100000 &&
               present.kind != PlaceKind::repository) {
      edits_[present.path] = {};
    }
  }
  memory_.skipped.clear();  // all of them were looked at again
  std::vector<std::string>& skipped = store.skipped();
  for (std::string& path : unreadable_) skipped.push_back(std::move(path));
  result_.note_skipped(std::move(skipped), memory_);
  result_.report_.files_read = store.files_read();
  return {};
}

}  // namespace berth::git::detail
