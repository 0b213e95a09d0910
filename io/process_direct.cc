#include <berth/io/child_start.h>
#include <berth/io/child_stdio.h>
#include <berth/io/direct_child.h>
#include <berth/io/landlock.h>
#include <berth/io/orphans.h>
#include <berth/io/process_direct.h>

#include <time.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

namespace {

constexpr Duration kShutdownMax = std::chrono::seconds(5);

void nap() {
  const timespec one_ms = {0, 1'000'000};
  ::nanosleep(&one_ms, nullptr);
}

class DirectHost;

/// Collects the trees that have to be killed by a walk over /proc: one walk for all that come
/// together.
class Sweeper final : public Runnable {
 public:
  Sweeper(DirectHost& host, Reactor& reactor) : host_(host), reactor_(reactor) {}
  void request(std::uint64_t number) {
    wanted_.push_back(number);
    if (!linked()) reactor_.post(*this);
  }
  void run() override;
  bool is_for(const Reactor& reactor) const { return &reactor_ == &reactor; }

 private:
  DirectHost& host_;
  Reactor& reactor_;
  std::vector<std::uint64_t> wanted_;
};

class DirectHost final : public ProcessHost, public DirectParent {
 public:
  DirectHost(LogSink& log, const DirectOptions& options) : log_(log), options_(options) {}
  ~DirectHost() override;
  Result<void> init();

  Result<std::unique_ptr<Process>> spawn(Reactor& reactor, const LaunchSpec& spec,
                                         ProcessListener& listener) override;
  Result<int> reap_orphans(const std::string& tag_prefix) override;
  std::string describe() const override { return plan_.description; }
  LandlockSupport landlock() const override { return probe_landlock(); }

  LogSink& log() override { return log_; }
  const DirectOptions& options() const override { return options_; }
  void sweep_later(DirectChild& child) override;
  void forget(DirectChild& child) override;
  DirectChild* find(std::uint64_t number);

 private:
  LogSink& log_;
  const DirectOptions options_;
  Launcher launcher_;
  std::string instance_;
  TreePlan plan_;
  std::mutex mutex_;  // shards spawn side by side; a child itself is touched by its shard alone
  std::uint64_t next_number_ = 1;
  std::unordered_map<std::uint64_t, std::unique_ptr<DirectChild>> children_;
  std::vector<std::unique_ptr<Sweeper>> sweepers_;
};

void Sweeper::run() {
  std::vector<std::uint64_t> numbers = std::exchange(wanted_, {});
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  std::erase_if(numbers, [this](std::uint64_t number) { return host_.find(number) == nullptr; });
  std::vector<TreeSeed> seeds;
  for (const std::uint64_t number : numbers) seeds.push_back(host_.find(number)->seed());
  if (seeds.empty()) return;
  const std::vector<TreeSweep> answers = kill_trees(seeds, {});
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    // Looked up again: what one child's listener does may end another.
    if (DirectChild* child = host_.find(numbers[i])) child->swept(answers[i]);
  }
}

Result<void> DirectHost::init() {
  Result<std::string> instance = make_instance();
  if (!instance.has_value()) return fail(std::move(instance.error()));
  instance_ = std::move(*instance);
  Result<void> launcher = launcher_.init();
  if (!launcher.has_value()) return launcher;
  if (!options_.clone3) launcher_.avoid_clone3();

  Result<TreePlan> plan = plan_tree_kill(launcher_, options_.tree_kill, instance_);
  if (!plan.has_value()) return fail(std::move(plan.error()));
  plan_ = std::move(*plan);
  return {};
}

DirectHost::~DirectHost() {
  for (auto& [number, child] : children_) child->abandon();
  const auto deadline = std::chrono::steady_clock::now() + kShutdownMax;
  bool given_up = false;
  while (!children_.empty()) {
    Reactor& reactor = children_.begin()->second->reactor();
    if (!reactor.poll()) nap();
    if (given_up || std::chrono::steady_clock::now() < deadline) continue;
    given_up = true;
    for (auto& [number, child] : children_) child->give_up();
  }
}

Result<std::unique_ptr<Process>> DirectHost::spawn(Reactor& reactor, const LaunchSpec& spec,
                                                   ProcessListener& listener) {
  Result<void> tag = check_tag(spec.tag);
  if (!tag.has_value()) return fail(std::move(tag.error()));
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = next_number_++;
  }
  LaunchExtras extras;
  extras.descriptors_soft = options_.child_descriptors_soft;
  extras.marker = make_marker(spec.tag, instance_, number);
  ChildStdio stdio(reactor);
  Result<void> opened = stdio.open();
  if (!opened.has_value()) return fail(std::move(opened.error()));
  Result<PipeEnds> errors = make_child_pipe();
  if (!errors.has_value()) return fail(std::move(errors.error()));
  extras.stdio = {stdio.theirs()[0], stdio.theirs()[1], errors->write.get()};
  Result<StartedChild> started = start_child(launcher_, plan_, spec, extras);
  const auto failed = [&](Error error) -> std::unique_ptr<Process> {
    auto process = std::make_unique<FailedProcess>(reactor, listener, std::move(error));
    stdio.give_to(*process);
    return process;
  };
  if (!started.has_value()) return failed(std::move(started.error()));

  auto process = std::make_unique<DirectProcess>();
  auto child = std::make_unique<DirectChild>(*this, reactor, number, extras.marker);
  Result<void> adopted = child->adopt(*started, std::move(errors->read), listener, *process);
  if (!adopted.has_value()) {
    end_at_once(started->launched);
    return failed(std::move(adopted.error()));
  }
  stdio.give_to(*process);
  const std::lock_guard lock(mutex_);
  children_.emplace(number, std::move(child));
  return process;
}

Result<int> DirectHost::reap_orphans(const std::string& tag_prefix) {
  int killed = 0;
  if (!plan_.cgroup_mount.empty())
    killed += kill_orphan_groups(plan_.cgroup_mount, tag_prefix, instance_);
  killed += kill_marked_orphans(tag_prefix, instance_);
  if (!plan_.cgroup_mount.empty()) remove_dead_groups(plan_.cgroup_mount);
  for (const ControllerHome* home :
       {&plan_.limit_homes.memory, &plan_.limit_homes.pids, &plan_.limit_homes.cpu}) {
    if (!home->mount.empty()) remove_dead_groups(home->mount);
  }
  return killed;
}

void DirectHost::sweep_later(DirectChild& child) {
  const std::lock_guard lock(mutex_);
  for (const auto& sweeper : sweepers_) {
    if (sweeper->is_for(child.reactor())) return sweeper->request(child.number());
  }
  sweepers_.push_back(std::make_unique<Sweeper>(*this, child.reactor()));
  sweepers_.back()->request(child.number());
}

DirectChild* DirectHost::find(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  const auto at = children_.find(number);
  return at == children_.end() ? nullptr : at->second.get();
}

void DirectHost::forget(DirectChild& child) {
  std::unique_ptr<DirectChild> last;  // destroyed outside of the lock
  const std::lock_guard lock(mutex_);
  const auto at = children_.find(child.number());
  if (at == children_.end()) return;
  last = std::move(at->second);
  children_.erase(at);
}

}  // namespace

Result<std::unique_ptr<ProcessHost>> make_direct_process_host(LogSink& log,
                                                              const DirectOptions& options) {
  auto host = std::make_unique<DirectHost>(log, options);
  Result<void> ready = host->init();
  if (!ready.has_value()) return fail(std::move(ready.error()));
  return std::unique_ptr<ProcessHost>(std::move(host));
}

}  // namespace berth::inline v0::io
