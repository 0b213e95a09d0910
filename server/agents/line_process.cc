#include <berth/server/agents/line_process.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace berth::server {

namespace {
/// After an exit, how long bytes that are still in the pipe may take to arrive.
constexpr Duration kDrainMax = std::chrono::milliseconds(50);
}  // namespace

LineProcess::LineProcess(io::Platform& platform, LinePeer& peer, LineProcessLimits limits)
    : platform_(platform),
      reactor_(platform.reactor()),
      peer_(peer),
      limits_(limits),
      framer_(*this, LineFramer::Limits{.line_max = limits.line_max}),
      started_(platform.reactor()),
      closed_(platform.reactor()) {
  closed_.set();
}

LineProcess::~LineProcess() {
  BERTH_ASSERT(closed_.is_set());
}

void LineProcess::start(const io::LaunchSpec& spec, std::shared_ptr<void> held) {
  closed_.reset();
  exited_ = false;
  Result<std::unique_ptr<io::Process>> spawned = platform_.processes().spawn(reactor_, spec, *this);
  if (!spawned.has_value()) {
    stdin_closing_ = true;
    refusal_.error = std::move(spawned.error());
    reactor_.post(refusal_);
    return;
  }
  process_ = std::move(*spawned);
  held_ = std::move(held);
  stdout_.handle = process_->stdout_handle;
  stdin_.handle = process_->stdin_handle;
}

void LineProcess::on_started() {
  id_ = process_->id();
  stdout_ended_ = false;
  reactor_.start(stdout_);
  started_.set();
}

void LineProcess::on_start_failed(Error error) {
  start_failure_ = std::move(error);
  if (stdout_.handle != io::kNoHandle) {
    reactor_.close(std::exchange(stdout_.handle, io::kNoHandle));
  }
  started_.set();
  on_exit({});
}

// --- stdin ---

void LineProcess::send(std::string bytes) {
  if (exited_ || stdin_closing_) return;
  if (outgoing_.size() + bytes.size() > limits_.stdin_queue_max) {
    end(true);  // an agent that reads nothing can only be ended
    return;
  }
  if (outgoing_.empty()) {
    outgoing_ = std::move(bytes);
  } else {
    outgoing_ += bytes;
  }
  write_more();
}

void LineProcess::write_more() {
  if (stdin_.started()) return;
  if (outgoing_.empty()) {
    writing_ = {};
    if (stdin_closing_) close_stdin();
    return;
  }
  writing_ = std::exchange(outgoing_, {});
  writing_part_ = {writing_.data(), writing_.size()};
  stdin_.parts = {&writing_part_, 1};
  stdin_.written = 0;
  reactor_.start(stdin_);
}

void LineProcess::Stdin::on_written(int error) {
  owner_.bytes_taken_ += written;
  if (error != 0) {
    // EPIPE: the process closed its stdin or is gone; its exit tells the rest.
    owner_.outgoing_.clear();
    owner_.stdin_closing_ = true;
  }
  owner_.write_more();
  owner_.check_closed();
}

void LineProcess::close_stdin() {
  if (stdin_.handle == io::kNoHandle) return;
  reactor_.close(std::exchange(stdin_.handle, io::kNoHandle));
}

// --- stdout and stderr ---

void LineProcess::Stdout::on_read(std::span<char> bytes) {
  owner_.read_since_exit_ = true;
  owner_.framer_.feed({bytes.data(), bytes.size()});
  // What a dead process left is at most a pipe full: it is taken whatever the back-pressure says.
  if (!owner_.exited_ && !owner_.peer_.wants_more()) owner_.reactor_.pause(*this);
}

void LineProcess::Stdout::on_read_end(int) {
  // However it ended, there is nothing more to come.
  owner_.framer_.finish();
  owner_.reactor_.close(std::exchange(handle, io::kNoHandle));
  owner_.stdout_ended_ = true;
  owner_.check_closed();
}

void LineProcess::on_stderr(std::string_view bytes) {
  const std::size_t max = limits_.stderr_tail_max;
  stderr_tail_.append(bytes);
  if (stderr_tail_.size() > 2 * max) stderr_tail_.erase(0, stderr_tail_.size() - max);
}

std::string LineProcess::stderr_tail() const {
  const std::size_t size = std::min(stderr_tail_.size(), limits_.stderr_tail_max);
  return stderr_tail_.substr(stderr_tail_.size() - size);
}

void LineProcess::end_input() {
  stdin_closing_ = true;
  write_more();
}

void LineProcess::signal(int number) {
  if (!exited_ && process_ != nullptr) process_->signal(number);
}

void LineProcess::resume_reading() {
  if (stdout_.started()) reactor_.resume(stdout_);
}

// --- the end ---

void LineProcess::end(bool at_once) {
  if (exited_) return;
  ending_ = true;
  if (at_once) return kill();
  stdin_closing_ = true;
  write_more();
  reactor_.arm(grace_, reactor_.clock().now() + limits_.exit_grace);
}

void LineProcess::kill() {
  if (process_ != nullptr) process_->kill_tree();
}

void LineProcess::on_grace_over() {
  if (!exited_) return kill();
  if (std::exchange(read_since_exit_, false)) {
    reactor_.arm(grace_, reactor_.clock().now() + kDrainMax);
    return;
  }
  // The tree is gone, yet somebody out of reach holds the pipe open without writing: nothing more
  // will come.
  if (stdout_.started()) reactor_.cancel(stdout_);
}

void LineProcess::on_exit(io::ExitStatus status) {
  exited_ = true;
  status_ = status;
  held_.reset();
  resume_reading();
  stdin_closing_ = true;
  outgoing_.clear();
  if (stdin_.started()) {
    reactor_.cancel(stdin_);
  } else {
    close_stdin();
  }
  reactor_.arm(grace_, reactor_.clock().now() + kDrainMax);
  check_closed();
}

void LineProcess::check_closed() {
  if (!exited_ || !stdout_ended_ || stdin_.started() || closed_.is_set()) return;
  reactor_.disarm(grace_);
  close_stdin();
  peer_.on_gone();
  process_.reset();
  closed_.set();
}

}  // namespace berth::server
