#include "random_tree.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>

#include "temp_repository.h"

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

/// Without following links, which may lead nowhere or round.
bool is_there(const std::string& path) {
  std::error_code loops;
  return fs::exists(fs::symlink_status(path, loops));
}
bool is_real_folder(const std::string& path) {
  std::error_code loops;
  return fs::is_directory(fs::symlink_status(path, loops));
}

constexpr std::array<const char*, 24> kFolders = {
    "",
    "",
    "",
    "dir/",
    "dir/",
    "dir/deep/",
    "dir/deep/er/",
    "out/",
    "build/",
    "dir/build/",
    "foo/",
    "foo/a/b/",
    "sp ace/",
    "Dir/",
    "tmp/x/",
    "\xc3\xbc/\xe6\x97\xa5/",
    "dir.d/",
    "dir-x/",
    "a/",
    "a/a/",
    "[br]/",
    "foo/bar/",
    "q\"uote/",
    "dir/out/",
};
constexpr std::array<const char*, 36> kNames = {
    "a",          "b.txt",    "B.TXT", "b.TXT",   "c.md",      "x.log",     "keep.log",    "y.tmp",
    "tmpfile",    "build",    "out",   "deep",    "sp ace",    "trailing ", "#hash",       "!bang",
    "[br]",       "star*",    "ques?", "tab\tx",  "new\nline", "quo\"te",   "back\\slash", "-dash",
    "\xff\xfe.b", "\xc3\xbc", "dot.",  ".hidden", "i.dat",     "n.crlf",    "one.c",       "two.c",
    "three.txt",  "four.txt", "a.o",   "lib.so",
};
constexpr std::array<const char*, 34> kRules = {
    "*.log",        "!keep.log", "build/",     "/out",      "**/tmp*",   "dir/*",
    "!dir/a",       "*.tmp",     "\\#hash",    "\\!bang",   "[br]*",     "sp ace",
    "trailing\\ ",  "foo/**",    "!foo/**/a",  "# comment", "",          "*.[oa]",
    "/dir/deep/",   "deep",      "a/**/b.txt", "!*.txt",    "[!a-c].md", "\\[br\\]",
    "dir/**/out",   "star\\*",   "ques\\?",    "*.so  ",    "!/build/",  "tab\tx",
    "[[:upper:]]*", "!build",    "*/build",    "foo/*/",
};

}  // namespace

std::vector<unsigned> seeds(unsigned count) {
  if (const char* wanted = std::getenv("BERTH_GIT_SEED"); wanted != nullptr && *wanted != '\0') {
    return {static_cast<unsigned>(std::atoi(wanted))};
  }
  const char* full = std::getenv("BERTH_FULL");
  std::vector<unsigned> all(full != nullptr && *full != '\0' ? 5 * count : count);
  for (unsigned i = 0; i < all.size(); ++i) all[i] = i + 1;
  return all;
}

RandomTree::RandomTree(std::string root, std::string nested, unsigned seed)
    : root_(std::move(root)), nested_(std::move(nested)), engine_(seed) {}

void RandomTree::move_to(std::string root) {
  root_ = std::move(root);
  attributes_.clear();
  settle();
}

std::string RandomTree::pick_name() {
  if (below(40) == 0) return std::string(200, 'n') + std::to_string(below(3));
  return kNames[below(kNames.size())];
}

std::string RandomTree::pick_path() {
  return kFolders[below(kFolders.size())] + pick_name();
}

/// A file or link that is there, or empty.
std::string RandomTree::pick_existing() {
  std::vector<std::string> found;
  for (auto at = fs::recursive_directory_iterator(root_); at != fs::end(at); ++at) {
    if (at->path().filename() == ".git") {
      at.disable_recursion_pending();
      continue;
    }
    if (is_real_folder(at->path())) {
      if (is_there(at->path() / ".git")) at.disable_recursion_pending();
      continue;
    }
    found.push_back(at->path().string().substr(root_.size() + 1));
  }
  if (found.empty()) return {};
  std::sort(found.begin(), found.end());
  return found[below(static_cast<unsigned>(found.size()))];
}

/// A folder that is there, with its slash, or empty for the root.
std::string RandomTree::pick_folder() {
  const std::string file = pick_existing();
  const std::size_t slash = below(2) == 0 ? file.find('/') : file.rfind('/');
  return slash == std::string::npos ? "" : file.substr(0, slash + 1);
}

std::string RandomTree::lines(unsigned count) {
  std::string text;
  const bool crlf = below(5) == 0;
  for (unsigned i = 0; i < count; ++i) {
    text += "line " + std::to_string(below(40)) + (crlf && below(9) != 0 ? "\r\n" : "\n");
  }
  if (below(6) == 0 && !text.empty()) text.pop_back();  // no newline at the end
  return text;
}

