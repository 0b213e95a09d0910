#include <berth/server/agents/rpc_connection.h>

#include <berth/core/json_writer.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace berth::server {

namespace {
/// After an exit, how long bytes that are still in the pipe may take to arrive.
constexpr Duration kDrainMax = std::chrono::milliseconds(50);
constexpr std::size_t kHeadMax = 256;

const char* junk_reason(ScanErrorKind kind) {
  switch (kind) {
    case ScanErrorKind::bad_utf8:
      return "bad_utf8";
    case ScanErrorKind::bad_json:
      return "bad_json";
    case ScanErrorKind::too_deep:
      return "too_deep";
    case ScanErrorKind::not_an_object:
      return "not_an_object";
    case ScanErrorKind::duplicate_key:
      return "duplicate_key";
    case ScanErrorKind::not_json_rpc:
      return "not_json_rpc";
  }
  return "bad_json";
}
}  // namespace

RpcConnection::RpcConnection(io::Platform& platform, JsonScanner& scanner, RpcPeer& peer,
                             RpcLimits limits)
    : platform_(platform),
      reactor_(platform.reactor()),
      scanner_(scanner),
      peer_(peer),
      limits_(limits),
      framer_(*this, LineFramer::Limits{.line_max = limits.line_max}),
      closed_(platform.reactor()) {
  closed_.set();
}

RpcConnection::~RpcConnection() {
  BERTH_ASSERT(closed_.is_set());
}

Result<void> RpcConnection::start(const io::LaunchSpec& spec) {
  Result<std::unique_ptr<io::Process>> spawned = platform_.processes().spawn(reactor_, spec, *this);
  if (!spawned.has_value()) return fail(std::move(spawned.error()));
  process_ = std::move(*spawned);
  id_ = process_->id();
  stdout_.handle = process_->stdout_handle;
  stderr_.handle = process_->stderr_handle;
  stdin_.handle = process_->stdin_handle;
  closed_.reset();
  stdout_ended_ = stderr_ended_ = exited_ = false;
  reactor_.start(stdout_);
  reactor_.start(stderr_);
  return {};
}

// --- calls ---

void RpcConnection::call(std::string_view method, std::string_view params, Duration timeout,
                         RpcCall& call) {
  if (exited_ || ending_) {
    call.on_reply(
        {{}, {}, make_error(ErrorKind::unavailable, "agent_ended", "the agent is not running")});
    return;
  }
  const std::int64_t id = next_id_++;
  Pending pending{&call, {}};
  if (timeout.count() > 0) pending.deadline = reactor_.clock().now() + timeout;
  pending_.emplace(id, pending);
  std::string line;
  JsonWriter(line)
      .begin_object()
      .member("jsonrpc", "2.0")
      .member_int64("id", id)
      .member("method", method)
      .member_raw("params", params)
      .end_object();
  send(std::move(line));
  arm_deadline();
}

namespace {

class CallForCoroutine final : public RpcCall {
 public:
  explicit CallForCoroutine(Executor& executor) : reply(executor) {}
  void on_reply(RpcReply answer) override { reply.give(std::move(answer)); }
  OneShot<RpcReply> reply;
};

}  // namespace

Task<RpcReply> RpcConnection::call(std::string method, std::string params, Duration timeout) {
  CallForCoroutine waiting(reactor_);
  call(method, params, timeout, waiting);
  co_await waiting.reply.wait();
  co_return waiting.reply.take();
}

void RpcConnection::notify(std::string_view method, std::string_view params) {
  std::string line;
  JsonWriter(line)
      .begin_object()
      .member("jsonrpc", "2.0")
      .member("method", method)
      .member_raw("params", params)
      .end_object();
  send(std::move(line));
}

void RpcConnection::reply(std::string_view raw_id, std::string_view result) {
  std::string line;
  JsonWriter(line)
      .begin_object()
      .member("jsonrpc", "2.0")
      .member_raw("id", raw_id)
      .member_raw("result", result)
      .end_object();
  send(std::move(line));
}

void RpcConnection::reply_error(std::string_view raw_id, int code, std::string_view message) {
  std::string line;
  JsonWriter(line)
      .begin_object()
      .member("jsonrpc", "2.0")
      .member_raw("id", raw_id)
      .key("error")
      .begin_object()
      .member_int64("code", code)
      .member("message", message)
      .end_object()
      .end_object();
  send(std::move(line));
}

void RpcConnection::arm_deadline() {
  TimePoint first{};
  for (const auto& [id, pending] : pending_) {
    if (pending.deadline == TimePoint{}) continue;
    if (first == TimePoint{} || pending.deadline < first) first = pending.deadline;
  }
  if (first == TimePoint{}) {
    reactor_.disarm(deadline_);
  } else {
    reactor_.arm(deadline_, first);
  }
}

void RpcConnection::fail_expired() {
  const TimePoint now = reactor_.clock().now();
  for (auto it = pending_.begin(); it != pending_.end();) {
    const Pending pending = it->second;
    if (pending.deadline == TimePoint{} || pending.deadline > now) {
      ++it;
      continue;
    }
    it = pending_.erase(it);
    pending.call->on_reply(
        {{},
         {},
         make_error(ErrorKind::timed_out, "agent_timeout", "the agent did not answer in time")});
  }
  arm_deadline();
}

// --- stdin ---

