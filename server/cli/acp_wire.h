// server/cli/acp_wire.h — the Agent Client Protocol on a pair of pipes, from the agent's side:
// JSON-RPC in lines, both ways.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/core/json_rpc.h>
#include <berth/core/ndjson.h>
#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/io/stream.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace berth::server {

/// An error code of the protocol's own; those of JSON-RPC are in core/json_rpc.h.
inline constexpr int kAcpResourceNotFound = -32002;

/// Receives what the client wants, in its order. Must not destroy the wire.
class AcpHandler {
 public:
  virtual ~AcpHandler() = default;
  /// `id`: as JSON, to be answered exactly once with it. `params` may be absent.
  virtual void on_request(std::string id, std::string_view method, const JsonView& params) = 0;
  virtual void on_notification(std::string_view method, const JsonView& params) = 0;
  /// The client says nothing more. When this returns, nothing more is said to it either.
  virtual Task<void> on_end() = 0;
};

/// One connection. Used from one shard; outlives all that ask.
class AcpWire final : private LineSink {
 public:
  AcpWire(io::Reactor& reactor, std::unique_ptr<io::ByteStream> stream)
      : reactor_(reactor), stream_(std::move(stream)) {}

  /// Reads until the client ends its side or `stop` is asked for, and writes what there is to say.
  /// Closes the stream.
  Task<void> serve(AcpHandler* handler, StopToken stop);

  void answer(std::string_view id, std::string_view result);
  void refuse(std::string_view id, int code, std::string_view message);
  void notify(std::string_view method, std::string_view params);
  /// The whole answer, with `result` or `error`. When `stop` is asked, the client is told that
  /// nobody waits any more, and the error is `cancelled`; so it is when the client is gone.
  Task<Result<JsonDoc>> ask(std::string method, std::string params, StopToken stop);

  /// More waits to be written than should.
  bool congested() const { return out_.size() > kCongested; }
  /// `co_await wire.relief(stop)`: until that is over.
  auto relief(StopToken stop) { return relieved_.wait(stop); }

 private:
  static constexpr std::size_t kCongested = std::size_t{4} << 20;
  struct Asked {
    explicit Asked(Executor& executor) : answer(executor) {}
    OneShot<std::optional<JsonDoc>> answer;  // nothing: the client is gone
  };

  void on_line(Line& line) override;
  void on_overlong(std::uint64_t total_bytes, std::string_view head) override;
  void take(JsonDoc message);
  Task<void> write();
  void send(std::string_view line);

  io::Reactor& reactor_;
  std::unique_ptr<io::ByteStream> stream_;
  AcpHandler* handler_ = nullptr;
  std::string out_;
  Event wake_{reactor_};
  Event relieved_{reactor_};
  bool finishing_ = false;
  bool broken_ = false;  // nobody reads any more
  bool deaf_ = false;    // nobody answers any more
  std::int64_t next_id_ = 1;
  std::map<std::int64_t, Asked*> asked_;
};

/// `{"sessionId":SESSION, ...}` with the other members of `params`.
std::string with_session(const JsonView& params, std::string_view session);

}  // namespace berth::server
