#include <berth/io/sim_files.h>

#include <fcntl.h>
#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

/// Absolute, without `.`, `..`, doubled and trailing slashes.
std::string normalized(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
      continue;
    }
    parts.push_back(part);
  }
  std::string text;
  for (std::string_view part : parts) text.append("/").append(part);
  return text.empty() ? "/" : text;
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

tl::unexpected<Error> frozen_error() {
  return fail(ErrorKind::cancelled, "crashed", "the simulated process is dead");
}

}  // namespace

SimDisk::SimDisk() {
  nodes_["/"] = std::make_shared<Node>(Node{true, 0755, {}});
}

const SimDisk::Node* SimDisk::find(const std::string& path) const {
  const auto found = nodes_.find(normalized(path));
  return found == nodes_.end() ? nullptr : found->second.get();
}

bool SimDisk::is_folder(const std::string& path) const {
  const Node* node = find(path);
  return node != nullptr && node->folder;
}

Result<void> SimDisk::write(const std::string& path, std::string_view content, unsigned mode) {
  const std::string name = normalized(path);
  if (!is_folder(parent_of(name))) return fail(errno_error(ENOENT, "write " + name));
  if (is_folder(name)) return fail(errno_error(EISDIR, "write " + name));
  nodes_[name] = std::make_shared<Node>(Node{false, mode, std::string(content)});
  return {};
}

Result<void> SimDisk::make_directories(const std::string& path, unsigned mode) {
  const std::string name = normalized(path);
  if (is_folder(name)) return {};
  if (find(name) != nullptr) return fail(errno_error(EEXIST, "mkdir " + name));
  Result<void> above = make_directories(parent_of(name), mode);
  if (!above.has_value()) return above;
  nodes_[name] = std::make_shared<Node>(Node{true, mode, {}});
  return {};
}

Result<void> SimDisk::remove_if_exists(const std::string& path) {
  const std::string name = normalized(path);
  if (is_folder(name) && !list(name).empty()) return fail(errno_error(ENOTEMPTY, "rm " + name));
  nodes_.erase(name);
  return {};
}

std::vector<std::string> SimDisk::list(const std::string& folder) const {
  std::string prefix = normalized(folder);
  if (prefix != "/") prefix += '/';
  std::vector<std::string> paths;
  for (auto at = nodes_.lower_bound(prefix); at != nodes_.end(); ++at) {
    if (at->first.compare(0, prefix.size(), prefix) != 0) break;
    if (!at->second->folder) paths.push_back(at->first);
  }
  return paths;
}

void SimDisk::remove_all(const std::string& path) {
  const std::string name = normalized(path);
  std::erase_if(nodes_, [&](const auto& node) {
    return node.first == name || node.first.starts_with(name + "/");
  });
}

std::vector<FolderEntry> SimDisk::entries(const std::string& folder) const {
  std::string prefix = normalized(folder);
  if (prefix != "/") prefix += '/';
  std::vector<FolderEntry> entries;
  for (auto at = nodes_.upper_bound(prefix); at != nodes_.end(); ++at) {
    if (!at->first.starts_with(prefix)) break;
    const std::string name = at->first.substr(prefix.size());
    if (name.find('/') != std::string::npos) continue;
    entries.push_back({name, at->second->folder, at->second->content.size(), 0});
  }
  return entries;
}

int SimDisk::open(const std::string& path, int flags, unsigned mode, std::shared_ptr<Node>& node) {
  const std::string name = normalized(path);
  const auto found = nodes_.find(name);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (found == nodes_.end()) {
    if ((flags & O_CREAT) == 0 || !is_folder(parent_of(name))) return ENOENT;
    node = nodes_[name] = std::make_shared<Node>(Node{false, mode, {}});
    return 0;
  }
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return EEXIST;
  if (found->second->folder && writes) return EISDIR;
  if (!found->second->folder && (flags & O_DIRECTORY) != 0) return ENOTDIR;
  node = found->second;
  if (writes && (flags & O_TRUNC) != 0) node->content.clear();
  return 0;
}

