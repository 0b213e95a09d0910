#include <berth/io/keeper_lane.h>

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace berth::inline v0::io::keeper {

namespace {

constexpr Duration kRoomRetry = std::chrono::milliseconds(1);
constexpr int kPacketsPerTurn = 32;
constexpr std::size_t kBytesPerTurn = std::size_t{256} * 1024;  // most of it is stderr
constexpr std::size_t kStartOverhead = 64;  // what a Start adds to its spec, and more

/// The spec in a file without a name that cannot shrink any more.
Result<Fd> put_in_memory(const std::string& spec) {
  Fd memory(::memfd_create("berth-spec", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid()) return fail(errno_error(errno, "no memory file for a process's spec"));
  for (std::size_t done = 0; done < spec.size();) {
    const ssize_t written = ::write(memory.get(), spec.data() + done, spec.size() - done);
    if (written < 0) return fail(errno_error(errno, "cannot write a process's spec"));
    done += static_cast<std::size_t>(written);
  }
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE) != 0) {
    return fail(errno_error(errno, "cannot seal a process's spec"));
  }
  return memory;
}

}  // namespace

KeptProcess::~KeptProcess() {
  if (lane != nullptr) lane->abandon(number);
}

void KeptProcess::kill_tree() {
  if (lane != nullptr) lane->kill(number);
}

void KeptProcess::signal(int signal_number) {
  if (lane != nullptr) lane->signal(number, signal_number);
}

LaneEnd::~LaneEnd() {
  close();
}

Result<void> LaneEnd::open(Fd socket, const std::string& instance) {
  if (socket_ != kNoHandle) {
    return fail(ErrorKind::unavailable, "keeper_lost", "the lost keeper is being cleared away");
  }
  Result<Handle> handle = reactor_.adopt(socket.get());
  if (!handle.has_value()) return fail(std::move(handle.error()));
  socket.release();
  socket_ = *handle;
  instance_ = instance;
  lost_ = loss_told_ = stuck_ = false;
  outgoing_.clear();
  incoming_.clear();
  readable_.handle = socket_;
  reactor_.start(readable_);
  return {};
}

Result<std::unique_ptr<Process>> LaneEnd::spawn(std::uint64_t number, const LaunchSpec& spec,
                                                ProcessListener& listener) {
  Packet packet;
  packet.stdio = std::make_unique<ChildStdio>(reactor_);
  Result<void> opened = packet.stdio->open();
  if (!opened.has_value()) return fail(std::move(opened.error()));
  Start request;
  request.number = number;
  request.spec = encode_spec(spec);
  if (request.spec.size() > kSpecMax) {
    return fail(ErrorKind::invalid, "bad_launch",
                "arguments and environment of " + spec.command + " are too long");
  }
  request.in_memory = request.spec.size() + kStartOverhead > kPacketMax;
  if (request.in_memory) {
    Result<Fd> file = put_in_memory(std::exchange(request.spec, {}));
    if (!file.has_value()) return fail(std::move(file.error()));
    packet.memory = std::move(*file);
  }
  encode(Request(std::move(request)), packet.bytes);
  auto process = std::make_unique<KeptProcess>();
  process->number = number;
  process->lane = this;
  packet.stdio->give_to(*process);
  children_.emplace(number, Child{&listener, process.get(), run_, false});
  outgoing_.push_back(std::move(packet));
  expect();
  ++unanswered_;
  flush();
  return process;
}

void LaneEnd::kill(std::uint64_t number) {
  request(Kill{number});
}

void LaneEnd::signal(std::uint64_t number, int signal) {
  request(Signal{number, signal});
}

void LaneEnd::abandon(std::uint64_t number) {
  const auto at = children_.find(number);
  if (at == children_.end()) return;
  at->second.listener = nullptr;
  at->second.process = nullptr;
  kill(number);
}

void LaneEnd::request(const Request& request) {
  if (lost_) return;
  const bool starts_new = outgoing_.empty() || outgoing_.back().stdio != nullptr ||
                          outgoing_.back().bytes.size() + kStartOverhead > kPacketMax;
  if (starts_new) outgoing_.emplace_back();
  encode(request, outgoing_.back().bytes);
  later();
}

void LaneEnd::later() {
  if (!later_.linked()) reactor_.post(later_);
}

void LaneEnd::flush() {
  while (!outgoing_.empty() && !lost_) {
    const Packet& packet = outgoing_.front();
    std::vector<int> descriptors;
    if (packet.memory.valid()) descriptors.push_back(packet.memory.get());
    if (packet.stdio != nullptr) {
      for (const int end : packet.stdio->theirs()) descriptors.push_back(end);
    }
    const int error = send_packet(socket_, packet.bytes, descriptors);
    switch (error) {
      case 0:
        outgoing_.pop_front();
        if (std::exchange(stuck_, false)) heard_ = reactor_.clock().now();
        break;
      case EAGAIN:
      case ENOBUFS:
      case ENOMEM:
      case ETOOMANYREFS:  // so many descriptors are on their way
        expect();
        stuck_ = true;
        reactor_.arm(room_, reactor_.clock().now() + kRoomRetry);
        return;
      default:
        return lose(error == EPIPE ? "the keeper has ended"
                                   : errno_error(error, "its socket").message);
    }
  }
}

void LaneEnd::expect() {
  if (unanswered_ == 0 && !stuck_) heard_ = reactor_.clock().now();
  if (!silence_.started()) reactor_.arm(silence_, heard_ + owner_.silence_max());
}

