#include <berth/io/cgroup.h>
#include <berth/io/installed.h>
#include <berth/io/keeper_lane.h>
#include <berth/io/landlock.h>
#include <berth/io/launcher.h>
#include <berth/io/orphans.h>
#include <berth/io/process_keeper.h>
#include <berth/io/tree_limits.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

namespace {

constexpr int kBeginMaxMs = 10'000;
constexpr int kEndMaxMs = 5'000;
constexpr const char* kProgramName = "berth-keeper";

bool wait_for(int descriptor, int milliseconds) {
  pollfd waiting = {descriptor, POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, milliseconds);
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

struct SocketPair {
  Fd ours;
  Fd theirs;
};

Result<SocketPair> make_sockets() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail(errno_error(errno, "no socket to the keeper"));
  }
  return SocketPair{Fd(ends[0]), Fd(ends[1])};
}

/// One run of the helper program, seen from here.
class KeeperProgram {
 public:
  KeeperProgram() = default;
  KeeperProgram(const KeeperProgram&) = delete;
  KeeperProgram& operator=(const KeeperProgram&) = delete;
  /// Closes its socket, so that it ends everything and itself, and waits for that.
  ~KeeperProgram() {
    control_.reset();
    if (launched_.pidfd.valid() && wait_for(launched_.pidfd.get(), kEndMaxMs)) reap();
  }

  Result<void> begin(Launcher& launcher, const std::string& program, const DirectOptions& options);
  /// A socket for one shard's requests.
  Result<Fd> new_lane();
  /// For one that is lost: it may be stuck.
  void kill_program() {
    ::syscall(SYS_pidfd_send_signal, launched_.pidfd.get(), SIGKILL, nullptr, 0);
    reap();
    launched_.pidfd.reset();
  }

  const std::string& instance() const { return instance_; }
  const keeper::Ready& ready() const { return ready_; }
  int pid() const { return launched_.pid; }

 private:
  Result<void> say_hello(const DirectOptions& options);
  void reap() {
    siginfo_t info;
    while (::waitid(P_PIDFD, static_cast<id_t>(launched_.pidfd.get()), &info, WEXITED) != 0 &&
           errno == EINTR) {
    }
  }

  std::string instance_;
  Launched launched_;
  Fd control_;
  keeper::Ready ready_;
};

Result<void> KeeperProgram::begin(Launcher& launcher, const std::string& program,
                                  const DirectOptions& options) {
  Result<std::string> instance = make_instance();
  if (!instance.has_value()) return fail(std::move(instance.error()));
  instance_ = std::move(*instance);
  Result<SocketPair> sockets = make_sockets();
  if (!sockets.has_value()) return fail(std::move(sockets.error()));
  const Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nothing.valid()) return fail(errno_error(errno, "/dev/null"));
  LaunchSpec spec;
  spec.command = program;
  spec.working_directory = "/";
  LaunchExtras extras;
  extras.stdio = {sockets->theirs.get(), nothing.get(), nothing.get()};
  extras.marker = make_marker("keeper", instance_, 0);
  extras.outlives_us = true;
  Result<Launched> launched = launcher.launch(spec, extras);
  if (!launched.has_value()) {
    return fail(std::move(launched.error()).with_context("the keeper of processes"));
  }
  launched_ = std::move(*launched);
  control_ = std::move(sockets->ours);
  sockets->theirs.reset();
  return say_hello(options);
}

Result<void> KeeperProgram::say_hello(const DirectOptions& options) {
  keeper::Hello hello;
  hello.tree_kill = options.tree_kill;
  hello.clone3 = options.clone3;
  hello.child_descriptors_soft = options.child_descriptors_soft;
  hello.tree_end_max_ms = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(options.tree_end_max).count());
  hello.instance = instance_;
  std::string packet;
  encode(keeper::Request(std::move(hello)), packet);
  keeper::PacketReader answer;
  const int error = keeper::send_packet(control_.get(), packet, {});
  if (error != 0 || !wait_for(control_.get(), kBeginMaxMs) || answer.receive(control_.get()) != 0) {
    return fail(ErrorKind::unavailable, "keeper_lost", "the keeper of processes did not begin");
  }
  std::string_view bytes = answer.bytes();
  Result<keeper::Report> report = keeper::decode_report(bytes);
  if (!report.has_value()) return fail(std::move(report.error()));
  if (const auto* const failed = std::get_if<keeper::Failed>(&*report)) {
    return fail(keeper::to_error(*failed));
  }
  auto* const ready = std::get_if<keeper::Ready>(&*report);
  if (ready == nullptr || ready->version != keeper::kVersion) {
    return fail(ErrorKind::unsupported, "keeper_lost", "berth-keeper is of another version");
  }
  ready_ = std::move(*ready);
  return {};
}

Result<Fd> KeeperProgram::new_lane() {
  Result<SocketPair> sockets = make_sockets();
  if (!sockets.has_value()) return fail(std::move(sockets.error()));
  std::string packet;
  encode(keeper::Request(keeper::NewLane()), packet);
  const int theirs = sockets->theirs.get();
  const int error = keeper::send_packet(control_.get(), packet, {&theirs, 1});
  // A keeper that has just ended shows in the lane, which reads its end at once.
  if (error != 0 && error != EPIPE) return fail(errno_error(error, "the keeper's socket"));
  return std::move(sockets->ours);
}

class KeeperHost final : public ProcessHost, public keeper::LaneOwner {
 public:
  KeeperHost(LogSink& log, const KeeperOptions& options) : log_(log), options_(options) {}
  ~KeeperHost() override {
    for (const auto& lane : lanes_) lane->close();
  }
  Result<void> init();

