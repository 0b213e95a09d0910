// io/installed.h — where the programs are that belong to this one.
#pragma once

#include <berth/core/result.h>

#include <string>

namespace berth::inline v0::io {

/// Where a program of this installation is: beside this very program, at `build_place` from there
/// ("../io/") in a build tree, or where `meson install` puts helpers (../libexec/berth/,
/// ../lib/berth/). Blocks for a few looks at the file system. Error `not_found` ("not_installed").
Result<std::string> find_installed(const std::string& name, const std::string& build_place);

}  // namespace berth::inline v0::io