void LaneEnd::on_silence() {
  if (lost_ || closing_) return;
  receive();  // it may be us who did not listen
  if (!incoming_.empty()) later();
  if (lost_ || (unanswered_ == 0 && !stuck_)) return;
  const TimePoint end = heard_ + owner_.silence_max();
  if (end <= reactor_.clock().now()) return lose("the keeper does not answer");
  reactor_.arm(silence_, end);
}

void LaneEnd::on_readable(int error) {
  if (closing_) return;
  if (error == 0 && !lost_) {
    receive();
    dispatch();
  } else if (error != ECANCELED && !lost_) {
    lose("its socket cannot be watched");
  }
  if (!lost_ && !closing_) {
    reactor_.start(readable_);
  } else if (lost_) {
    later();
  }
}

void LaneEnd::on_turn() {
  if (closing_) return;
  flush();
  dispatch();
  if (!lost_ || loss_told_) return;
  if (readable_.started()) return reactor_.cancel(readable_);  // its callback brings us here again
  reactor_.close(std::exchange(socket_, kNoHandle));
  loss_told_ = true;
  unanswered_ = 0;
  owner_.on_lane_lost(*this);
  // Listeners may start others meanwhile, by a new keeper on this very lane.
  const std::uint64_t lost_run = run_++;
  const auto is_lost = [=](const auto& entry) { return entry.second.run <= lost_run; };
  for (;;) {
    const auto at = std::find_if(children_.begin(), children_.end(), is_lost);
    if (at == children_.end()) return;
    if (at->second.started) {
      tell_end(Ended{at->first, ExitStatus()});
    } else {
      tell_failure(at->first, make_error(ErrorKind::unavailable, "keeper_lost",
                                         "the keeper of processes was lost during the start"));
    }
  }
}

void LaneEnd::receive() {
  std::size_t taken = 0;
  for (int i = 0; i < kPacketsPerTurn && taken < kBytesPerTurn && !lost_; ++i) {
    const int error = packet_.receive(socket_);
    if (error == EAGAIN) return;
    if (error != 0) return lose(error == EPIPE ? "the keeper has ended" : "it sends nonsense");
    heard_ = reactor_.clock().now();
    std::string_view rest = packet_.bytes();
    taken += rest.size();
    while (!rest.empty()) {
      Result<Report> report = decode_report(rest);
      if (!report.has_value()) return lose(report.error().message);
      incoming_.push_back(std::move(*report));
    }
  }
}

void LaneEnd::dispatch() {
  while (!incoming_.empty() && !closing_) {
    const Report report = std::move(incoming_.front());
    incoming_.pop_front();
    if (const Started* const started = std::get_if<Started>(&report)) {
      --unanswered_;
      tell_start(*started);
    } else if (const Failed* const failed = std::get_if<Failed>(&report)) {
      --unanswered_;
      tell_failure(failed->number, to_error(*failed));
    } else if (const Stderr* const said = std::get_if<Stderr>(&report)) {
      tell_stderr(*said);
    } else if (const Ended* const ended = std::get_if<Ended>(&report)) {
      tell_end(*ended);
    } else if (const Note* const note = std::get_if<Note>(&report)) {
      owner_.log().write(LogLevel::warning, "process", note->text);
    }
  }
}

void LaneEnd::tell_stderr(const Stderr& said) {
  const auto at = children_.find(said.number);
  if (at == children_.end() || at->second.listener == nullptr) return;
  at->second.listener->on_stderr(said.bytes);
}

void LaneEnd::tell_start(const Started& started) {
  const auto at = children_.find(started.number);
  if (at == children_.end()) return;
  Child& child = at->second;
  child.started = true;
  if (child.process != nullptr) child.process->process_id = {started.pid, started.start_time};
  if (child.listener != nullptr) child.listener->on_started();
}

void LaneEnd::tell_failure(std::uint64_t number, Error error) {
  const Child child = forget(number);
  if (child.listener != nullptr) child.listener->on_start_failed(std::move(error));
}

void LaneEnd::tell_end(const Ended& ended) {
  const Child child = forget(ended.number);
  if (child.listener != nullptr) child.listener->on_exit(ended.status);
}

LaneEnd::Child LaneEnd::forget(std::uint64_t number) {
  const auto at = children_.find(number);
  if (at == children_.end()) return {};
  const Child child = at->second;
  children_.erase(at);
  if (children_.empty()) decltype(children_)().swap(children_);  // thousands leave a big table
  if (child.process != nullptr) child.process->lane = nullptr;
  return child;
}

void LaneEnd::lose(const std::string& why) {
  if (std::exchange(lost_, true)) return;
  owner_.log().write(LogLevel::error, "process",
                     "the keeper of processes is lost, and they with it: " + why);
  outgoing_.clear();
  later();
}

void LaneEnd::close() {
  closing_ = true;
  if (later_.linked()) later_.unlink();
  reactor_.disarm(room_);
  reactor_.disarm(silence_);
  for (auto& [number, child] : children_) {
    if (child.process != nullptr) child.process->lane = nullptr;
  }
  children_.clear();
  if (readable_.started()) reactor_.cancel(readable_);
  while (readable_.started()) reactor_.poll();
  if (socket_ != kNoHandle) reactor_.close(std::exchange(socket_, kNoHandle));
}

}  // namespace berth::inline v0::io::keeper
