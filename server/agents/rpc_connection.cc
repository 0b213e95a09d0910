#include <berth/server/agents/rpc_connection.h>

#include <berth/core/json_rpc.h>
#include <berth/core/json_writer.h>

#include <utility>
#include <vector>

namespace berth::server {

namespace {
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
    : platform_(platform), scanner_(scanner), peer_(peer), process_(platform, *this, limits) {}

// --- calls ---

void RpcConnection::call(std::string_view method, std::string_view params, Duration timeout,
                         RpcCall& call, Owner owner) {
  if (!process_.running()) {
    call.on_reply(
        {{}, {}, make_error(ErrorKind::unavailable, "agent_ended", "the agent is not running"), 0});
    return;
  }
  const std::int64_t id = next_id_++;
  Pending pending{&call, owner, {}};
  if (timeout.count() > 0) pending.deadline = platform_.reactor().clock().now() + timeout;
  pending_.emplace(id, pending);
  send(rpc_request(id, method, params));
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

Task<RpcReply> RpcConnection::call(std::string method, std::string params, Duration timeout,
                                   Owner owner) {
  CallForCoroutine waiting(platform_.reactor());
  call(method, params, timeout, waiting, owner);
  co_await waiting.reply.wait();
  co_return waiting.reply.take();
}

void RpcConnection::notify(std::string_view method, std::string_view params) {
  send(rpc_notification(method, params));
}

void RpcConnection::reply(std::string_view raw_id, std::string_view result) {
  send(rpc_result(raw_id, result));
}

void RpcConnection::reply_error(std::string_view raw_id, int code, std::string_view message) {
  send(rpc_error(raw_id, code, message));
}

void RpcConnection::arm_deadline() {
  TimePoint first{};
  for (const auto& [id, pending] : pending_) {
    if (pending.deadline == TimePoint{}) continue;
    if (first == TimePoint{} || pending.deadline < first) first = pending.deadline;
  }
  if (first == TimePoint{}) {
    platform_.reactor().disarm(deadline_);
  } else {
    platform_.reactor().arm(deadline_, first);
  }
}

/// Advisory: nobody waits for it any more; an agent that does not know it ignores it.
void RpcConnection::withdraw(std::int64_t id) {
  std::string params;
  JsonWriter(params).begin_object().member_int64("requestId", id).end_object();
  notify("$/cancel_request", params);
}

void RpcConnection::abandon(Owner owner) {
  std::vector<RpcCall*> abandoned;
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (it->second.owner != owner) {
      ++it;
      continue;
    }
    withdraw(it->first);
    abandoned.push_back(it->second.call);
    it = pending_.erase(it);
  }
  arm_deadline();
  for (RpcCall* call : abandoned) {
    call->on_reply({{},
                    {},
                    make_error(ErrorKind::unavailable, "agent_ended", "nobody waits any more"),
                    notifications_});
  }
}

RpcConnection::Owner RpcConnection::owner_of(std::int64_t id) const {
  const auto found = pending_.find(id);
  return found == pending_.end() ? nullptr : found->second.owner;
}

void RpcConnection::fail_expired() {
  const TimePoint now = platform_.reactor().clock().now();
  for (auto it = pending_.begin(); it != pending_.end();) {
    const Pending pending = it->second;
    if (pending.deadline == TimePoint{} || pending.deadline > now) {
      ++it;
      continue;
    }
    withdraw(it->first);
    it = pending_.erase(it);
    pending.call->on_reply(
        {{},
         {},
         make_error(ErrorKind::timed_out, "agent_timeout", "the agent did not answer in time"),
         notifications_});
  }
  arm_deadline();
}

void RpcConnection::send(std::string line) {
  line += '\n';
  process_.send(std::move(line));
}

// --- what the process says ---

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
  RoutedLine& routed = *scanned;
  if (repaired.empty()) routed.line = &line;
  switch (routed.kind) {
    case MessageKind::notification:
      ++notifications_;
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
      reply.notifications_before = notifications_;
      pending.call->on_reply(std::move(reply));
      return;
    }
  }
}

void RpcConnection::on_overlong(std::uint64_t total_bytes, std::string_view head) {
  peer_.on_junk("line_too_long", total_bytes, head);
}

void RpcConnection::on_gone() {
  platform_.reactor().disarm(deadline_);
  const Error why = start_failure() != nullptr
                        ? *start_failure()
                        : make_error(ErrorKind::unavailable, "agent_ended",
                                     "the agent ended: " + io::describe(exit_status()));
  const auto unanswered = std::exchange(pending_, {});
  for (const auto& [id, pending] : unanswered) {
    pending.call->on_reply({{}, {}, why, notifications_});
  }
  peer_.on_gone();
}

}  // namespace berth::server
