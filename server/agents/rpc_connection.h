// server/agents/rpc_connection.h — JSON-RPC 2.0 with one child process: lines on its stdin and
// stdout, in wire order.
#pragma once

#include <berth/core/json_scan.h>
#include <berth/core/task.h>
#include <berth/io/member_timer.h>
#include <berth/server/agents/line_process.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace berth::server {

/// An answer to one of our calls: exactly one of `result` and `error` is not empty (raw JSON; a
/// null result is "null").
struct RpcReply {
  std::string result;
  std::string error;
  Error failure;  ///< Meaningful when both are empty: the process ended, or the time was over.
  /// Notifications of the process before it, since its start: a coroutine hears of the reply later
  /// than of what came right after it.
  std::uint64_t notifications_before = 0;

  bool ok() const { return !result.empty(); }
};

/// Waits for the answer to one call; owned by the caller until on_reply.
class RpcCall {
 public:
  virtual void on_reply(RpcReply reply) = 0;

 protected:
  ~RpcCall() = default;
};

/// What the process says unasked. Views are valid during the call.
class RpcPeer {
 public:
  virtual void on_notification(const RoutedLine& line) = 0;
  /// Must lead to exactly one reply() or reply_error() with the id.
  virtual void on_request(const RoutedLine& line) = 0;
  /// A line that is no JSON-RPC message: why, its size, its first bytes (raw).
  virtual void on_junk(const char* reason, std::uint64_t bytes, std::string_view head) = 0;
  /// False stops reading after this chunk, until resume_reading().
  virtual bool wants_more() = 0;
  /// The process and its tree are gone, all it wrote was delivered and all calls were answered;
  /// closed() is set right after.
  virtual void on_gone() = 0;

 protected:
  ~RpcPeer() = default;
};

using RpcLimits = LineProcessLimits;

/// One process from spawn to its end. Destroy it only after closed(). Single-threaded.
class RpcConnection final : private LinePeer {
 public:
  /// `scanner` is the shard's; all outlive the connection.
  RpcConnection(io::Platform& platform, JsonScanner& scanner, RpcPeer& peer, RpcLimits limits);

  /// See LineProcess::start. Calls can be made at once; those of a process that could not be
  /// started hear why.
  void start(const io::LaunchSpec& spec, std::shared_ptr<void> held = nullptr) {
    process_.start(spec, std::move(held));
  }
  const Error* start_failure() const { return process_.start_failure(); }

  /// Whose calls they are, where several share the process: any address that is theirs alone.
  using Owner = const void*;

  /// Sends a request; `call` hears exactly once: answer, end of the process, or `timeout` (0 =
  /// none).
  void call(std::string_view method, std::string_view params, Duration timeout, RpcCall& call,
            Owner owner = nullptr);
  /// The same for a coroutine.
  Task<RpcReply> call(std::string method, std::string params, Duration timeout,
                      Owner owner = nullptr);
  /// Nobody waits for the calls of `owner` any more: each hears what it would hear at the end of
  /// the process.
  void abandon(Owner owner);
  /// Whose call has this id; null when nobody's has.
  Owner owner_of(std::int64_t id) const;
  void notify(std::string_view method, std::string_view params);
  /// `raw_id` is the id as the process wrote it.
  void reply(std::string_view raw_id, std::string_view result);
  void reply_error(std::string_view raw_id, int code, std::string_view message);

  /// How many came since the start, the one that is being told of included.
  std::uint64_t notifications() const { return notifications_; }

  void resume_reading() { process_.resume_reading(); }
  /// See LineProcess::end.
  void end(bool at_once) { process_.end(at_once); }
  bool running() const { return process_.running(); }

  /// Set when the process and its tree are gone, all it wrote was delivered and all calls were
  /// answered.
  Event& closed() { return process_.closed(); }
  io::ProcessId process_id() const { return process_.process_id(); }
  io::ExitStatus exit_status() const { return process_.exit_status(); }
  std::string stderr_tail() const { return process_.stderr_tail(); }

 private:
  struct Pending {
    RpcCall* call = nullptr;
    Owner owner = nullptr;
    TimePoint deadline{};  // zero = none
  };

  void on_line(Line& line) override;
  void on_overlong(std::uint64_t total_bytes, std::string_view head) override;
  bool wants_more() override { return peer_.wants_more(); }
  void on_gone() override;
  void send(std::string line);
  void fail_expired();
  void withdraw(std::int64_t id);
  void arm_deadline();

  io::Platform& platform_;
  JsonScanner& scanner_;
  RpcPeer& peer_;
  io::MemberTimer<&RpcConnection::fail_expired> deadline_{*this};
  std::map<std::int64_t, Pending> pending_;
  std::int64_t next_id_ = 1;
  std::uint64_t notifications_ = 0;
  LineProcess process_;
};

}  // namespace berth::server
