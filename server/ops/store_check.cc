#include <berth/io/awaitables.h>
#include <berth/server/ops/store_check.h>
#include <berth/server/sessions/context.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace berth::server {

namespace {

/// Of events a step, and at most so long: what a commit waits for it.
constexpr std::size_t kStepBytes = std::size_t{1} << 20;
constexpr Duration kPauseLeast = std::chrono::milliseconds(1);

void tell(SessionContext& context, const StoreHealth& health) {
  for (const std::string& problem : health.problems) {
    context.log.write(LogLevel::error, "store", "damaged: " + problem);
  }
  for (const std::string& part : health.left_out) {
    context.log.write(LogLevel::warning, "store", "not checked: " + part);
  }
  switch (health.check) {
    case StoreCheck::sound:
      context.log.write(LogLevel::info, "store", "checked: nothing is damaged");
      break;
    case StoreCheck::damaged:
      context.log.write(LogLevel::error, "store",
                        "logs of sessions are damaged; all else is sound, and work goes on");
      break;
    case StoreCheck::corrupt:
      context.log.write(LogLevel::error, "store",
                        "the database is damaged: nothing new is taken in. Export or restore it");
      break;
    case StoreCheck::not_needed:
    case StoreCheck::running:
    case StoreCheck::stopped:
      break;
  }
}

}  // namespace

std::string_view to_string(StoreCheck check) {
  switch (check) {
    case StoreCheck::not_needed:
      return "not_needed";
    case StoreCheck::running:
      return "running";
    case StoreCheck::sound:
      return "sound";
    case StoreCheck::damaged:
      return "damaged";
    case StoreCheck::corrupt:
      return "corrupt";
    case StoreCheck::stopped:
      return "stopped";
  }
  return "stopped";
}

Task<void> check_store(SessionContext* context, StoreHealth* health, std::string owed,
                       StopToken stop) {
  io::Reactor& reactor = context->reactor();
  health->check = StoreCheck::running;
  Result<std::unique_ptr<StoreScan>> scan =
      co_await context->read([](Store& store) { return store.begin_scan(); });
  Result<bool> more = scan.has_value() ? Result<bool>(true) : fail(scan.error());
  while (more.has_value() && *more && !stop.stop_requested()) {
    StoreScan* const looking = scan->get();
    const TimePoint began = reactor.clock().now();
    more = co_await context->read([looking](Store&) { return looking->look(kStepBytes); });
    // The lane is the sessions' for as long as it was ours.
    const TimePoint now = reactor.clock().now();
    const bool on = co_await io::Sleep(reactor, now + std::max(now - began, kPauseLeast), stop);
    if (!on) break;
  }
  if (!more.has_value() || *more) {
    health->check = StoreCheck::stopped;
    if (!more.has_value()) {
      context->log.write(LogLevel::error, "store", "cannot be checked: " + more.error().message);
    }
    co_return;
  }
  const ScanFindings& findings = (*scan)->findings();
  health->problems = findings.problems;
  health->left_out = findings.left_out;
  health->check = findings.corrupt            ? StoreCheck::corrupt
                  : findings.problems.empty() ? StoreCheck::sound
                                              : StoreCheck::damaged;
  tell(*context, *health);
  if (health->check != StoreCheck::sound) co_return;
  io::Files* const files = &context->platform.files();
  const Result<void> gone = co_await context->platform.offload().run(
      io::Lane::files, reactor, [files, owed] { return files->remove_if_exists(owed); });
  if (!gone.has_value()) {
    context->log.write(LogLevel::warning, "store",
                       "will be checked again: " + gone.error().message);
  }
}

}  // namespace berth::server
