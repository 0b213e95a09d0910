#include <berth/git/patience.h>

namespace berth::git {

Result<void> Patience::check(const char* what) const {
  if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
    return fail(ErrorKind::cancelled, "cancelled", std::string(what) + ": cancelled");
  }
  if (exhausted()) {
    return fail(ErrorKind::timed_out, "git_timed_out", std::string(what) + ": the deadline passed");
  }
  return {};
}

}  // namespace berth::git
