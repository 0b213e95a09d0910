// core/version.h — the one place of berth's version: meson, pkg-config and the server read it here.
#pragma once

namespace berth::inline v0 {

/// MAJOR.MINOR.PATCH. Before 1.0 nothing is promised from one minor version to the next: no ABI,
/// and no source that compiles on. The build reads this line, so keep its form.
inline constexpr const char* kVersion = "0.1.0";

}  // namespace berth::inline v0
