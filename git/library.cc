#include <berth/core/assert.h>
#include <berth/git/library.h>
#include <berth/git/patient_stream.h>

#include <git2.h>

namespace berth::git {

Library::Library(Options options) {
  const int count = git_libgit2_init();
  BERTH_ASSERT(count > 0);
  const bool patient = detail::register_patient_streams().has_value();
  BERTH_ASSERT(patient);
  if (!options.certificates.empty()) {
    git_libgit2_opts(GIT_OPT_SET_SSL_CERT_LOCATIONS, options.certificates.c_str(), nullptr);
  }
  git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
  git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 0);
  if (!options.user_config) {
    for (const int level : {GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG, GIT_CONFIG_LEVEL_GLOBAL,
                            GIT_CONFIG_LEVEL_PROGRAMDATA}) {
      git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, level, "");
    }
  }
}

Library::~Library() {
  git_libgit2_shutdown();
}

void LibraryOnDemand::need() {
  std::call_once(once_, [this] {
    library_.emplace(options_);
    on_.store(true, std::memory_order_release);
  });
}

std::string library_version() {
  int major = 0;
  int minor = 0;
  int patch = 0;
  git_libgit2_version(&major, &minor, &patch);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

}  // namespace berth::git
