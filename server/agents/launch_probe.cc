#include <berth/server/agents/launch_probe.h>

#include <berth/server/agents/line_process.h>

#include <utility>

namespace berth::server {

namespace {

/// Far more than it takes: a trial that hangs is a failed one.
constexpr Duration kTrialMax = std::chrono::seconds(10);
constexpr std::size_t kWordsMax = 300;

/// One run of a program of which only the end counts.
class Trial final : private LinePeer {
 public:
  explicit Trial(io::Platform& platform)
      : reactor_(platform.reactor()), process_(platform, *this, {}) {}

  /// Empty when it worked, else why not.
  Task<std::string> run(const io::LaunchSpec* launch) {
    process_.start(*launch);
    reactor_.arm(late_, reactor_.clock().now() + kTrialMax);
    co_await process_.closed().wait();
    reactor_.disarm(late_);
    if (const Error* why = process_.start_failure()) co_return why->message;
    const io::ExitStatus status = process_.exit_status();
    if (status.kind == io::ExitStatus::Kind::exited && status.value == 0) co_return std::string();
    std::string words = process_.stderr_tail().substr(0, kWordsMax);
    while (words.ends_with('\n')) words.pop_back();
    co_return words.empty() ? io::describe(status) : words;
  }

 private:
  void on_line(Line&) override {}
  void on_overlong(std::uint64_t, std::string_view) override {}
  bool wants_more() override { return true; }
  void on_gone() override {}
  void kill() { process_.end(true); }

  io::Reactor& reactor_;
  LineProcess process_;
  io::MemberTimer<&Trial::kill> late_{*this};
};

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
    const io::LaunchSpec launch = policy->trial("/bin/true", user_namespace);
    Trial trial(*platform);
    std::string why_not = co_await trial.run(&launch);
    support.sandbox = why_not.empty();
    support.user_namespace = support.sandbox && user_namespace;
    support.sandbox_reason = support.sandbox ? "bubblewrap" : "bubblewrap: " + why_not;
    if (support.sandbox && !user_namespace) support.sandbox_reason += ", no user namespace";
    if (support.sandbox) break;
  }
  co_return support;
}

}  // namespace berth::server
