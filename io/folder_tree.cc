#include <berth/io/folder_tree.h>

#include <algorithm>

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kPathMax = 4096;

tl::unexpected<Error> bad_path(std::string_view why) {
  return fail(ErrorKind::invalid, "bad_path", "path: " + std::string(why));
}

}  // namespace

bool is_git_name(std::string_view segment) {
  constexpr std::string_view kGit = ".git";
  return segment.size() == kGit.size() &&
         std::equal(segment.begin(), segment.end(), kGit.begin(),
                    [](char c, char wanted) { return c == wanted || (c | 0x20) == wanted; });
}

Result<std::vector<std::string>> tree_segments(std::string_view path) {
  std::vector<std::string> segments;
  if (path.empty()) return segments;
  if (path.size() >= kPathMax) return bad_path("is longer than 4095 bytes");
  if (path.front() == '/') return bad_path("must be relative to the workspace");
  if (path.find('\0') != std::string_view::npos) return bad_path("holds a NUL");
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    if (segment.empty()) return bad_path("has an empty segment");
    if (segment == "." || segment == "..") return bad_path("must not hold . or ..");
    if (is_git_name(segment)) {
      return fail(ErrorKind::denied, "path_is_git", "path: git's own files are not shown here");
    }
    segments.emplace_back(segment);
    begin = end + 1;
  }
  return segments;
}

Result<void> check_condition(const TreeCondition& condition, const TreeEntry* found) {
  const char* why = nullptr;
  if (condition.absent && found != nullptr) {
    why = "there is a file of that name already";
  } else if (condition.exists && found == nullptr) {
    why = "there is no file of that name";
  } else if (condition.version && (found == nullptr || found->version != *condition.version)) {
    why = "the file is not the one that you know";
  }
  if (why == nullptr) return {};
  return fail(ErrorKind::conflict, "precondition_failed", why);
}

}  // namespace berth::inline v0::io