void RpcConnection::send(std::string line) {
  if (exited_ || stdin_closing_) return;
  if (outgoing_.size() + line.size() > limits_.stdin_queue_max) {
    end(true);  // an agent that reads nothing can only be ended
    return;
  }
  line += '\n';
  if (outgoing_.empty()) {
    outgoing_ = std::move(line);
  } else {
    outgoing_ += line;
  }
  write_more();
}

void RpcConnection::write_more() {
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

void RpcConnection::Stdin::on_written(int error) {
  if (error != 0) {
    // EPIPE: the process closed its stdin or is gone; its exit tells the rest.
    owner_.outgoing_.clear();
    owner_.stdin_closing_ = true;
  }
  owner_.write_more();
  owner_.check_closed();
}

void RpcConnection::close_stdin() {
  if (stdin_.handle == io::kNoHandle) return;
  reactor_.close(std::exchange(stdin_.handle, io::kNoHandle));
}

// --- stdout and stderr ---

void RpcConnection::Stdout::on_read(std::span<char> bytes) {
  owner_.read_since_exit_ = true;
  owner_.framer_.feed({bytes.data(), bytes.size()});
  // What a dead process left is at most a pipe full: it is taken whatever the back-pressure says.
  if (!owner_.exited_ && !owner_.peer_.wants_more()) owner_.reactor_.pause(*this);
}

void RpcConnection::Stdout::on_read_end(int) {
  // However it ended, there is nothing more to come.
  owner_.framer_.finish();
  owner_.reactor_.close(std::exchange(handle, io::kNoHandle));
  owner_.stdout_ended_ = true;
  owner_.check_closed();
}

void RpcConnection::Stderr::on_read(std::span<char> bytes) {
  std::string& tail = owner_.stderr_tail_;
  const std::size_t max = owner_.limits_.stderr_tail_max;
  tail.append(bytes.data(), bytes.size());
  if (tail.size() > 2 * max) tail.erase(0, tail.size() - max);
}

void RpcConnection::Stderr::on_read_end(int) {
  owner_.reactor_.close(std::exchange(handle, io::kNoHandle));
  owner_.stderr_ended_ = true;
  owner_.check_closed();
}

std::string RpcConnection::stderr_tail() const {
  const std::size_t size = std::min(stderr_tail_.size(), limits_.stderr_tail_max);
  return stderr_tail_.substr(stderr_tail_.size() - size);
}

void RpcConnection::resume_reading() {
  if (stdout_.started()) reactor_.resume(stdout_);
}

void RpcConnection::on_line(Line& line) {
  ScanResult scanned = scanner_.scan_line(line.text());
  LineBuffer repaired;  // outlives the views of `scanned`
  if (!scanned.has_value() && scanned.error().kind == ScanErrorKind::bad_json) {
    // Agents in JavaScript cut an emoji between two chunks and send its halves.
    repaired = replace_lone_surrogates(line.text());
    if (!repaired.empty()) scanned = scanner_.scan_line(repaired.text());
  }
  if (!scanned.has_value()) {
    peer_.on_junk(junk_reason(scanned.error().kind), line.text().size(),
                  line.text().substr(0, kHeadMax));
    return;
  }
  const RoutedLine& routed = *scanned;
  switch (routed.kind) {
    case MessageKind::notification:
      peer_.on_notification(routed);
      return;
    case MessageKind::request:
      peer_.on_request(routed);
      return;
    case MessageKind::response:
    case MessageKind::error_response: {
      const auto found =
          routed.id.kind == IdKind::integer ? pending_.find(routed.id.integer) : pending_.end();
      if (found == pending_.end()) return;  // late or never asked: nobody waits for it
      const Pending pending = found->second;
      pending_.erase(found);
      arm_deadline();
      RpcReply reply;
      if (routed.kind == MessageKind::response) {
        reply.result = routed.result;
      } else {
        reply.error = routed.error;
      }
      pending.call->on_reply(std::move(reply));
      return;
    }
  }
}

void RpcConnection::on_overlong(std::uint64_t total_bytes, std::string_view head) {
  peer_.on_junk("line_too_long", total_bytes, head);
}

// --- the end ---

void RpcConnection::end(bool at_once) {
  if (exited_) return;
  ending_ = true;
  if (at_once) {
    process_->kill_tree();
    return;
  }
  stdin_closing_ = true;
  write_more();
  reactor_.arm(grace_, reactor_.clock().now() + limits_.exit_grace);
}

void RpcConnection::on_grace_over() {
  if (!exited_) {
    process_->kill_tree();
    return;
  }
  if (std::exchange(read_since_exit_, false)) {
    reactor_.arm(grace_, reactor_.clock().now() + kDrainMax);
    return;
  }
  // The tree is gone, yet somebody out of reach holds the pipe open without writing: nothing more
  // will come.
  if (stdout_.started()) reactor_.cancel(stdout_);
  if (stderr_.started()) reactor_.cancel(stderr_);
}

void RpcConnection::on_exit(io::ExitStatus status) {
  exited_ = true;
  status_ = status;
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

void RpcConnection::check_closed() {
  if (!exited_ || !stdout_ended_ || !stderr_ended_ || stdin_.started() || closed_.is_set()) return;
  reactor_.disarm(grace_);
  reactor_.disarm(deadline_);
  close_stdin();
  const auto unanswered = std::exchange(pending_, {});
  for (const auto& [id, pending] : unanswered) {
    pending.call->on_reply({{},
                            {},
                            make_error(ErrorKind::unavailable, "agent_ended",
                                       "the agent ended: " + io::describe(status_))});
  }
  process_.reset();
  closed_.set();
}

}  // namespace berth::server
