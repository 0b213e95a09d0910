// io/paths.h — paths of a confinement as they really are (private to io).
#pragma once

#include <berth/core/result.h>
#include <berth/io/fd.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

/// True for what lies in `folder`, at any depth; not for the folder itself. Both absolute, without
/// links and without a '/' at the end.
bool is_below(std::string_view path, std::string_view folder);

/// With links resolved; as it was when that fails.
std::string real_path_or(const std::string& path);

struct GivenPath {
  std::string path;  ///< With links resolved; empty when it does not exist.
  bool folder = false;
  Fd opened;  ///< O_PATH; what has the path now. Invalid when it does not exist.
};

/// A path of Confinement::writable or readable; one that ends in '/' is made (0700) when absent.
/// `hidden` has its links resolved. Errors: `invalid` ("bad_launch") for what is not absolute, and
/// for what leads into something hidden by a link or by `..`; those of the errno for what is there
/// and cannot be opened.
Result<GivenPath> resolve_given(const std::string& path, const std::vector<std::string>& hidden);

}  // namespace berth::inline v0::io
