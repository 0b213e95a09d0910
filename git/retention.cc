#include <berth/git/files.h>
#include <berth/git/names.h>
#include <berth/git/opened.h>
#include <berth/git/refs.h>
#include <berth/git/retention.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

namespace berth::git {

namespace {

struct KnownRef {
  std::string name;
  std::string last;  ///< Its last part.
  std::string commit;
  std::int64_t time_s = 0;  ///< A ref whose object is gone tells no age: 0 is old.
};

/// What berth keeps of one session.
struct Kept {
  std::vector<KnownRef> snapshots;  ///< The base too.
  std::vector<KnownRef> salvages;
};

bool is_base(const KnownRef& ref) {
  return ref.last == "base";
}

/// Turns by number, other names before them.
std::int64_t number_of(const KnownRef& ref) {
  std::int64_t number = -1;
  const char* end = ref.last.data() + ref.last.size();
  const auto [stop, error] = std::from_chars(ref.last.data(), end, number);
  return error == std::errc() && stop == end ? number : -1;
}

std::map<std::string, Kept> by_session(std::vector<detail::NamedRef> refs) {
  std::map<std::string, Kept> found;
  for (detail::NamedRef& one : refs) {
    const bool snapshot = one.name.starts_with("refs/berth/s/");
    if (!snapshot && !one.name.starts_with("refs/berth/x/")) continue;
    const std::size_t key_at = std::string_view("refs/berth/s/").size();
    const std::size_t slash = one.name.find('/', key_at);
    if (slash == std::string::npos) continue;  // not a name of ours
    const std::string key = one.name.substr(key_at, slash - key_at);
    KnownRef ref{.name = std::move(one.name), .commit = std::move(one.id), .time_s = one.time_s};
    ref.last = ref.name.substr(slash + 1);
    if (!is_key(key) || (ref.last != "base" && !is_ref_name(ref.last))) continue;
    (snapshot ? found[key].snapshots : found[key].salvages).push_back(std::move(ref));
  }
  return found;
}

class Expiry {
 public:
  Expiry(const RetentionRequest& request, std::string common_dir)
      : request_(request),
        common_dir_(std::move(common_dir)),
        live_(request.policy.live_keys.begin(), request.policy.live_keys.end()),
        wanted_(request.policy.keep_commits.begin(), request.policy.keep_commits.end()) {}

  void judge(const std::string& key, Kept& refs) {
    if (live_.contains(key)) return keep_newest(refs);
    bool snapshot_stays = false;
    for (const KnownRef& ref : refs.snapshots) {
      if (is_base(ref)) continue;
      const bool old = age_of(ref) > request_.policy.snapshot_age_max_s;
      snapshot_stays |= !old;
      old ? expire(ref, "session_gone") : keep();
    }
    const bool registered =
        detail::kind_of(detail::registration_of(common_dir_, key)) != detail::PathKind::missing;
    for (const KnownRef& ref : refs.snapshots) {
      if (!is_base(ref)) continue;
      snapshot_stays || registered ? keep() : expire(ref, "session_gone");
    }
    for (const KnownRef& ref : refs.salvages) {
      age_of(ref) > request_.policy.salvage_age_max_s ? expire(ref, "salvage_old") : keep();
    }
  }

  Retention result;

 private:
  std::int64_t age_of(const KnownRef& ref) const { return request_.now_s - ref.time_s; }
  void keep() { ++result.kept; }
  void expire(const KnownRef& ref, std::string_view reason) {
    result.expired.push_back({ref.name, ref.commit, age_of(ref), reason});
  }

  void keep_newest(Kept& refs) {
    result.kept += refs.salvages.size();
    std::sort(refs.snapshots.begin(), refs.snapshots.end(),
              [](const KnownRef& left, const KnownRef& right) {
                return number_of(left) > number_of(right);
              });
    std::size_t newer = 0;
    for (const KnownRef& ref : refs.snapshots) {
      const std::size_t max = request_.policy.snapshots_max;
      if (is_base(ref) || wanted_.contains(ref.commit) || max == 0 || newer++ < max) {
        keep();
      } else {
        expire(ref, "over_snapshots_max");
      }
    }
  }

  const RetentionRequest& request_;
  std::string common_dir_;
  std::set<std::string> live_;
  std::set<std::string> wanted_;
};

}  // namespace

Result<Retention> expire_refs(const RetentionRequest& request) {
  Result<detail::Refs> opened = detail::Refs::open(
      {.repository = request.repository, .command = request.command}, request.patience);
  if (!opened) return fail(std::move(opened).error());
  if (Result<void> patient = request.patience.check("looking at refs"); !patient) {
    return fail(std::move(patient).error());
  }
  Result<std::vector<detail::NamedRef>> listed = opened->list("refs/berth/");
  if (!listed) return fail(std::move(listed).error());
  std::map<std::string, Kept> refs = by_session(*std::move(listed));
  Expiry expiry(request, opened->location().common_dir);
  for (auto& [key, kept] : refs) expiry.judge(key, kept);
  Retention& result = expiry.result;
  std::sort(result.expired.begin(), result.expired.end(),
            [](const ExpiredRef& left, const ExpiredRef& right) { return left.ref < right.ref; });
  if (request.dry_run) return std::move(result);
  std::vector<ExpiredRef> gone;
  for (ExpiredRef& ref : result.expired) {
    if (Result<void> patient = request.patience.check("deleting refs"); !patient) {
      return fail(std::move(patient).error());
    }
    request.patience.note(Step::expire_ref);
    Result<void> deleted = opened->remove(ref.ref, ref.commit);
    if (!deleted && deleted.error().kind == ErrorKind::conflict) {
      ++result.kept;
      continue;
    }
    if (!deleted) return fail(std::move(deleted).error());
    gone.push_back(std::move(ref));
  }
  result.expired = std::move(gone);
  return std::move(result);
}

}  // namespace berth::git
