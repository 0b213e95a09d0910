#include <berth/git/conversions.h>
#include <berth/git/failure.h>
#include <berth/git/file_store.h>
#include <berth/git/files.h>
#include <berth/git/folder_scan.h>
#include <berth/git/hinted_scan.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>
#include <berth/git/tree_update.h>
#include <berth/git/working_tree.h>

#include <git2.h>

#include <algorithm>
#include <ctime>
#include <iterator>
#include <map>
#include <set>

namespace berth::git::detail {
namespace {

constexpr ObjectId kNothing{};
constexpr unsigned kThreads = 2;
constexpr std::size_t kFilesAThread = 2000;
/// Files changed so shortly before a scan may change again without their times telling.
constexpr long kYoungNs = 20'000'000;

}  // namespace

/// Compares all files with the private index.
class FullReader {
 public:
  FullReader(const TreeRequest& request, const OutsideRules& outside)
      : request_(request),
        outside_(outside),
        repository_(request.worktree.repository.get()),
        objects_(repository_) {}

  Result<WorkingTree> read(bool forget) {
    note_time();
    Result<void> done = open_index(forget);
    if (done) done = open_users_index();
    if (done) done = scan();
    if (done) done = find_forced();
    if (done) done = store();
    if (!done) return fail(std::move(done).error());
    request_.patience.note(Step::scan_tree);
    Result<ObjectId> tree = update_tree(repository_, objects_, tree_, edits_, request_.patience);
    if (!tree) return fail(std::move(tree).error());
    remember(*tree);
    return std::move(result_);
  }

 private:
  const std::vector<IndexEntry>& entries() const { return *entries_; }
  std::string full(const std::string& path) const { return request_.worktree.path + "/" + path; }

  void note_time() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    now.tv_nsec -= kYoungNs;
    if (now.tv_nsec < 0) {
      now.tv_nsec += 1'000'000'000;
      --now.tv_sec;
    }
    started_s_ = static_cast<std::uint32_t>(now.tv_sec);
    started_ns_ = static_cast<std::uint32_t>(now.tv_nsec);
  }

  Result<void> open_index(bool forget) {
    Result<ObjectId> base = base_tree();
    if (!base) return fail(std::move(base).error());
    base_ = *base;
    const std::string& file = request_.private_index;
    if (!forget && !file.empty()) {
      Result<IndexFile> index = IndexFile::open(file);
      if (index && index->tree()) {
        new_index_.old = *std::move(index);
        tree_ = *new_index_.old.tree();
        entries_ = &new_index_.old.entries();
        return {};
      }
    }
    // Missing, broken, or of an older berth: it is only a memory, so it is made anew.
    fresh_ = true;
    tree_ = base_;
    Result<std::vector<IndexEntry>> listed = list_tree(repository_, base_, "", new_index_.paths);
    if (!listed) return fail(std::move(listed).error());
    listed_ = *std::move(listed);
    entries_ = &listed_;
    return {};
  }

  /// The tree that decides what is tracked beside the user's index: the base's, else HEAD's.
  Result<ObjectId> base_tree() {
    Result<std::string> base = ref_target(repository_, base_ref_of(request_.key));
    if (!base) return fail(std::move(base).error());
    if (base->empty()) base = ref_target(repository_, "HEAD");
    if (!base || base->empty()) return kNothing;
    Result<Handle<git_tree>> tree = find_tree(repository_, *base);
    if (!tree) return kNothing;  // the object is gone; untracked files are found all the same
    return to_id(*git_tree_id(tree->get()));
  }

  /// An index that cannot be read (split, sparse) tracks nothing that we know of.
  Result<void> open_users_index() {
    const std::string file = request_.worktree.registration + "/index";
    users_text_ = stat_text(file);
    Result<IndexFile> index = IndexFile::open(file);
    if (index) users_ = *std::move(index);
    tracked_.assign(entries().size(), 0);
    std::size_t ours = 0;
    for (const IndexEntry& theirs : users_.entries()) {
      if (is_attributes_file(theirs.path)) memory_.attributes.emplace(theirs.path);
      int order = 1;
      while (ours < entries().size() && (order = entries()[ours].path.compare(theirs.path)) < 0) {
        ++ours;
      }
      if (ours < entries().size() && order == 0) {
        tracked_[ours] = 1;
      } else {
        unknown_.push_back(&theirs);
      }
    }
    return {};
  }

