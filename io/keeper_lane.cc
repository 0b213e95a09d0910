#include <berth/io/keeper_lane.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace berth::inline v0::io::keeper {

namespace {

/// A keeper that says nothing for so long is stopped or stuck.
constexpr int kAnswerMaxMs = 10'000;
constexpr int kPacketsPerTurn = 32;
constexpr std::size_t kBytesPerTurn = std::size_t{256} * 1024;  // most of it is stderr
constexpr std::size_t kStartOverhead = 64;  // what a Start adds to its spec, and more

bool wait_for(int descriptor, short events) {
  pollfd waiting = {descriptor, events, 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, kAnswerMaxMs);
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

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
  lost_ = loss_told_ = false;
  outgoing_.clear();
  incoming_.clear();
  readable_.handle = socket_;
  reactor_.start(readable_);
  return {};
}

Result<std::unique_ptr<Process>> LaneEnd::spawn(std::uint64_t number, const LaunchSpec& spec,
                                                ProcessListener& listener) {
  ChildStdio stdio(reactor_);
  Result<void> opened = stdio.open();
  if (!opened.has_value()) return fail(std::move(opened.error()));
  const std::string bytes = encode_spec(spec);
  if (bytes.size() > kSpecMax) {
    return fail(ErrorKind::invalid, "bad_launch",
                "arguments and environment of " + spec.command + " are too long");
  }
  Start request;
  request.number = number;
  request.in_memory = bytes.size() + kStartOverhead > kPacketMax;
  Result<void> sent = send(request, bytes, stdio);
  if (!sent.has_value()) return fail(std::move(sent.error()));
  stdio.close_theirs();
  Result<Started> started = wait_for_answer(number);
  if (!started.has_value()) return fail(std::move(started.error()));
  auto process = std::make_unique<KeptProcess>();
  process->process_id = {started->pid, started->start_time};
  process->number = number;
  process->lane = this;
  stdio.give_to(*process);
  children_.emplace(number, Child{&listener, process.get(), run_});
  return process;
}

Result<void> LaneEnd::send(const Start& request, const std::string& spec, const ChildStdio& stdio) {
  flush();  // what was asked for before comes before
  Start start = request;
  Fd memory;
  std::vector<int> descriptors;
  if (request.in_memory) {
    Result<Fd> file = put_in_memory(spec);
    if (!file.has_value()) return fail(std::move(file.error()));
    memory = std::move(*file);
    descriptors.push_back(memory.get());
  } else {
    start.spec = spec;
  }
  for (const int end : stdio.theirs()) descriptors.push_back(end);
  std::string packet;
  encode(Request(std::move(start)), packet);
  const int error = lost_ ? EPIPE : send_waiting(packet, descriptors);
  if (error == 0) return {};
  if (error != EPIPE && error != ETIMEDOUT) return fail(errno_error(error, "the keeper's socket"));
  lose(error == EPIPE ? "the keeper has ended" : "the keeper does not read");
  return fail(ErrorKind::unavailable, "keeper_lost", "the keeper has ended");
}

Result<Started> LaneEnd::wait_for_answer(std::uint64_t number) {
  for (std::size_t seen = 0; !lost_;) {
    for (; seen < incoming_.size(); ++seen) {
      Report& report = incoming_[seen];
      const Started* const started = std::get_if<Started>(&report);
      const Failed* const failed = std::get_if<Failed>(&report);
      const bool good = started != nullptr && started->number == number;
      if (!good && (failed == nullptr || failed->number != number)) continue;
      Result<Started> answer = good ? Result<Started>(*started) : fail(to_error(*failed));
      incoming_.erase(incoming_.begin() + static_cast<std::ptrdiff_t>(seen));
      if (!incoming_.empty()) later();
      return answer;
    }
    if (!wait_for(socket_, POLLIN)) lose("the keeper does not answer");
    receive();
  }
  return fail(ErrorKind::unavailable, "keeper_lost", "the keeper has ended");
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
  at->second = Child{nullptr, nullptr, at->second.run};
  kill(number);
}

void LaneEnd::request(const Request& request) {
  if (lost_) return;
  if (outgoing_.size() + kStartOverhead > kPacketMax) flush();
  encode(request, outgoing_);
  later();
}

void LaneEnd::later() {
  if (!later_.linked()) reactor_.post(later_);
}

void LaneEnd::flush() {
  if (outgoing_.empty() || lost_) return;
  const std::string packet = std::exchange(outgoing_, {});
  const int error = send_waiting(packet, {});
  if (error != 0) lose(error == EPIPE ? "the keeper has ended" : "the keeper does not read");
}

int LaneEnd::send_waiting(std::string_view packet, std::span<const int> descriptors) {
  for (;;) {
    // The keeper never waits for us, so room comes.
    const int error = send_packet(socket_, packet, descriptors);
    if (error != EAGAIN) return error;
    if (!wait_for(socket_, POLLOUT)) return ETIMEDOUT;
  }
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
  owner_.on_lane_lost(*this);
  // Listeners may start others meanwhile, by a new keeper on this very lane.
  const std::uint64_t lost_run = run_++;
  const auto is_lost = [=](const auto& entry) { return entry.second.run <= lost_run; };
  for (;;) {
    const auto at = std::find_if(children_.begin(), children_.end(), is_lost);
    if (at == children_.end()) return;
    tell_end(Ended{at->first, ExitStatus()});
  }
}

void LaneEnd::receive() {
  std::size_t taken = 0;
  for (int i = 0; i < kPacketsPerTurn && taken < kBytesPerTurn && !lost_; ++i) {
    const int error = packet_.receive(socket_);
    if (error == EAGAIN) return;
    if (error != 0) return lose(error == EPIPE ? "the keeper has ended" : "it sends nonsense");
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
    if (const Stderr* const said = std::get_if<Stderr>(&report)) tell_stderr(*said);
    if (const Ended* const ended = std::get_if<Ended>(&report)) tell_end(*ended);
    if (const Note* const note = std::get_if<Note>(&report)) {
      owner_.log().write(LogLevel::warning, "process", note->text);
    }
  }
}

void LaneEnd::tell_stderr(const Stderr& said) {
  const auto at = children_.find(said.number);
  if (at == children_.end() || at->second.listener == nullptr) return;
  at->second.listener->on_stderr(said.bytes);
}

void LaneEnd::tell_end(const Ended& ended) {
  const auto at = children_.find(ended.number);
  if (at == children_.end()) return;
  const Child child = at->second;
  children_.erase(at);
  if (children_.empty()) decltype(children_)().swap(children_);  // thousands leave a big table
  if (child.process != nullptr) child.process->lane = nullptr;
  if (child.listener != nullptr) child.listener->on_exit(ended.status);
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
  for (auto& [number, child] : children_) {
    if (child.process != nullptr) child.process->lane = nullptr;
  }
  children_.clear();
  if (readable_.started()) reactor_.cancel(readable_);
  while (readable_.started()) reactor_.poll();
  if (socket_ != kNoHandle) reactor_.close(std::exchange(socket_, kNoHandle));
}

}  // namespace berth::inline v0::io::keeper