std::string RandomTree::rules() {
  std::string text;
  if (below(20) == 0) text += "\xef\xbb\xbf";  // what some editors put first
  const bool crlf = below(12) == 0;
  for (unsigned i = 1 + below(5); i > 0; --i) {
    text += kRules[below(kRules.size())];
    text += crlf ? "\r\n" : "\n";
  }
  if (below(25) == 0) text += "*\n!*/\n!*.txt\n!.gitignore\n";
  if (below(6) == 0) text.pop_back();
  return text;
}

std::string RandomTree::attributes() {
  constexpr std::array<const char*, 9> kAttributes = {
      "*.dat binary",          "*.txt text", "*.crlf eol=crlf", "* text=auto",  "*.txt -text",
      "*.md text=auto eol=lf", "*.c -diff",  "[br] binary",     "*.c diff=cpp",
  };
  std::string text;
  for (unsigned i = 1 + below(3); i > 0; --i) {
    text += std::string(kAttributes[below(kAttributes.size())]) + "\n";
  }
  return text;
}

/// Makes `path` free to be written: folders that are files or links, and the other way, give way.
/// False when it lies in a repository inside.
bool RandomTree::make_room(const std::string& path) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (is_there(full(parent)) && !is_real_folder(full(parent))) remove(parent);
    if (is_there(full(parent) + "/.git")) return false;
    if (!is_there(full(parent))) {
      fs::create_directory(full(parent));
      touched_.push_back(parent);
    }
  }
  remove(path);
  return true;
}

void RandomTree::put(const std::string& path, const std::string& content) {
  if (!make_room(path)) return;
  write(full(path), content);
  touched_.push_back(path);
}

void RandomTree::remove(const std::string& path) {
  if (fs::remove_all(full(path)) > 0) touched_.push_back(path);
}

void RandomTree::grow(int files) {
  for (int i = 0; i < files; ++i) put(pick_path(), lines(1 + below(30)));
  if (below(3) != 0) put(".gitignore", rules());
  if (below(2) != 0) put("dir/.gitignore", rules());
  if (below(2) != 0) put(".gitattributes", attributes());
  for (int i = 0; i < 3; ++i) make_link();
  for (int i = 0; i < 3; ++i) make_binary();
  for (int i = 0; i < 3; ++i) change_mode();
  if (below(4) == 0) plant_repository();
  touched_.clear();
  settle();
  touched_.clear();
}

void RandomTree::edit(int edits) {
  for (int i = 0; i < edits; ++i) edit_once();
  settle();
}

/// git looks only at files whose times changed, and at those that are too young to tell: so that it
/// is not chance which files meet new attributes, all do.
void RandomTree::settle() {
  std::map<std::string, std::string> now;
  for (auto at = fs::recursive_directory_iterator(root_); at != fs::end(at); ++at) {
    if (at->path().filename() == ".gitattributes") now[at->path()] = read(at->path());
  }
  // git falls back on what its index has of a file of attributes that is gone, until it comes upon
  // that entry: chance again, so an empty one takes its place.
  for (const auto& [path, content] : attributes_) {
    if (now.contains(path) || !is_real_folder(fs::path(path).parent_path())) continue;
    if (is_there(path)) continue;
    write(path, "");
    now[path] = "";
    touched_.push_back(path.substr(root_.size() + 1));
  }
  if (now != attributes_) touch_everything();
  attributes_ = std::move(now);
}

void RandomTree::edit_once() {
  using Edit = void (RandomTree::*)();
  struct Choice {
    const char* name;
    unsigned weight;
    Edit make;
  };
  static constexpr std::array<Choice, 13> kChoices = {{
      {"rewritten", 8, &RandomTree::rewrite},
      {"changed", 8, &RandomTree::insert_or_truncate},
      {"mode", 4, &RandomTree::change_mode},
      {"renamed", 5, &RandomTree::rename},
      {"folder renamed", 2, &RandomTree::rename_folder},
      {"link", 3, &RandomTree::make_link},
      {"folder of file", 3, &RandomTree::make_folder_of_file},
      {"binary", 2, &RandomTree::make_binary},
      {"nested", 1, &RandomTree::plant_repository},
      {"rules", 3, &RandomTree::change_rules},
      {"attributes", 1, &RandomTree::change_attributes},
      {"same size", 3, &RandomTree::same_size},
      {"removed", 4, nullptr},
  }};
  unsigned sum = 0;
  for (const Choice& choice : kChoices) sum += choice.weight;
  unsigned at = below(sum);
  for (const Choice& choice : kChoices) {
    if (at >= choice.weight) {
      at -= choice.weight;
      continue;
    }
    ++met_[choice.name];
    if (choice.make != nullptr) {
      (this->*choice.make)();
      return;
    }
    const std::string path = below(8) == 0 ? pick_folder() : pick_existing();
    if (!path.empty()) remove(path.back() == '/' ? path.substr(0, path.size() - 1) : path);
    return;
  }
}