  ScanRequest scan_request() const {
    const IndexFile& index = new_index_.old;
    const unsigned wanted = static_cast<unsigned>(entries().size() / kFilesAThread);
    return {.root = request_.worktree.path,
            .entries = entries(),
            .tracked = tracked_,
            .young_s = index.written_s(),
            .young_ns = index.written_ns(),
            .trust_mode = outside_.trust_mode,
            .threads = std::clamp(wanted, 1U, kThreads),
            .patience = request_.patience};
  }

  Result<void> scan() {
    found_.assign(entries().size(), 0);
    Result<ScanFindings> findings =
        scan_folders(scan_request(), {.folder = "", .rules = outside_.rules}, found_);
    if (!findings) return fail(std::move(findings).error());
    findings_ = *std::move(findings);
    for (Present& present : findings_.doubtful) {
      // Ignored, and not in the user's index: the base may track it, earlier snapshots do not.
      Result<TreeEdit> base = find_in_tree(repository_, base_, present.path);
      if (!base) return fail(std::move(base).error());
      const bool filled = present.kind != PlaceKind::repository ||
                          kind_of(full(present.path) + "/.git") != PathKind::missing;
      if (!filled && base->mode == kRepositoryMode) continue;  // not filled: stays as it is
      if (filled && base->mode != 0 && base->mode != kFolderMode) {
        findings_.present.push_back(std::move(present));
      } else {
        edits_[present.path] = {};
      }
    }
    for (std::size_t i = 0; i < found_.size(); ++i) {
      if (found_[i] == 0) edits_[std::string(entries()[i].path)] = {};
    }
    return {};
  }

  /// Files that the user's index has although an ignore rule names them (`git add -f`): work as
  /// well.
  Result<void> find_forced() {
    if (unknown_.empty()) return {};
    std::set<std::string_view> named;
    for (const Present& present : findings_.present) named.insert(present.path);
    std::vector<std::string> forced;
    for (const IndexEntry* entry : unknown_) {
      if (named.contains(entry->path)) continue;
      if (entry->mode == kRepositoryMode) {
        find_unfilled(*entry);
        continue;
      }
      std::string path(entry->path);
      if (is_safe_relative(path) && has_real_parents(request_.worktree.path, path)) {
        forced.push_back(std::move(path));
      }
    }
    for (const std::string& path : forced) {
      Result<ScanFindings> found = scan_file(scan_request(), path, nullptr, false, found_);
      if (!found) return fail(std::move(found).error());
      if (!found->present.empty()) memory_.forced.insert(path);
      findings_.append(*std::move(found));
    }
    return {};
  }

  /// A submodule that came back as an empty folder: tracked as it was.
  void find_unfilled(const IndexEntry& entry) {
    const std::string path(entry.path);
    if (!is_safe_relative(path) || !has_real_parents(request_.worktree.path, path)) return;
    if (kind_of(full(path)) != PathKind::directory) return;
    if (kind_of(full(path) + "/.git") != PathKind::missing) return;
    edits_[path] = {.mode = kRepositoryMode, .id = entry.id};
  }

  Result<void> store() {
    FileStore store(repository_, objects_, store_options(request_, outside_));
    const UsersIndex users{
        .attributes = memory_.attributes,
        .entries = [this]() -> const std::vector<IndexEntry>& { return users_.entries(); }};
    if (Result<void> begun = store.begin(findings_.present, users); !begun) return begun;
    for (const Present& present : findings_.present) {
      const IndexEntry* old =
          present.known < 0 ? nullptr : &entries()[static_cast<std::size_t>(present.known)];
      Result<std::optional<TreeEdit>> put = store.put(present, old != nullptr ? old->mode : 0);
      if (!put) return fail(std::move(put).error());
      const std::optional<TreeEdit>& edit = *put;
      if (!edit) {
        note_large(present, old);
        continue;
      }
      if (old == nullptr ? edit->mode == 0 : edit->mode == old->mode && edit->id == old->id) {
        if (old != nullptr) times_[present.path] = present.stat;
        continue;
      }
      edits_[present.path] = *edit;
      times_[present.path] = present.stat;
    }
    for (const std::string& path : findings_.unreadable) store.skipped().push_back(path);
    result_.note_skipped(std::move(store.skipped()), memory_);
    result_.report_.files_read = store.files_read();
    result_.report_.files_looked_at = findings_.looked_at;
    return {};
  }

  /// What is left out stays as it was, unless that was something else (a link, a repository).
  void note_large(const Present& present, const IndexEntry* old) {
    if (old != nullptr && (old->mode & 0170000) != 0100000 &&
        present.kind != PlaceKind::repository) {
      edits_[present.path] = {};
    }
  }

