#include <berth/io/cgroup.h>
#include <berth/io/child_stdio.h>
#include <berth/io/keeper.h>
#include <berth/io/orphans.h>

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace berth::inline v0::io::keeper {

namespace {

using std::chrono::milliseconds;
constexpr milliseconds kLastRetry{50};
constexpr milliseconds kLateRetry{1000};  // when the end was told without proof
/// To look for children that are no wards costs a walk along all that live.
constexpr milliseconds kAdoptedPause{10};
constexpr int kPacketsPerTurn = 16;  // of a lane: exits are seen between many starts
constexpr int kSourceBits = 3;
constexpr std::uint64_t kBerthEnded = 1;  // number of the control source that is berth's pidfd
constexpr std::size_t kPipesPerTurn = 4;  // of a lane: a packet full of stderr
constexpr int kGroupTriesMax = 100;       // of 1 ms
constexpr int kNobodyLeftMax = 20;        // looks at the end that find only what we may not kill

void nap(milliseconds time) {
  const timespec pause = {0, static_cast<long>(time.count()) * 1'000'000};
  ::nanosleep(&pause, nullptr);
}

constexpr const char* kNoDescriptor =
    "the keeper has no descriptor left (it takes two a process: raise the limit of open files)";

}  // namespace

Keeper::Keeper(Fd control) : control_(std::move(control)) {}

Keeper::~Keeper() = default;

Result<void> Keeper::begin() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
    return fail(errno_error(errno, "prctl(PR_SET_CHILD_SUBREAPER)"));
  }
  // A terminal's Ctrl-C and a service manager's SIGTERM are for berth, which ends its sessions in
  // order; then our socket closes.
  sigset_t all;
  sigset_t child_signal;
  sigfillset(&all);
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  signals_.reset(::signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK));
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!signals_.valid() || !epoll_.valid()) return fail(errno_error(errno, "no descriptor"));
  Result<void> launcher = launcher_.init();
  if (!launcher.has_value()) return launcher;
  if (!options_.clone3) launcher_.avoid_clone3();
  Result<TreePlan> plan = plan_tree_kill(launcher_, options_.tree_kill, options_.instance);
  if (!plan.has_value()) return fail(std::move(plan.error()));
  plan_ = std::move(*plan);
  Result<void> watched = watch(control_.get(), Source::control, 0, EPOLLIN);
  if (watched.has_value()) watched = watch(signals_.get(), Source::signal, 0, EPOLLIN);
  // A process that berth has forked without exec holds the socket open: so berth is watched too.
  berth_.reset(static_cast<int>(::syscall(SYS_pidfd_open, ::getppid(), 0)));
  if (watched.has_value() && berth_.valid()) {
    watched = watch(berth_.get(), Source::control, kBerthEnded, EPOLLIN);
  }
  return watched;
}

int Keeper::run() {
  pollfd hello = {control_.get(), POLLIN, 0};
  while (::poll(&hello, 1, -1) < 0 && errno == EINTR) {
  }
  if (packet_.receive(control_.get()) != 0) return 1;
  std::string_view bytes = packet_.bytes();
  Result<Request> request = decode_request(bytes);
  Hello* const said = request.has_value() ? std::get_if<Hello>(&*request) : nullptr;
  Result<void> begun =
      said == nullptr || said->version != kVersion
          ? fail(ErrorKind::unsupported, "bad_keeper_message", "berth and its keeper differ")
          : Result<void>();
  if (begun.has_value()) {
    options_ = std::move(*said);
    raise_descriptor_limit();
    begun = begin();
  }
  std::string answer;
  if (begun.has_value()) {
    encode(Report(Ready{kVersion, plan_.cgroup_mount, plan_.description}), answer);
  } else {
    encode(Report(to_message(0, begun.error())), answer);
  }
  if (send_packet(control_.get(), answer, {}) != 0 || !begun.has_value()) return 1;
  while (open_) turn();
  end_everything();
  return 0;
}

