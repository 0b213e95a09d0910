// The files below a folder of a simulated machine, which knows no links.
#include <berth/core/hash.h>
#include <berth/io/folder_tree.h>
#include <berth/io/sim_files.h>

#include <utility>

namespace berth::inline v0::io {

namespace {

Error missing(const std::string& path) {
  return make_error(ErrorKind::not_found, "file_not_found", "path: there is no " + path);
}

Error not_a_file(const std::string& path) {
  return make_error(ErrorKind::invalid, "not_a_file", "path: " + path + " is no regular file");
}

TreeEntry entry_of(std::string name, const SimDisk::Node& node) {
  TreeEntry entry;
  entry.name = std::move(name);
  entry.type = node.folder ? TreeType::folder : TreeType::file;
  entry.bytes = node.content.size();
  entry.mode = node.mode;
  if (!node.folder) entry.version = std::to_string(fnv1a(node.content));
  return entry;
}

class SimTreeFile final : public TreeFile {
 public:
  SimTreeFile(TreeEntry entry, std::string content)
      : entry_(std::move(entry)), content_(std::move(content)) {}
  const TreeEntry& entry() const override { return entry_; }
  Result<std::string> read(std::uint64_t offset, std::size_t bytes_max) override {
    return offset >= content_.size() ? std::string() : content_.substr(offset, bytes_max);
  }

 private:
  TreeEntry entry_;
  std::string content_;
};

class SimTree final : public FolderTree {
 public:
  SimTree(SimDisk& disk, std::string root) : disk_(disk), root_(std::move(root)) {}

  Result<TreeEntry> stat(const std::string& path) override {
    const SimDisk::Node* node = nullptr;
    if (Result<void> found = find(path, node); !found.has_value()) {
      return fail(std::move(found.error()));
    }
    return entry_of({}, *node);
  }

  Result<std::vector<TreeEntry>> list(const std::string& path, std::string_view after,
                                      std::size_t limit, bool* more) override {
    const SimDisk::Node* node = nullptr;
    if (Result<void> found = find(path, node); !found.has_value()) {
      return fail(std::move(found.error()));
    }
    if (!node->folder) return fail(missing(path));
    std::vector<TreeEntry> entries;
    *more = false;
    for (const FolderEntry& entry : disk_.entries(place(path))) {
      if (entry.name <= after || is_git_name(entry.name)) continue;
      *more = entries.size() == limit;
      if (*more) break;
      entries.push_back(entry_of(entry.name, *disk_.find(place(path) + "/" + entry.name)));
    }
    return entries;
  }

  Result<std::unique_ptr<TreeFile>> open(const std::string& path) override {
    const SimDisk::Node* node = nullptr;
    if (Result<void> found = find(path, node); !found.has_value()) {
      return fail(std::move(found.error()));
    }
    if (node->folder) return fail(not_a_file(path));
    return std::make_unique<SimTreeFile>(entry_of(path.substr(path.rfind('/') + 1), *node),
                                         node->content);
  }

  Result<TreeEntry> write(const std::string& path, std::string_view content,
                          const TreeCondition& condition) override {
    Result<std::vector<std::string>> segments = tree_segments(path);
    if (!segments.has_value()) return fail(std::move(segments.error()));
    const SimDisk::Node* node = disk_.find(place(path));
    if (node != nullptr && node->folder) return fail(not_a_file(path));
    if (Result<void> fits = check(condition, path, node); !fits.has_value()) {
      return fail(std::move(fits.error()));
    }
    const std::string folder = place(path).substr(0, place(path).rfind('/'));
    const unsigned mode = node == nullptr ? 0644 : node->mode;
    Result<void> written = disk_.make_directories(folder, 0755);
    if (written.has_value()) written = disk_.write(place(path), content, mode);
    if (!written.has_value()) return fail(std::move(written.error()));
    return entry_of(segments->back(), *disk_.find(place(path)));
  }

  Result<void> remove(const std::string& path, const TreeCondition& condition) override {
    const SimDisk::Node* node = nullptr;
    if (Result<void> found = find(path, node); !found.has_value()) return found;
    if (path.empty()) return fail(not_a_file("the workspace"));
    if (Result<void> fits = check(condition, path, node); !fits.has_value()) return fits;
    if (node->folder && !disk_.entries(place(path)).empty()) {
      return fail(ErrorKind::conflict, "folder_not_empty", "path: " + path + " is not empty");
    }
    return disk_.remove_if_exists(place(path));
  }

  Result<void> make_folder(const std::string& path) override {
    Result<std::vector<std::string>> segments = tree_segments(path);
    if (!segments.has_value()) return fail(std::move(segments.error()));
    return disk_.make_directories(place(path), 0755);
  }

 private:
  std::string place(const std::string& path) const {
    return path.empty() ? root_ : root_ + "/" + path;
  }
  Result<void> find(const std::string& path, const SimDisk::Node*& node) const {
    Result<std::vector<std::string>> segments = tree_segments(path);
    if (!segments.has_value()) return fail(std::move(segments.error()));
    node = disk_.find(place(path));
    if (node == nullptr) return fail(missing(path));
    return {};
  }
  static Result<void> check(const TreeCondition& condition, const std::string& path,
                            const SimDisk::Node* node) {
    if (node == nullptr) return check_condition(condition, nullptr);
    const TreeEntry entry = entry_of(path, *node);
    return check_condition(condition, &entry);
  }

  SimDisk& disk_;
  std::string root_;
};

}  // namespace

Result<std::unique_ptr<FolderTree>> SimFiles::open_tree(const std::string& folder) {
  if (frozen_) return fail(ErrorKind::cancelled, "crashed", "the simulated process is dead");
  if (!disk_.is_folder(folder)) return fail(errno_error(ENOENT, folder));
  return std::make_unique<SimTree>(disk_, folder);
}

}  // namespace berth::inline v0::io