  Result<std::unique_ptr<Process>> spawn(Reactor& reactor, const LaunchSpec& spec,
                                         ProcessListener& listener) override;
  Result<int> reap_orphans(const std::string& tag_prefix) override;
  std::string describe() const override {
    const std::lock_guard lock(mutex_);
    if (keeper_ == nullptr) return "the keeper is lost; the next start makes a new one";
    return keeper_->ready().description + " (by berth-keeper, pid " +
           std::to_string(keeper_->pid()) + ")";
  }

  LandlockSupport landlock() const override { return probe_landlock(); }

  LogSink& log() override { return log_; }
  Duration silence_max() const override { return options_.silence_max; }
  void on_lane_lost(keeper::LaneEnd& lane) override;

 private:
  Result<void> begin_keeper();
  Result<keeper::LaneEnd*> lane_of(Reactor& reactor);

  LogSink& log_;
  KeeperOptions options_;
  Launcher launcher_;
  mutable std::mutex
      mutex_;  // shards spawn side by side; a lane itself is touched by its own alone
  std::unique_ptr<KeeperProgram> keeper_;  // null when it is lost
  std::uint64_t next_number_ = 1;
  std::vector<std::string> limit_mounts_;
  std::vector<std::unique_ptr<keeper::LaneEnd>> lanes_;
};

Result<void> KeeperHost::init() {
  if (options_.program.empty()) {
    Result<std::string> found = find_keeper();
    if (!found.has_value()) return fail(std::move(found.error()));
    options_.program = std::move(*found);
  }
  for (const char* controller : {"memory", "pids", "cpu"}) {
    Result<CgroupHome> home = find_cgroup_home(controller);
    if (home.has_value()) limit_mounts_.push_back(std::move(home->mount));
  }
  Result<void> launcher = launcher_.init();
  if (!launcher.has_value()) return launcher;
  return begin_keeper();
}

Result<void> KeeperHost::begin_keeper() {
  auto program = std::make_unique<KeeperProgram>();
  Result<void> begun = program->begin(launcher_, options_.program, options_.processes);
  if (!begun.has_value()) return begun;
  keeper_ = std::move(program);
  return {};
}

Result<keeper::LaneEnd*> KeeperHost::lane_of(Reactor& reactor) {
  keeper::LaneEnd* lane = nullptr;
  for (const auto& known : lanes_) {
    if (&known->reactor() == &reactor) lane = known.get();
  }
  if (lane != nullptr && lane->usable()) return lane;
  if (keeper_ == nullptr) {
    Result<void> begun = begin_keeper();
    if (!begun.has_value()) {
      begun.error().kind = ErrorKind::unavailable;
      begun.error().code = "keeper_lost";
      return fail(std::move(begun.error()));
    }
    log_.write(LogLevel::warning, "process", "a new keeper of processes was started");
  }
  Result<Fd> socket = keeper_->new_lane();
  if (!socket.has_value()) return fail(std::move(socket.error()));
  if (lane == nullptr) {
    lanes_.push_back(std::make_unique<keeper::LaneEnd>(*this, reactor));
    lane = lanes_.back().get();
  }
  Result<void> opened = lane->open(std::move(*socket), keeper_->instance());
  if (!opened.has_value()) return fail(std::move(opened.error()));
  return lane;
}

Result<std::unique_ptr<Process>> KeeperHost::spawn(Reactor& reactor, const LaunchSpec& spec,
                                                   ProcessListener& listener) {
  Result<void> tag = check_tag(spec.tag);
  if (!tag.has_value()) return fail(std::move(tag.error()));
  keeper::LaneEnd* lane = nullptr;
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    Result<keeper::LaneEnd*> found = lane_of(reactor);
    if (!found.has_value()) return fail(std::move(found.error()));
    lane = *found;
    number = next_number_++;
  }
  return lane->spawn(number, spec, listener);
}

Result<int> KeeperHost::reap_orphans(const std::string& tag_prefix) {
  std::string mount;
  std::string instance;
  {
    const std::lock_guard lock(mutex_);
    if (keeper_ == nullptr) {
      return fail(ErrorKind::unavailable, "keeper_lost", "the keeper of processes is lost");
    }
    mount = keeper_->ready().cgroup_mount;
    instance = keeper_->instance();
  }
  int killed = 0;
  if (!mount.empty()) killed += kill_orphan_groups(mount, tag_prefix, instance);
  killed += kill_marked_orphans(tag_prefix, instance);
  if (!mount.empty()) remove_dead_groups(mount);
  for (const std::string& limits_mount : limit_mounts_) remove_dead_groups(limits_mount);
  return killed;
}

void KeeperHost::on_lane_lost(keeper::LaneEnd& lane) {
  const std::lock_guard lock(mutex_);
  if (keeper_ == nullptr || keeper_->instance() != lane.instance()) return;  // another shard's lane
  keeper_->kill_program();
  const int killed = kill_instance(keeper_->ready().cgroup_mount, keeper_->instance());
  log_.write(LogLevel::warning, "process",
             "ended " + std::to_string(killed) + " processes of the lost keeper");
  keeper_.reset();
}

}  // namespace

Result<std::string> find_keeper() {
  Result<std::string> found = find_installed(kProgramName, "../io/");
  if (!found.has_value()) found.error().code = "no_keeper";
  return found;
}

Result<std::unique_ptr<ProcessHost>> make_keeper_process_host(LogSink& log,
                                                              const KeeperOptions& options) {
  auto host = std::make_unique<KeeperHost>(log, options);
  Result<void> ready = host->init();
  if (!ready.has_value()) return fail(std::move(ready.error()));
  return std::unique_ptr<ProcessHost>(std::move(host));
}

}  // namespace berth::inline v0::io