/// Two descriptors a ward; the wards themselves start with the limit that they would have anyway.
void Keeper::raise_descriptor_limit() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  if (options_.child_descriptors_soft == 0) options_.child_descriptors_soft = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // up to the hard limit is always allowed
}

Result<void> Keeper::watch(int descriptor, Source source, std::uint64_t number,
                           std::uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = number << kSourceBits | static_cast<std::uint64_t>(source);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) == 0) return {};
  return fail(errno_error(errno, "epoll_ctl"));
}

int Keeper::wait_time() const {
  const Clock::time_point now = Clock::now();
  Clock::time_point next = Clock::time_point::max();
  if (adopted_ended_) next = next_adopted_look_;
  for (const Lane& lane : lanes_) {
    if (!lane.leaving.empty() && !lane.waits_for_room) return 0;
  }
  for (const std::uint64_t number : ending_) {
    const auto at = wards_.find(number);
    if (at != wards_.end()) next = std::min(next, at->second->due);
  }
  if (next <= now || !to_sweep_.empty()) return 0;
  if (next == Clock::time_point::max()) return -1;
  return static_cast<int>(std::chrono::ceil<milliseconds>(next - now).count());
}

void Keeper::turn() {
  std::array<epoll_event, 64> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), wait_time());
  for (int i = 0; i < count; ++i) {
    const std::uint64_t data = events[static_cast<std::size_t>(i)].data.u64;
    const std::uint64_t number = data >> kSourceBits;
    switch (static_cast<Source>(data & ((1U << kSourceBits) - 1))) {
      case Source::control:
        if (number == kBerthEnded) open_ = false;
        on_control();
        break;
      case Source::lane:
        on_lane(number);
        break;
      case Source::errors:
        on_errors(number);
        break;
      case Source::ward:
        if (Ward* const ward = find(number)) on_exited(*ward);
        break;
      case Source::signal:
        on_signal();
        break;
    }
  }
  retry_due();
  sweep();
  if (adopted_ended_ && Clock::now() >= next_adopted_look_) reap_adopted();
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    tell_ends(i);
    flush(i);
  }
}

void Keeper::on_control() {
  const int error = packet_.receive(control_.get());
  if (error == EAGAIN) return;
  std::string_view bytes = packet_.bytes();
  Result<Request> request = decode_request(bytes);
  if (error != 0 || !request.has_value() || !std::holds_alternative<NewLane>(*request)) {
    open_ = false;
    return;
  }
  // Without its socket here the lane's other end is closed, and berth sees that.
  if (packet_.descriptors().empty()) return;
  lanes_.emplace_back();
  Lane& lane = lanes_.back();
  lane.socket = std::move(packet_.descriptors().front());
  lane.errors.reset(::epoll_create1(EPOLL_CLOEXEC));
  const std::size_t number = lanes_.size() - 1;
  if (!lane.errors.valid() || !watch(lane.errors.get(), Source::errors, number, EPOLLIN) ||
      !watch(lane.socket.get(), Source::lane, number, EPOLLIN)) {
    close_lane(number);
  }
}

void Keeper::on_lane(std::size_t index) {
  if (lanes_[index].waits_for_room) {
    set_room(index, true);
    flush(index);
  }
  take_requests(index);
}

/// Four of those that have something to say; the kernel lets the others have the next turns.
void Keeper::on_errors(std::size_t index) {
  if (lanes_[index].waits_for_room) return;
  std::array<epoll_event, kPipesPerTurn> events;
  const int count = ::epoll_wait(lanes_[index].errors.get(), events.data(), events.size(), 0);
  for (int i = 0; i < count; ++i) {
    if (Ward* const ward = find(events[static_cast<std::size_t>(i)].data.u64)) {
      pass_on_stderr(*ward, kStderrMax);
    }
  }
}

