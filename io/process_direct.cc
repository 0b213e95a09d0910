#include <berth/io/cgroup.h>
#include <berth/io/direct_child.h>
#include <berth/io/orphans.h>
#include <berth/io/process_direct.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace berth::io {

namespace {

constexpr std::size_t kTagMax = 64;
constexpr Duration kShutdownMax = std::chrono::seconds(5);
constexpr int kRemoveTriesMax = 100;  // of 1 ms

void nap() {
  const timespec one_ms = {0, 1'000'000};
  ::nanosleep(&one_ms, nullptr);
}

bool is_tag(std::string_view text) {
  return !text.empty() && text.size() <= kTagMax &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

/// The control group of a process that does not live yet: goes if the start fails.
class NewGroup {
 public:
  NewGroup() = default;
  NewGroup(const NewGroup&) = delete;
  NewGroup& operator=(const NewGroup&) = delete;
  ~NewGroup() {
    if (folder_.empty()) return;
    kill_cgroup(folder_);
    for (int i = 0; i < kRemoveTriesMax && !remove_cgroup(folder_); ++i) nap();
  }
  Result<void> make(const std::string& folder) {
    Result<void> made = make_cgroup(folder);
    if (made.has_value()) folder_ = folder;
    return made;
  }
  void keep() { folder_.clear(); }

 private:
  std::string folder_;
};

/// Our three ends and the child's; what is not taken over closes by itself.
class Pipes {
 public:
  explicit Pipes(Reactor& reactor) : reactor_(reactor) {}
  Pipes(const Pipes&) = delete;
  Pipes& operator=(const Pipes&) = delete;
  ~Pipes() {
    for (const Handle handle : handles_) {
      if (handle != kNoHandle) reactor_.close(handle);
    }
  }

  Result<void> open() {
    for (std::size_t i = 0; i < 3; ++i) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error(errno, "no pipe for a process"));
      const bool we_write = i == 0;
      Fd ours(we_write ? ends[1] : ends[0]);
      theirs_[i].reset(we_write ? ends[0] : ends[1]);
      Result<Handle> handle = reactor_.adopt(ours.get());
      if (!handle.has_value()) return fail(std::move(handle.error()));
      ours.release();
      handles_[i] = *handle;
    }
    return {};
  }
  std::array<int, 3> theirs() const {
    return {theirs_[0].get(), theirs_[1].get(), theirs_[2].get()};
  }
  void give_to(Process& process) {
    process.stdin_handle = std::exchange(handles_[0], kNoHandle);
    process.stdout_handle = std::exchange(handles_[1], kNoHandle);
    process.stderr_handle = std::exchange(handles_[2], kNoHandle);
  }

 private:
  Reactor& reactor_;
  std::array<Handle, 3> handles_ = {kNoHandle, kNoHandle, kNoHandle};
  std::array<Fd, 3> theirs_;
};

/// For a start that fails after the process lives: nobody has heard of it yet. (In its group, or
/// alone.)
void end_at_once(const Launched& launched) {
  ::syscall(SYS_pidfd_send_signal, launched.pidfd.get(), SIGKILL, nullptr, 0);
  siginfo_t info;
  while (::waitid(P_PIDFD, static_cast<id_t>(launched.pidfd.get()), &info, WEXITED) != 0 &&
         errno == EINTR) {
  }
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
                                         ExitListener& listener) override;
  Result<int> reap_orphans(const std::string& tag_prefix) override;
  std::string describe() const override { return description_; }

  LogSink& log() override { return log_; }
  const DirectOptions& options() const override { return options_; }
  void sweep_later(DirectChild& child) override;
  void forget(DirectChild& child) override;
  DirectChild* find(std::uint64_t number);

 private:
  Result<void> try_cgroups(const CgroupHome& home);

  LogSink& log_;
  const DirectOptions options_;
  Launcher launcher_;
  std::string instance_;
  std::string cgroup_mount_;  // for orphans; empty if there is none
  std::string group_home_;    // where our groups are made; empty: trees are killed by walks
  std::string description_;
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

  const std::string by_walk =
      "descendants by /proc and the mark " + std::string(kMarkerName) + " in their environment: ";
  Result<CgroupHome> home = find_cgroup_home();
  if (home.has_value()) cgroup_mount_ = home->mount;
  if (options_.tree_kill == TreeKill::proc_walk) {
    description_ = by_walk + "chosen by option";
    return {};
  }
  Result<void> works = home.has_value() ? try_cgroups(*home) : fail(std::move(home.error()));
  if (works.has_value()) {
    group_home_ = home->own;
    description_ = "cgroup2 at " + group_home_;
    if (!launcher_.uses_clone3()) description_ += " (entered slowly: no clone3 here)";
    return {};
  }
  description_ = by_walk + works.error().message;
  if (options_.tree_kill == TreeKill::cgroup) return works;
  return {};
}