int SimDisk::rename(const std::string& path, const std::string& new_path) {
  const std::string from = normalized(path);
  const std::string to = normalized(new_path);
  const auto found = nodes_.find(from);
  if (found == nodes_.end() || !is_folder(parent_of(to))) return ENOENT;
  if (found->second->folder) return EOPNOTSUPP;  // nobody needs it yet
  if (is_folder(to)) return EISDIR;
  if (from == to) return 0;
  nodes_[to] = found->second;
  nodes_.erase(from);
  return 0;
}

int SimDisk::unlink(const std::string& path) {
  const auto found = nodes_.find(normalized(path));
  if (found == nodes_.end()) return ENOENT;
  if (found->second->folder) return EISDIR;
  nodes_.erase(found);
  return 0;
}

void SimFiles::freeze() {
  frozen_ = true;
  std::erase_if(disk_.locks_, [this](const auto& lock) { return lock.second == view_; });
}

Result<std::string> SimFiles::read(const std::string& path, std::size_t bytes_max) {
  if (frozen_) return frozen_error();
  const SimDisk::Node* node = disk_.find(path);
  if (node == nullptr) return fail(errno_error(ENOENT, "read " + path));
  if (node->folder) return fail(errno_error(EISDIR, "read " + path));
  if (node->content.size() > bytes_max) {
    return fail(ErrorKind::invalid, "file_too_big", path + " is bigger than the limit");
  }
  return node->content;
}

Result<void> SimFiles::write_atomic(const std::string& path, std::string_view content,
                                    unsigned mode) {
  if (frozen_) return frozen_error();
  return disk_.write(path, content, mode);
}

Result<void> SimFiles::make_directories(const std::string& path, unsigned mode) {
  if (frozen_) return frozen_error();
  return disk_.make_directories(path, mode);
}

bool SimFiles::exists(const std::string& path) {
  return !frozen_ && disk_.find(path) != nullptr;
}

Result<void> SimFiles::remove_if_exists(const std::string& path) {
  if (frozen_) return frozen_error();
  return disk_.remove_if_exists(path);
}

Result<void> SimFiles::remove_all(const std::string& path) {
  if (frozen_) return frozen_error();
  disk_.remove_all(path);
  return {};
}

Result<void> SimFiles::rename(const std::string& from, const std::string& to) {
  if (frozen_) return frozen_error();
  const int error = disk_.rename(from, to);
  if (error != 0) return fail(errno_error(error, "cannot rename " + from + " to " + to));
  return {};
}

Result<void> SimFiles::append(const std::string& path, std::string_view content, unsigned mode) {
  if (frozen_) return frozen_error();
  std::shared_ptr<SimDisk::Node> node;
  const int error = disk_.open(path, O_WRONLY | O_CREAT, mode, node);
  if (error != 0) return fail(errno_error(error, "cannot append to " + path));
  node->content += content;
  return {};
}

Result<std::vector<FolderEntry>> SimFiles::list(const std::string& folder) {
  if (frozen_) return frozen_error();
  const SimDisk::Node* node = disk_.find(folder);
  if (node == nullptr) return fail(errno_error(ENOENT, folder));
  if (!node->folder) return fail(errno_error(ENOTDIR, folder));
  return disk_.entries(folder);
}

Result<std::string> SimFiles::canonical(const std::string& path) {
  if (frozen_) return frozen_error();
  if (disk_.find(path) == nullptr) return fail(errno_error(ENOENT, "canonical " + path));
  return normalized(path);
}

Result<void> SimFiles::lock_exclusively(const std::string& path) {
  if (frozen_) return frozen_error();
  if (disk_.find(path) == nullptr) {
    Result<void> made = disk_.write(path, "", 0600);
    if (!made.has_value()) return made;
  }
  const auto [lock, added] = disk_.locks_.emplace(normalized(path), view_);
  if (!added && lock->second != view_) {
    return fail(ErrorKind::conflict, "locked", path + " is locked by another process");
  }
  return {};
}

}  // namespace berth::inline v0::io