void Keeper::on_signal() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
  }
  adopted_ended_ = true;
}

void Keeper::take_requests(std::size_t index) {
  for (int i = 0; i < kPacketsPerTurn && lanes_[index].socket.valid(); ++i) {
    const int error = packet_.receive(lanes_[index].socket.get());
    if (error == EAGAIN) return;
    if (error != 0) return close_lane(index);
    std::string_view rest = packet_.bytes();
    while (!rest.empty() && lanes_[index].socket.valid()) {
      Result<Request> request = decode_request(rest);
      if (!request.has_value()) return close_lane(index);
      if (Start* const start_request = std::get_if<Start>(&*request)) {
        perform(index, *start_request);
      } else if (const Kill* const kill_request = std::get_if<Kill>(&*request)) {
        kill(kill_request->number);
      } else if (const Signal* const signal_request = std::get_if<Signal>(&*request)) {
        Ward* const ward = find(signal_request->number);
        // It leads a group of its own number, which nobody else gets before it is reaped.
        if (ward != nullptr && !ward->reaped) ::kill(-ward->id.pid, signal_request->signal);
      } else {
        return close_lane(index);
      }
    }
  }
}

void Keeper::perform(std::size_t lane, Start& request) {
  Result<Started> started = start(lane, request);
  packet_.descriptors().clear();
  if (started.has_value()) {
    report(lane, *started);
  } else {
    report(lane, to_message(request.number, started.error()));
  }
}

Result<LaunchSpec> Keeper::read_spec(Start& request) {
  if (!request.in_memory) return decode_spec(request.spec);
  if (packet_.descriptors().empty()) {
    return fail(ErrorKind::overloaded, "os_error", kNoDescriptor);
  }
  const Fd memory = std::move(packet_.descriptors().front());
  packet_.descriptors().erase(packet_.descriptors().begin());
  struct stat info = {};
  // Sealed against shrinking, or reading it could be our death.
  const int seals = ::fcntl(memory.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || ::fstat(memory.get(), &info) != 0 ||
      info.st_size <= 0 || static_cast<std::size_t>(info.st_size) > kSpecMax) {
    return fail(ErrorKind::invalid, "bad_keeper_message", "the spec of a process is malformed");
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, memory.get(), 0);
  if (mapped == MAP_FAILED) return fail(errno_error(errno, "mmap of a spec"));
  Result<LaunchSpec> spec = decode_spec({static_cast<const char*>(mapped), size});
  ::munmap(mapped, size);
  return spec;
}

Result<Started> Keeper::start(std::size_t lane, Start& request) {
  Result<LaunchSpec> spec = read_spec(request);
  if (!spec.has_value()) return fail(std::move(spec.error()));
  Result<void> tag = check_tag(spec->tag);
  if (!tag.has_value()) return fail(std::move(tag.error()));
  if (packet_.descriptors().size() != 2) {
    return fail(ErrorKind::overloaded, "os_error", kNoDescriptor);
  }
  if (wards_.contains(request.number)) {
    return fail(ErrorKind::invalid, "bad_keeper_message", "a number was used twice");
  }
  LaunchExtras extras;
  extras.descriptors_soft = options_.child_descriptors_soft;
  extras.marker = make_marker(spec->tag, options_.instance, request.number);
  Result<PipeEnds> errors = make_child_pipe();
  if (!errors.has_value()) return fail(std::move(errors.error()).with_context(kNoDescriptor));
  ::fcntl(errors->read.get(), F_SETFL, O_NONBLOCK);
  extras.stdio = {packet_.descriptors()[0].get(), packet_.descriptors()[1].get(),
                  errors->write.get()};
  Result<StartedChild> child = start_child(launcher_, plan_, *spec, extras);
  if (!child.has_value()) return fail(std::move(child.error()));

  auto ward = std::make_unique<Ward>();
  ward->number = request.number;
  ward->lane = lane;
  ward->id.pid = child->launched.pid;
  // It is not reaped, so this is its line even if it has ended by now.
  if (const std::optional<ProcStat> stat = read_proc_stat(ward->id.pid)) ward->id = stat->id;
  Result<void> watched =
      watch(child->launched.pidfd.get(), Source::ward, request.number, EPOLLIN | EPOLLONESHOT);
  epoll_event readable = {};
  readable.events = EPOLLIN;
  readable.data.u64 = request.number;
  if (watched.has_value() &&
      ::epoll_ctl(lanes_[lane].errors.get(), EPOLL_CTL_ADD, errors->read.get(), &readable) != 0) {
    watched = fail(errno_error(errno, "epoll_ctl"));
  }
  if (!watched.has_value()) {
    end_at_once(child->launched);
    return fail(std::move(watched.error()));
  }
  ward->errors = std::move(errors->read);
  ward->pidfd = std::move(child->launched.pidfd);
  ward->marker = std::move(extras.marker);
  ward->groups = child->groups.take();
  const Started started = {request.number, ward->id.pid, ward->id.start_time};
  number_of_pid_[ward->id.pid] = request.number;
  wards_.emplace(request.number, std::move(ward));
  return started;
}

