#include <berth/server/sessions/repository_clones.h>

#include <berth/git/names.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/workspaces_git.h>

#include <chrono>
#include <string_view>
#include <utility>

namespace berth::server {

RepositoryClones::RepositoryClones(io::Platform& platform, std::string folder,
                                   const CloneLimits& limits, Tools tools)
    : platform_(platform),
      cache_(std::move(folder)),
      limits_(limits),
      tools_(tools),
      credentials_(platform.environment(), platform.files(), limits.remotes),
      remotes_(platform.reactor(), 1) {}

Task<Result<OpenedClone>> RepositoryClones::open(CloneOrder order) {
  // Already the name is a hash of libgit2, which takes its time to come on.
  if (!tools_.libgit2.is_on()) {
    Result<void> on = co_await platform_.offload().run(
        io::Lane::git, platform_.reactor(), [libgit2 = &tools_.libgit2]() -> Result<void> {
          libgit2->need();
          return {};
        });
    if (!on.has_value()) co_return fail(std::move(on.error()));
  }
  // The same remote however it is written.
  Result<std::string> name = cache_.path_of(order.url);
  if (!name.has_value()) co_return fail(std::move(name.error()).with_context("repository"));
  std::unique_ptr<Line>& made = lines_[*name];
  if (made == nullptr) made = std::make_unique<Line>(platform_.reactor());
  Line& line = *made;
  ++line.wanted;
  Semaphore::Permits turn = co_await line.turn.acquire();
  Result<OpenedClone> opened = co_await open_in_turn(&order);
  turn.release();
  if (--line.wanted == 0) lines_.erase(*name);
  co_return opened;
}

Task<Result<OpenedClone>> RepositoryClones::open_in_turn(const CloneOrder* order) {
  if (order->fetch != "always") {
    Result<OpenedClone> there = co_await run({*order, Remote::untouched});
    if (there.has_value() && is_good(*there, *order)) co_return there;
    const std::string_view code = there.has_value() ? "" : there.error().code;
    const bool is_there = code != "not_cloned";
    if (is_there && order->fetch == "never") co_return there;
    if (!code.empty() && is_there && code != "rev_not_found") co_return there;
  }
  Semaphore::Permits remote = co_await remotes_.acquire();
  co_return co_await run({*order, Remote::asked});
}

/// Whether nothing newer needs to be looked for.
bool RepositoryClones::is_good(const OpenedClone& clone, const CloneOrder& order) const {
  // A commit never changes.
  if (order.fetch == "never" || git::is_object_id(order.base)) return true;
  return std::chrono::seconds(now_s() - clone.fetched_s) < limits_.fetch_age_max;
}

Task<Result<OpenedClone>> RepositoryClones::run(Step step) {
  step.now_s = now_s();
  if (stopped_) co_return fail(draining());
  co_return co_await platform_.offload().run(io::Lane::git, platform_.reactor(),
                                             [this, step] { return perform(step); });
}

/// On the lane.
Result<OpenedClone> RepositoryClones::perform(const Step& step) {
  git::CacheRequest request;
  request.url = step.order.url;
  request.age_max_s = step.remote == Remote::asked ? 0 : -1;
  request.now_s = step.now_s;
  request.credentials = &credentials_;
  request.proxy = limits_.proxy;
  request.command = tools_.command;
  request.patience = detail::patience_for(limits_.time_max);
  request.patience.cancelled = &stopped_;
  Result<std::string> path = cache_.path_of(step.order.url);
  if (path.has_value() && step.remote == Remote::untouched && !platform_.files().exists(*path)) {
    return fail(ErrorKind::not_found, "not_cloned", "no clone yet");
  }
  Result<git::CachedRepository> cached = cache_.open(request);
  if (!cached.has_value()) return fail(std::move(cached.error()).with_context("repository"));
  Result<std::string> commit =
      git::RepositoryCache::resolve(*cached, step.order.base, tools_.command);
  if (!commit.has_value()) return fail(std::move(commit.error()).with_context("base"));
  return OpenedClone{cached->path, *std::move(commit), cached->fetched_s};
}

std::int64_t RepositoryClones::now_s() const {
  return std::chrono::duration_cast<std::chrono::seconds>(platform_.clock().wall()).count();
}

}  // namespace berth::server
