#include <berth/io/landlock.h>

#include <berth/io/paths.h>

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

namespace berth::inline v0::io {

namespace {

// From the kernel's include/uapi/linux/landlock.h, version 7; Debian 12's headers know version 2.
constexpr std::uint32_t kGetVersion = 1;
constexpr int kPathBeneath = 1;
constexpr std::uint64_t kExecute = 1ULL << 0;
constexpr std::uint64_t kWriteFile = 1ULL << 1;
constexpr std::uint64_t kReadFile = 1ULL << 2;
constexpr std::uint64_t kReadDir = 1ULL << 3;
constexpr std::uint64_t kMakeChar = 1ULL << 6;
constexpr std::uint64_t kMakeBlock = 1ULL << 11;
constexpr std::uint64_t kAllOfVersion1 = (1ULL << 13) - 1;
constexpr std::uint64_t kRefer = 1ULL << 13;
constexpr std::uint64_t kTruncate = 1ULL << 14;
constexpr std::uint64_t kIoctlDevice = 1ULL << 15;
constexpr std::uint64_t kScopeAbstractSocket = 1ULL << 0;
constexpr std::uint64_t kScopeSignal = 1ULL << 1;

constexpr std::uint64_t kRead = kExecute | kReadFile | kReadDir;
constexpr std::uint64_t kOfFiles = kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDevice;

struct RulesetAttributes {
  std::uint64_t files = 0;
  std::uint64_t network = 0;
  std::uint64_t scoped = 0;
};
struct __attribute__((packed)) PathBeneath {
  std::uint64_t allowed = 0;
  std::int32_t parent_fd = -1;
};

int version() {
  const long answer = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kGetVersion);
  return answer < 0 ? -errno : static_cast<int>(answer);
}

std::uint64_t handled_by(int abi) {
  std::uint64_t files = kAllOfVersion1 | kRefer;
  if (abi >= 3) files |= kTruncate;
  if (abi >= 5) files |= kIoctlDevice;
  return files;
}

/// Adds rules for paths around what is hidden.
class Rules {
 public:
  Rules(int ruleset, std::uint64_t handled, const std::vector<std::string>& hidden,
        KeptEntries& entries)
      : ruleset_(ruleset), handled_(handled), entries_(entries) {
    for (const std::string& path : hidden) hidden_.push_back(real_path_or(path));
  }

  /// `path` and what is below it, except for what is hidden below it.
  Result<void> allow(const std::string& path, std::uint64_t rights) {
    Result<GivenPath> given = resolve_given(path, hidden_);
    if (!given.has_value()) return fail(std::move(given.error()));
    if (given->path.empty()) return {};
    return add(given->opened.get(), given->folder, given->path, rights);
  }

 private:
  Result<void> add(int opened, bool is_folder, const std::string& path, std::uint64_t rights) {
    if (hides_below(path)) {
      const auto add_entry = [&](const std::string& name, int entry,
                                 bool holds_more) -> Result<void> {
        const std::string below = (path == "/" ? "" : path) + "/" + name;
        if (std::find(hidden_.begin(), hidden_.end(), below) != hidden_.end()) return {};
        return add(entry, holds_more, below, rights);
      };
      // A link is not among them: it could lead into what is hidden.
      return entries_.each(opened, path, add_entry);
    }
    PathBeneath rule;
    rule.allowed = rights & handled_ & (is_folder ? ~0ULL : kOfFiles);
    rule.parent_fd = opened;
    if (::syscall(SYS_landlock_add_rule, ruleset_, kPathBeneath, &rule, 0) == 0) return {};
    // What has no place in a tree of files (a pipe behind /dev/stdin) needs no rule.
    if (errno == EBADFD) return {};
    return fail(errno_error(errno, "landlock: " + path));
  }

  bool hides_below(const std::string& path) const {
    return std::any_of(hidden_.begin(), hidden_.end(),
                       [&](const std::string& hidden) { return is_below(hidden, path); });
  }

  int ruleset_;
  std::uint64_t handled_;
  std::vector<std::string> hidden_;
  KeptEntries& entries_;
};

}  // namespace

LandlockSupport probe_landlock() {
  LandlockSupport support;
  const int answer = version();
  if (answer < 0) {
    support.reason = answer == -EOPNOTSUPP ? "Landlock is in this kernel but switched off (lsm=)"
                                           : "this kernel has no Landlock";
    return support;
  }
  support.abi = answer;
  support.reason = "Landlock version " + std::to_string(support.abi);
  if (support.abi < 2) support.reason += ", which cannot move files between folders";
  std::string lacks;
  const auto lack = [&](int since, const char* what) {
    if (support.abi < since)
      lacks += (lacks.empty() ? "; it does not keep from " : ", ") + std::string(what);
  };
  lack(3, "emptying files that cannot be written");
  lack(5, "controlling devices that cannot be written");
  lack(6, "signals to processes outside");
  support.reason += lacks;
  return support;
}

Result<Fd> LandlockRules::make(const Confinement& confinement) {
  const LandlockSupport support = probe_landlock();
  if (!support.usable()) return fail(ErrorKind::unsupported, "no_landlock", support.reason);
  RulesetAttributes attributes;
  attributes.files = handled_by(support.abi);
  if (support.abi >= 6) attributes.scoped = kScopeAbstractSocket | kScopeSignal;
  const std::size_t size = support.abi >= 6 ? 24 : support.abi >= 4 ? 16 : 8;
  Fd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, size, 0)));
  if (!ruleset.valid()) return fail(errno_error(errno, "landlock_create_ruleset"));
  const std::lock_guard lock(mutex_);
  entries_.begin();
  Rules rules(ruleset.get(), attributes.files, confinement.hidden, entries_);
  for (const std::string& path : confinement.readable) {
    Result<void> allowed = rules.allow(path, kRead);
    if (!allowed.has_value()) return fail(std::move(allowed.error()));
  }
  for (const std::string& path : confinement.writable) {
    Result<void> allowed = rules.allow(path, ~(kMakeChar | kMakeBlock));
    if (!allowed.has_value()) return fail(std::move(allowed.error()));
  }
  return ruleset;
}

}  // namespace berth::inline v0::io