/// Groups work when a child can be put into one and cgroup.kill is there; nothing less proves it.
Result<void> DirectHost::try_cgroups(const CgroupHome& home) {
  const std::string folder =
      home.own + "/" + std::string(kGroupPrefix) + make_marker("probe", instance_, 0);
  NewGroup group;  // is removed in any case
  Result<void> made = group.make(folder);
  if (!made.has_value()) return made;
  Result<void> entered = launcher_.try_cgroup(folder);
  if (!entered.has_value() && launcher_.uses_clone3()) {
    launcher_.avoid_clone3();  // seccomp filters of older containers answer ENOSYS
    entered = launcher_.try_cgroup(folder);
  }
  if (!entered.has_value()) return entered;
  if (!kill_cgroup(folder)) {
    return fail(ErrorKind::unsupported, "no_cgroup_kill",
                "this kernel has no cgroup.kill (Linux 5.14)");
  }
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
                                                   ExitListener& listener) {
  if (!is_tag(spec.tag)) {
    return fail(ErrorKind::invalid, "bad_launch", "tag '" + spec.tag + "' is not [a-z0-9-]{1,64}");
  }
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = next_number_++;
  }
  LaunchExtras extras;
  extras.descriptors_soft = options_.child_descriptors_soft;
  extras.marker = make_marker(spec.tag, instance_, number);
  Pipes pipes(reactor);
  Result<void> opened = pipes.open();
  if (!opened.has_value()) return fail(std::move(opened.error()));
  extras.stdio = pipes.theirs();
  NewGroup group;
  if (!group_home_.empty()) {
    extras.cgroup = group_home_ + "/" + std::string(kGroupPrefix) + extras.marker;
    Result<void> made = group.make(extras.cgroup);
    if (!made.has_value()) return fail(std::move(made.error()));
  }
  Result<Launched> launched = launcher_.launch(spec, extras);
  if (!launched.has_value()) return fail(std::move(launched.error()));

  auto process = std::make_unique<DirectProcess>();
  auto child = std::make_unique<DirectChild>(*this, reactor, number, extras.marker, extras.cgroup);
  Result<void> adopted = child->adopt(*launched, listener, *process);
  if (!adopted.has_value()) {
    end_at_once(*launched);
    return fail(std::move(adopted.error()));
  }
  group.keep();
  pipes.give_to(*process);
  const std::lock_guard lock(mutex_);
  children_.emplace(number, std::move(child));
  return process;
}

Result<int> DirectHost::reap_orphans(const std::string& tag_prefix) {
  int killed = 0;
  if (!cgroup_mount_.empty()) killed += kill_orphan_groups(cgroup_mount_, tag_prefix, instance_);
  killed += kill_marked_orphans(tag_prefix, instance_);
  if (!cgroup_mount_.empty()) remove_dead_groups(cgroup_mount_);
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

}  // namespace berth::io