  void remember(const ObjectId& tree) {
    result_.tree_ = hex(tree);
    result_.private_index_ = request_.private_index;
    memory_.tree = result_.tree_;
    memory_.rules = outside_.signature;
    memory_.users_index = users_text_;
    make_entries(tree);
    result_.memory_ = std::move(memory_);
  }

  /// The new index, if so much was read that the next scan gains by one.
  void make_entries(const ObjectId& tree) {
    std::vector<IndexEntry> made;
    made.reserve(entries().size() + edits_.size());
    for (const IndexEntry& entry : entries()) {
      if (edits_.contains(entry.path)) continue;
      made.push_back(entry);
      const auto time = times_.find(entry.path);
      if (time != times_.end()) made.back().stat = time->second;
      if (entry.mode == kRepositoryMode) memory_.links.insert(std::string(entry.path));
    }
    std::vector<IndexEntry> added;
    for (const auto& [path, edit] : edits_) {
      if (edit.mode == 0) continue;
      if (edit.mode == kRepositoryMode) memory_.links.insert(path);
      IndexEntry entry;
      entry.path = new_index_.paths.emplace_back(path);
      entry.stat = times_[path];
      entry.mode = edit.mode;
      entry.id = edit.id;
      added.push_back(entry);
    }
    if (!fresh_ && result_.report_.files_read <= 32 + entries().size() / 256) return;
    std::vector<IndexEntry> merged;
    merged.reserve(made.size() + added.size());
    std::merge(made.begin(), made.end(), added.begin(), added.end(), std::back_inserter(merged),
               [](const IndexEntry& a, const IndexEntry& b) { return a.path < b.path; });
    for (IndexEntry& entry : merged) {
      if (entry.stat.is_younger_than(started_s_, started_ns_)) entry.stat = {};
    }
    new_index_.entries = std::move(merged);
    result_.new_index_ = std::move(new_index_);
    result_.new_tree_ = tree;
  }

  const TreeRequest& request_;
  const OutsideRules& outside_;
  git_repository* repository_;
  ObjectWriter objects_;
  WorkingTree result_;
  WorkingTree::NewIndex new_index_;
  std::vector<IndexEntry> listed_;
  const std::vector<IndexEntry>* entries_ = nullptr;
  ObjectId tree_{};  // what the entries are
  ObjectId base_{};
  IndexFile users_;
  std::string users_text_;
  std::vector<char> tracked_;
  std::vector<const IndexEntry*> unknown_;  // of the user's index, not in ours
  std::vector<char> found_;
  ScanFindings findings_;
  TreeEdits edits_;
  std::map<std::string, StatData, std::less<>> times_;
  ScanMemory memory_;
  bool fresh_ = false;
  std::uint32_t started_s_ = 0;
  std::uint32_t started_ns_ = 0;
};

Result<WorkingTree> WorkingTree::read(const TreeRequest& request) {
  Result<OutsideRules> outside = OutsideRules::read(request.worktree);
  if (!outside) return fail(std::move(outside).error());
  std::string reason;
  if (request.hints.complete) {
    Result<WorkingTree> hinted = HintedReader(request, *outside).read(reason);
    const bool lost = !hinted && (hinted.error().kind == ErrorKind::internal ||
                                  hinted.error().kind == ErrorKind::not_found);
    if (lost && reason.empty()) reason = "objects_missing";
    if (reason.empty()) return hinted;
  } else if (!request.hints.since.empty()) {
    reason = "hints_incomplete";
  }
  Result<WorkingTree> tree = FullReader(request, *outside).read(false);
  if (!tree && !request.private_index.empty() &&
      (tree.error().kind == ErrorKind::internal || tree.error().kind == ErrorKind::not_found)) {
    // The index may name objects that `git gc` took after their ref was deleted: once more from the
    // files alone.
    tree = FullReader(request, *outside).read(true);
  }
  if (tree) tree->report_.reason = std::move(reason);
  return tree;
}

void WorkingTree::note_skipped(std::vector<std::string> skipped, ScanMemory& memory) {
  constexpr std::size_t kNamedMax = 100;
  std::sort(skipped.begin(), skipped.end());
  skipped_count_ = skipped.size();
  memory.skipped.insert(skipped.begin(), skipped.end());
  skipped.resize(std::min(skipped.size(), kNamedMax));
  skipped_ = std::move(skipped);
}

Result<void> WorkingTree::keep() {
  if (private_index_.empty()) return {};
  if (new_index_) {
    Result<void> written = write_index(private_index_, new_index_->entries, new_tree_);
    if (!written) return written;
  }
  return memory_.save(private_index_);
}

}  // namespace berth::git::detail
