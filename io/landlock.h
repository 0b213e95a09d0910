// io/landlock.h — Landlock (landlock(7)): a process that gives up access to files for good.
#pragma once

#include <berth/core/result.h>
#include <berth/io/confinement.h>
#include <berth/io/fd.h>
#include <berth/io/kept_entries.h>

#include <mutex>

namespace berth::inline v0::io {

LandlockSupport probe_landlock();

/// Makes the rules of confinements of kind `landlock`, for landlock_restrict_self(2), and keeps
/// open what lies beside hidden things, so that a set like the last one costs a third. Thread-safe.
class LandlockRules {
 public:
  /// A rule holds for the file or folder that has the name now: of a folder that something hidden
  /// lies in, only what is there now can be read, and the folder itself cannot be listed.
  ///
  /// Errors: `unsupported` ("no_landlock"), `invalid` ("bad_launch") for a path that leads
  /// somewhere hidden, those of the errno.
  Result<Fd> make(const Confinement& confinement);

 private:
  std::mutex mutex_;
  KeptEntries entries_;
};

}  // namespace berth::inline v0::io