void Keeper::kill(std::uint64_t number) {
  Ward* const ward = find(number);
  if (ward == nullptr || ward->exited) return;  // the rest of its tree is being ended already
  if (ward->groups.kill.empty()) {
    to_sweep_.push_back(number);
  } else if (!kill_cgroup(ward->groups.kill)) {
    report(ward->lane, Note{"cannot write to " + ward->groups.kill +
                            "/cgroup.kill: killing the process alone"});
    ::syscall(SYS_pidfd_send_signal, ward->pidfd.get(), SIGKILL, nullptr, 0);
  }
}

// --- the end of a ward ---

void Keeper::on_exited(Ward& ward) {
  if (ward.exited) return;
  ward.exited = true;
  ward.patience_end = Clock::now() + milliseconds(options_.tree_end_max_ms);
  end_tree(ward);
}

void Keeper::end_tree(Ward& ward) {
  if (ward.groups.kill.empty()) {
    to_sweep_.push_back(ward.number);
    return;
  }
  if (remove_cgroup(ward.groups.kill)) return tree_is_gone(ward);
  kill_cgroup(ward.groups.kill);
  tree_still_lives(ward);
}

void Keeper::tree_is_gone(Ward& ward) {
  // The root itself may be the last that lives: it is ours to reap, and on its way when it cannot
  // be reaped yet.
  if (!reap(ward)) return tree_still_lives(ward);
  ward.groups.remove_limits();
  std::erase(ending_, ward.number);
  ward.gone = true;
  if (ward.told) return forget(ward.number);
  leave(ward);
}

void Keeper::forget(std::uint64_t number) {
  wards_.erase(number);
  if (wards_.empty()) adopted_ended_ = true;
}

void Keeper::tree_still_lives(Ward& ward) {
  const Clock::time_point now = Clock::now();
  if (now >= ward.patience_end && !ward.leaving) {
    report(ward.lane, Note{"what pid " + std::to_string(ward.id.pid) + " (" + ward.marker +
                           ") has started does not end after SIGKILL"});
    reap(ward);
    leave(ward);
  }
  ward.due = now + (ward.told ? kLateRetry : ward.next_retry);
  ward.next_retry = std::min(ward.next_retry * 2, kLastRetry);
  if (std::find(ending_.begin(), ending_.end(), ward.number) == ending_.end()) {
    ending_.push_back(ward.number);
  }
}

bool Keeper::reap(Ward& ward) {
  if (ward.reaped) return true;
  ward.reaped = reap_child(ward.pidfd.get(), ward.status) != Reaped::not_yet;
  if (ward.reaped) number_of_pid_.erase(ward.id.pid);
  return ward.reaped;
}

