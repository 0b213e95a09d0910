// server/agents/line_process.h — one child process that is spoken to in lines: its pipes, its end,
// what it says on stderr.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/ndjson.h>
#include <berth/core/result.h>
#include <berth/core/sync.h>
#include <berth/io/member_timer.h>
#include <berth/io/platform.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace berth::server {

/// What a process says. Views are valid during the call.
class LinePeer {
 public:
  virtual void on_line(Line& line) = 0;
  /// A line above the limit was dropped: its size, its first bytes (raw).
  virtual void on_overlong(std::uint64_t total_bytes, std::string_view head) = 0;
  /// False stops reading after this chunk, until resume_reading().
  virtual bool wants_more() = 0;
  /// The process and its tree are gone and all it wrote was delivered; closed() is set right after.
  virtual void on_gone() = 0;

 protected:
  ~LinePeer() = default;
};

struct LineProcessLimits {
  std::size_t line_max = std::size_t{64} << 20;
  std::size_t stdin_queue_max = std::size_t{64} << 20;  ///< Bytes the process did not read yet.
  std::size_t stderr_tail_max = 16 * 1024;
  Duration exit_grace = std::chrono::seconds(3);
};

/// One process from spawn to its end. Destroy it only after closed(). Single-threaded.
class LineProcess final : private io::ProcessListener, private LineSink {
 public:
  /// `peer` and `platform` outlive it.
  LineProcess(io::Platform& platform, LinePeer& peer, LineProcessLimits limits);
  ~LineProcess();

  /// Asks for the process; what is sent before it runs waits for it. One that cannot be started
  /// is gone soon, and start_failure() says why. `held` is kept until it is gone.
  void start(const io::LaunchSpec& spec, std::shared_ptr<void> held = nullptr);
  /// Set when it runs, before it says anything, or could not be started.
  Event& started() { return started_; }
  /// Null unless it could not be started.
  const Error* start_failure() const { return start_failure_ ? &*start_failure_ : nullptr; }

  /// Queues bytes for its stdin, as they are. Dropped when it is gone or its stdin was closed; a
  /// process that lets stdin_queue_max pile up is ended.
  void send(std::string bytes);
  /// Closes its stdin behind what is queued; what it says and its end are waited for as long as
  /// they take.
  void end_input();
  /// To the process's group.
  void signal(int number);
  void resume_reading();
  /// Ends the process: at once with its tree; else stdin is closed behind what is queued, and the
  /// tree killed after the grace.
  void end(bool at_once);

  /// Bytes that its stdin took so far. After closed() that is final; a byte more than before
  /// send() means that it may have read of what was sent.
  std::uint64_t bytes_taken() const { return bytes_taken_; }

  bool running() const { return !exited_ && !ending_; }
  bool ending() const { return ending_; }
  /// Set when the process and its tree are gone and all it wrote was delivered.
  Event& closed() { return closed_; }
  /// Zeros until it has started.
  io::ProcessId process_id() const { return id_; }
  io::ExitStatus exit_status() const { return status_; }
  std::string stderr_tail() const;

 private:
  class Stdout final : public io::ReadOp {
   public:
    explicit Stdout(LineProcess& owner) : owner_(owner) {}
    void on_read(std::span<char> bytes) override;
    void on_read_end(int error) override;

   private:
    LineProcess& owner_;
  };
  class Stdin final : public io::WriteOp {
   public:
    explicit Stdin(LineProcess& owner) : owner_(owner) {}
    void on_written(int error) override;

   private:
    LineProcess& owner_;
  };

  struct Refusal final : Runnable {
    explicit Refusal(LineProcess& owner) : owner(owner) {}
    void run() override { owner.on_start_failed(std::move(error)); }
    LineProcess& owner;
    Error error;
  };

  void on_started() override;
  void on_start_failed(Error error) override;
  void on_stderr(std::string_view bytes) override;
  void on_exit(io::ExitStatus status) override;
  void on_line(Line& line) override { peer_.on_line(line); }
  void on_overlong(std::uint64_t total_bytes, std::string_view head) override {
    peer_.on_overlong(total_bytes, head);
  }
  void on_grace_over();
  void write_more();
  void kill();
  void close_stdin();
  void check_closed();

  io::Platform& platform_;
  io::Reactor& reactor_;
  LinePeer& peer_;
  LineProcessLimits limits_;
  std::unique_ptr<io::Process> process_;
  std::shared_ptr<void> held_;
  io::ProcessId id_;
  io::ExitStatus status_;
  LineFramer framer_;
  Stdout stdout_{*this};
  Stdin stdin_{*this};
  io::MemberTimer<&LineProcess::on_grace_over> grace_{
      *this};  // after end(): kill; after the exit: stop waiting for end of stream
  Event started_;
  Event closed_;
  Refusal refusal_{*this};  // by spawn() itself
  std::optional<Error> start_failure_;
  std::string outgoing_;  // queued behind what is being written
  std::string writing_;
  iovec writing_part_{};
  std::string stderr_tail_;
  std::uint64_t bytes_taken_ = 0;
  bool stdin_closing_ = false;
  bool stdout_ended_ = true;
  bool exited_ = true;
  bool ending_ = false;
  bool read_since_exit_ = false;
};

}  // namespace berth::server
