// server/agents/rpc_connection.h — JSON-RPC 2.0 with one child process: lines on its stdin and
// stdout, in wire order.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/json_scan.h>
#include <berth/core/ndjson.h>
#include <berth/core/result.h>
#include <berth/core/sync.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace berth::server {

/// An answer to one of our calls: exactly one of `result` and `error` is not empty (raw JSON; a
/// null result is "null").
struct RpcReply {
  std::string result;
  std::string error;
  Error failure;  ///< Meaningful when both are empty: the process ended, or the time was over.

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

 protected:
  ~RpcPeer() = default;
};

struct RpcLimits {
  std::size_t line_max = std::size_t{64} << 20;
  std::size_t stdin_queue_max = std::size_t{64} << 20;  ///< Bytes the process did not read yet.
  std::size_t stderr_tail_max = 16 * 1024;
  Duration exit_grace = std::chrono::seconds(3);
};

/// One process from spawn to its end. Destroy it only after closed(). Single-threaded.
class RpcConnection final : private io::ExitListener, private LineSink {
 public:
  /// `scanner` is the shard's; all outlive the connection.
  RpcConnection(io::Platform& platform, JsonScanner& scanner, RpcPeer& peer, RpcLimits limits);
  ~RpcConnection();

  /// Spawns; an error leaves nothing behind and closed() is then done at once.
  Result<void> start(const io::LaunchSpec& spec);

  /// Sends a request; `call` hears exactly once: answer, end of the process, or `timeout` (0 =
  /// none).
  void call(std::string_view method, std::string_view params, Duration timeout, RpcCall& call);
  /// The same for a coroutine.
  Task<RpcReply> call(std::string method, std::string params, Duration timeout);
  void notify(std::string_view method, std::string_view params);
  /// `raw_id` is the id as the process wrote it.
  void reply(std::string_view raw_id, std::string_view result);
  void reply_error(std::string_view raw_id, int code, std::string_view message);

  void resume_reading();
  /// Ends the process: at once with its tree; else stdin is closed, and the tree killed after the
  /// grace.
  void end(bool at_once);
  bool ending() const { return ending_; }

  /// Set when the process and its tree are gone, all it wrote was delivered and all calls were
  /// answered.
  Event& closed() { return closed_; }
  io::ProcessId process_id() const { return id_; }
  io::ExitStatus exit_status() const { return status_; }
  std::string stderr_tail() const;

 private:
  class Stdout final : public io::ReadOp {
   public:
    explicit Stdout(RpcConnection& owner) : owner_(owner) {}
    void on_read(std::span<char> bytes) override;
    void on_read_end(int error) override;

   private:
    RpcConnection& owner_;
  };
  class Stderr final : public io::ReadOp {
   public:
    explicit Stderr(RpcConnection& owner) : owner_(owner) {}
    void on_read(std::span<char> bytes) override;
    void on_read_end(int error) override;

   private:
    RpcConnection& owner_;
  };
  class Stdin final : public io::WriteOp {
   public:
    explicit Stdin(RpcConnection& owner) : owner_(owner) {}
    void on_written(int error) override;

   private:
    RpcConnection& owner_;
  };
  class Grace final : public io::TimerOp {
   public:
    explicit Grace(RpcConnection& owner) : owner_(owner) {}
    void on_timer() override { owner_.on_grace_over(); }

   private:
    RpcConnection& owner_;
  };
  struct Pending {
    RpcCall* call = nullptr;
    TimePoint deadline{};  // zero = none
  };

  void on_exit(io::ExitStatus status) override;
  void on_line(Line& line) override;
  void on_overlong(std::uint64_t total_bytes, std::string_view head) override;
  void on_grace_over();
  void send(std::string line);
  void write_more();
  void close_stdin();
  void fail_expired();
  void arm_deadline();
  void check_closed();

  io::Platform& platform_;
  io::Reactor& reactor_;
  JsonScanner& scanner_;
  RpcPeer& peer_;
  RpcLimits limits_;
  std::unique_ptr<io::Process> process_;
  io::ProcessId id_;
  io::ExitStatus status_;
  LineFramer framer_;
  Stdout stdout_{*this};
  Stderr stderr_{*this};
  Stdin stdin_{*this};
  Grace grace_{*this};  // after end(): kill; after the exit: stop waiting for end of stream
  class Deadline final : public io::TimerOp {
   public:
    explicit Deadline(RpcConnection& owner) : owner_(owner) {}
    void on_timer() override { owner_.fail_expired(); }

   private:
    RpcConnection& owner_;
  } deadline_{*this};
  Event closed_;
  std::map<std::int64_t, Pending> pending_;
  std::int64_t next_id_ = 1;
  std::string outgoing_;  // queued behind what is being written
  std::string writing_;
  iovec writing_part_{};
  std::string stderr_tail_;
  bool stdin_closing_ = false;
  bool stdout_ended_ = true;
  bool stderr_ended_ = true;
  bool exited_ = true;
  bool ending_ = false;
  bool read_since_exit_ = false;
};

}  // namespace berth::server