/// What the dead have left in the pipe is said before their end is told; no more than that, as
/// somebody out of reach may go on writing.
void Keeper::leave(Ward& ward) {
  if (std::exchange(ward.leaving, true)) return;
  if (ward.errors.valid()) ward.last_words = bytes_in_pipe(ward.errors.get());
  lanes_[ward.lane].leaving.push_back(ward.number);
}

/// As far as there is room, and as last words fill a packet.
void Keeper::tell_ends(std::size_t index) {
  Lane& lane = lanes_[index];
  std::size_t said = 0;
  while (!lane.leaving.empty() && !lane.waits_for_room && said < kPipesPerTurn * kStderrMax) {
    Ward& ward = *find(lane.leaving.front());
    const std::size_t words = pass_on_stderr(ward, ward.last_words);
    said += words;
    ward.last_words -= words;
    if (words > 0 && ward.last_words > 0) continue;
    lane.leaving.pop_front();
    tell(ward);
  }
}

void Keeper::tell(Ward& ward) {
  ward.told = true;
  ward.errors.reset();
  report(ward.lane, Ended{ward.number, ward.status});
  if (ward.gone) forget(ward.number);
}

void Keeper::retry_due() {
  if (ending_.empty()) return;
  const Clock::time_point now = Clock::now();
  const std::vector<std::uint64_t> numbers = ending_;  // grows and shrinks meanwhile
  for (const std::uint64_t number : numbers) {
    Ward* const ward = find(number);
    if (ward != nullptr && ward->due <= now) end_tree(*ward);
  }
}

/// One walk over /proc for all trees that want one.
void Keeper::sweep() {
  std::vector<std::uint64_t> numbers = std::exchange(to_sweep_, {});
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  std::erase_if(numbers, [this](std::uint64_t number) { return find(number) == nullptr; });
  if (numbers.empty()) return;
  std::vector<TreeSeed> seeds;
  for (const std::uint64_t number : numbers) {
    const Ward& ward = *find(number);
    seeds.push_back(TreeSeed{ward.id, {}, ward.marker});
  }
  const std::vector<TreeSweep> answers = kill_trees(seeds, {});
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    Ward* const ward = find(numbers[i]);
    if (ward == nullptr || !ward->exited) continue;
    if (answers[i].gone()) {
      tree_is_gone(*ward);
    } else {
      tree_still_lives(*ward);
    }
  }
}

void Keeper::give_memory_back() {
  if (!wards_.empty()) return;
  decltype(wards_)().swap(wards_);
  decltype(number_of_pid_)().swap(number_of_pid_);
  ending_.shrink_to_fit();
  for (Lane& lane : lanes_) lane.outgoing.shrink_to_fit();
  ::malloc_trim(0);
}

/// Takes the statuses of children that we only got as a subreaper. When no ward is left, none of
/// them may be left either: what has wiped its mark and left its session ends here.
void Keeper::reap_adopted() {
  adopted_ended_ = false;
  next_adopted_look_ = Clock::now() + kAdoptedPause;
  for (;;) {
    siginfo_t info = {};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
      give_memory_back();  // no child at all
      return;
    }
    if (info.si_pid == 0) break;
    const auto at = number_of_pid_.find(info.si_pid);
    if (at == number_of_pid_.end()) {
      ::waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG);
      continue;
    }
    Ward* const ward = find(at->second);
    if (ward != nullptr) on_exited(*ward);
    if (!number_of_pid_.contains(info.si_pid)) continue;
    adopted_ended_ = true;  // its zombie hides the others until its tree is gone
    return;
  }
  if (wards_.empty() && kill_own_descendants() != 0) adopted_ended_ = true;
}

