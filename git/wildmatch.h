// git/wildmatch.h — the patterns of ignore files, as git 2.39 understands them. Private to this
// folder.
#pragma once

#include <string_view>

namespace berth::git::detail {

/// Does `text` match `pattern` as a whole? `*`, `?`, `[...]` with classes and ranges, `\` before a
/// character that is meant. With `pathname` only `**` between slashes crosses a slash. A pattern
/// made to take for ever is given up as not matching. Bytes, not characters, as in git.
bool wildmatch(std::string_view pattern, std::string_view text, bool pathname);

}  // namespace berth::git::detail
