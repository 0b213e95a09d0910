#include <berth/server/agents/launch_probe.h>

#include <berth/server/agents/line_process.h>

#include <utility>

namespace berth::server {

namespace {

/// Far more than it takes: a trial that hangs is a failed one.
constexpr Duration kTrialMax = std::chrono::seconds(10);
constexpr std::size_t kWordsMax = 300;

class Deaf final : public LinePeer {
 public:
  void on_line(Line&) override {}
  void on_overlong(std::uint64_t, std::string_view) override {}
  bool wants_more() override { return true; }
  void on_gone() override {}
};

class KillLate final : public io::TimerOp {
 public:
  explicit KillLate(LineProcess& process) : process_(process) {}
  void on_timer() override { process_.end(true); }

 private:
  LineProcess& process_;
};

/// Empty when it worked, else why not.
Task<std::string> try_sandbox(io::Platform* platform, io::LaunchSpec launch) {
  Deaf peer;
  LineProcess process(*platform, peer, {});
  const Result<void> started = process.start(launch);
  if (!started.has_value()) co_return started.error().message;
  KillLate late(process);
  io::Reactor& reactor = platform->reactor();
  reactor.arm(late, reactor.clock().now() + kTrialMax);
  co_await process.closed().wait();
  reactor.disarm(late);
  const io::ExitStatus status = process.exit_status();
  if (status.kind == io::ExitStatus::Kind::exited && status.value == 0) co_return std::string();
  std::string words = process.stderr_tail().substr(0, kWordsMax);
  while (words.ends_with('\n')) words.pop_back();
  co_return words.empty() ? io::describe(status) : words;
}

}  // namespace

Task<LaunchSupport> probe_launches(io::Platform* platform, const LaunchPolicy* policy) {
  LaunchSupport support;
  const io::LandlockSupport landlock = platform->processes().landlock();
  support.restricted = landlock.usable();
  support.restricted_reason = landlock.reason;
  if (!policy->has_sandbox_programs()) {
    support.sandbox_reason = "bubblewrap (bwrap) is not in PATH, or berth-launch not beside berth";
    co_return support;
  }
  for (const bool user_namespace : {true, false}) {
    std::string why_not =
        co_await try_sandbox(platform, policy->trial("/bin/true", user_namespace));
    support.sandbox = why_not.empty();
    support.user_namespace = support.sandbox && user_namespace;
    support.sandbox_reason = support.sandbox ? "bubblewrap" : "bubblewrap: " + why_not;
    if (support.sandbox && !user_namespace) support.sandbox_reason += ", no user namespace";
    if (support.sandbox) break;
  }
  co_return support;
}

}  // namespace berth::server