void RandomTree::rewrite() {
  put(pick_path(), lines(below(30)));
}

void RandomTree::insert_or_truncate() {
  const std::string path = pick_existing();
  if (path.empty() || fs::is_symlink(full(path))) return;
  if (path.ends_with(".gitattributes")) return;
  std::string content = read(full(path));
  if (below(6) == 0) {
    content.resize(content.size() / 2);
  } else {
    content.insert(std::min(content.size(), content.find('\n', content.size() / 2) + 1),
                   "inserted " + std::to_string(below(100)) + "\n");
  }
  write(full(path), content);
  touched_.push_back(path);
}

/// Same length, other bytes, right after the last look: what a careless comparison of times misses.
void RandomTree::same_size() {
  const std::string path = pick_existing();
  if (path.empty() || fs::is_symlink(full(path)) || path.find(".git") != std::string::npos) return;
  std::string content = read(full(path));
  if (content.empty()) return;
  char& byte = content[below(static_cast<unsigned>(content.size()))];
  if (byte != '\n' && byte != '\r' && byte != '\0') byte = byte == 'x' ? 'y' : 'x';
  write(full(path), content);
  touched_.push_back(path);
}

void RandomTree::change_mode() {
  const std::string path = pick_existing();
  if (path.empty() || fs::is_symlink(full(path))) return;
  fs::permissions(full(path), fs::perms(below(2) ? 0755 : 0644));
  touched_.push_back(path);
}

void RandomTree::rename() {
  const std::string from = pick_existing();
  const std::string to = pick_path();
  if (from.empty() || fs::is_symlink(full(from)) || from.ends_with(".gitattributes")) return;
  const std::string content = read(full(from));
  remove(from);
  put(to, content + (below(2) ? "moved\n" : ""));
}

void RandomTree::rename_folder() {
  std::string from = pick_folder();
  if (from.empty()) return;
  from.pop_back();
  const std::string to = pick_name() + ".d";
  if (is_there(full(to))) return;
  fs::rename(full(from), full(to));
  touched_.push_back(from);
  touched_.push_back(to);
}

void RandomTree::make_link() {
  constexpr std::array<const char*, 5> kTargets = {"a.txt", "no where", "dir", "../x", "."};
  std::string path = pick_path();
  if (below(4) == 0 && !pick_folder().empty()) {
    path = pick_folder();  // a folder of files becomes a link to another
    if (!path.empty()) path.pop_back();
    if (path.empty()) return;
  }
  if (!make_room(path)) return;
  const char* target = kTargets[below(kTargets.size())];
  // `git status` passes over what lay below a link to itself (ELOOP), though `git add` does not.
  if (path == target) target = "no where";
  fs::create_symlink(target, full(path));
  touched_.push_back(path);
}

void RandomTree::make_folder_of_file() {
  const std::string path = pick_existing();
  if (path.empty() || path.find(".git") != std::string::npos) return;
  put(path + "/" + pick_name(), lines(3));
}

void RandomTree::make_binary() {
  put(pick_path(),
      std::string("\0bin", 4) + lines(5) + std::string(1, static_cast<char>(below(256))));
}

void RandomTree::plant_repository() {
  const std::string path =
      std::string(below(2) ? "nested" : "dir/build/sub") + std::to_string(below(3));
  if (is_there(full(path)) || !make_room(path)) return;
  fs::copy(nested_, full(path), fs::copy_options::recursive);
  touched_.push_back(path);
}

void RandomTree::change_rules() {
  const std::string folder = below(2) ? "" : pick_folder();
  if (below(10) == 0) {
    if (!make_room(folder + ".gitignore")) return;
    fs::create_symlink("b.txt", full(folder + ".gitignore"));  // git does not follow it
    touched_.push_back(folder + ".gitignore");
  } else {
    put(folder + ".gitignore", rules());
  }
}

void RandomTree::change_attributes() {
  const std::string folder = below(2) ? "" : pick_folder();
  put(folder + ".gitattributes", attributes());
}

void RandomTree::touch_everything() {
  for (auto at = fs::recursive_directory_iterator(root_); at != fs::end(at); ++at) {
    if (at->path().filename() == ".git") at.disable_recursion_pending();
    if (!fs::is_regular_file(fs::symlink_status(at->path()))) continue;
    if (at->path().filename() == ".git") continue;
    ::utimensat(AT_FDCWD, at->path().c_str(), nullptr, 0);
    touched_.push_back(at->path().string().substr(root_.size() + 1));
  }
}

std::vector<std::string> RandomTree::take_touched() {
  return std::exchange(touched_, {});
}

}  // namespace berth::git::test