void Keeper::end_everything() {
  std::vector<std::string> groups;
  for (const auto& [number, ward] : wards_) {
    groups.insert(groups.end(), ward->groups.limits.begin(), ward->groups.limits.end());
    if (ward->groups.kill.empty()) continue;
    kill_cgroup(ward->groups.kill);
    groups.push_back(ward->groups.kill);
  }
  milliseconds pause{1};
  for (int nobody = 0; nobody < kNobodyLeftMax;) {
    siginfo_t info = {};
    int error = 0;
    do {
      info.si_pid = 0;
      error = ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 ? 0 : errno;
    } while (error == 0 && info.si_pid != 0);
    if (error == ECHILD) break;
    nobody = kill_own_descendants() == 0 ? nobody + 1 : 0;
    nap(pause);
    pause = std::min(pause * 2, kLastRetry);
  }
  for (int i = 0; i < kGroupTriesMax && !groups.empty(); ++i) {
    std::erase_if(groups, [](const std::string& folder) { return remove_cgroup(folder); });
    if (!groups.empty()) nap(milliseconds(1));
  }
}

// --- what berth hears ---

/// Of what the ward has written to its stderr, `most` bytes at most. Returns how many.
std::size_t Keeper::pass_on_stderr(Ward& ward, std::size_t most) {
  if (!ward.errors.valid() || most == 0) return 0;
  std::array<char, kStderrMax> bytes;
  ssize_t got = 0;
  do {
    got = ::read(ward.errors.get(), bytes.data(), std::min(most, bytes.size()));
  } while (got < 0 && errno == EINTR);
  if (got == 0 || (got < 0 && errno != EAGAIN)) ward.errors.reset();
  if (got <= 0) return 0;
  const auto size = static_cast<std::size_t>(got);
  report(ward.lane, Stderr{ward.number, std::string(bytes.data(), size)});
  return size;
}

void Keeper::report(std::size_t lane, const Report& report) {
  std::vector<std::string>& packets = lanes_[lane].outgoing;
  std::string message;
  encode(report, message);
  if (packets.size() <= lanes_[lane].sent || packets.back().size() + message.size() > kPacketMax) {
    packets.push_back(std::move(message));
  } else {
    packets.back() += message;
  }
}

/// While there is none, nothing is read of the stderr of its wards.
void Keeper::set_room(std::size_t index, bool room) {
  Lane& lane = lanes_[index];
  lane.waits_for_room = !room;
  epoll_event event = {};
  event.events = room ? EPOLLIN : EPOLLIN | EPOLLOUT;
  event.data.u64 = index << kSourceBits | static_cast<std::uint64_t>(Source::lane);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, lane.socket.get(), &event);
  event.events = room ? EPOLLIN : 0;
  event.data.u64 = index << kSourceBits | static_cast<std::uint64_t>(Source::errors);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, lane.errors.get(), &event);
}

void Keeper::flush(std::size_t index) {
  Lane& lane = lanes_[index];
  if (lane.outgoing.empty() || lane.waits_for_room) return;
  while (lane.socket.valid() && lane.sent < lane.outgoing.size()) {
    const int error = send_packet(lane.socket.get(), lane.outgoing[lane.sent], {});
    if (error == EAGAIN || error == ENOBUFS || error == ENOMEM) {
      return set_room(index, false);
    }
    if (error != 0) return close_lane(index);
    lane.outgoing[lane.sent++].clear();
  }
  lane.outgoing.clear();
  lane.sent = 0;
}

/// A shard went away, or what it says makes no sense: its trees end, nobody hears of them.
void Keeper::close_lane(std::size_t index) {
  lanes_[index].socket.reset();
  lanes_[index].errors.reset();
  lanes_[index].outgoing.clear();
  lanes_[index].sent = 0;
  lanes_[index].waits_for_room = false;
  for (const auto& [number, ward] : wards_) {
    if (ward->lane == index) kill(number);
  }
}

Ward* Keeper::find(std::uint64_t number) {
  const auto at = wards_.find(number);
  return at == wards_.end() ? nullptr : at->second.get();
}

}  // namespace berth::inline v0::io::keeper
