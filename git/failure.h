// git/failure.h — what libgit2 says turned into our errors. Private to this folder.
#pragma once

#include <berth/core/result.h>

#include <string>
#include <string_view>

namespace berth::git::detail {

/// The error behind the return code `rc` of a libgit2 call just made on this thread; `what` names
/// the work and its path or ref. Codes: busy "git_locked", unsupported "git_index_unsupported" and
/// the like, unavailable "git_write_failed" for a full disk, not_found "object_not_found", else
/// internal "git_failed".
Error libgit2_error(int rc, std::string_view what);

inline tl::unexpected<Error> libgit2_fail(int rc, std::string_view what) {
  return tl::unexpected<Error>(libgit2_error(rc, what));
}

}  // namespace berth::git::detail
