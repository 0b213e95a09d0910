#include <berth/git/failure.h>

#include <git2.h>

#include <cerrno>

namespace berth::git::detail {
namespace {

struct Match {
  std::string_view text;
  ErrorKind kind;
  const char* code;
};

// libgit2 gives most failures the code -1; only its text tells them apart. The texts are those
// of 1.5.
constexpr Match kMatches[] = {
    {"No space left on device", ErrorKind::unavailable, "git_write_failed"},
    {"Disk quota exceeded", ErrorKind::unavailable, "git_write_failed"},
    {"Read-only file system", ErrorKind::unavailable, "git_write_failed"},
    {"unsupported mandatory extension", ErrorKind::unsupported, "git_index_unsupported"},
    {"unsupported extension name", ErrorKind::unsupported, "git_extension"},
    {"unsupported repository version", ErrorKind::unsupported, "git_format_version"},
    {"Permission denied", ErrorKind::unavailable, "git_unreadable"},
    {"Too many open files", ErrorKind::overloaded, "git_no_descriptors"},
};

}  // namespace

Error libgit2_error(int rc, std::string_view what) {
  const git_error* last = git_error_last();
  const std::string_view text = last != nullptr && last->message != nullptr ? last->message : "";
  std::string message(what);
  message += ": ";
  message += text.empty() ? std::string_view("libgit2 gave no reason") : text;

  if (rc == GIT_ELOCKED) return make_error(ErrorKind::busy, "git_locked", std::move(message));
  for (const Match& match : kMatches) {
    if (text.find(match.text) != std::string_view::npos) {
      return make_error(match.kind, match.code, std::move(message));
    }
  }
  if (rc == GIT_ENOTFOUND) {
    return make_error(ErrorKind::not_found, "object_not_found", std::move(message));
  }
  return make_error(ErrorKind::internal, "git_failed", std::move(message));
}

}  // namespace berth::git::detail
