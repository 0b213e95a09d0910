#include <berth/io/port.h>

#include <berth/core/scope.h>
#include <berth/core/sync.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace berth::inline v0::io {

namespace {

/// What is handed to a stream at a time: one TLS record of gathered parts, or a few of one part.
constexpr std::size_t kGatherBytes = 16 * 1024;
constexpr std::size_t kPieceBytes = 64 * 1024;

class HandlePort final : public Port {
 public:
  HandlePort(Reactor& reactor, Handle handle) : reactor_(reactor), handle_(handle) {}

  void start(ReadOp& op) override {
    op.handle = handle_;
    reactor_.start(op);
  }
  void start(WriteOp& op) override {
    op.handle = handle_;
    reactor_.start(op);
  }
  void pause(ReadOp& op) override { reactor_.pause(op); }
  void resume(ReadOp& op) override { reactor_.resume(op); }
  void cancel(ReadOp& op) override { reactor_.cancel(op); }
  void cancel(WriteOp& op) override { reactor_.cancel(op); }
  void shutdown_write() override { reactor_.shutdown_write(handle_); }
  Task<void> close() override {
    if (handle_ != kNoHandle) reactor_.close(std::exchange(handle_, kNoHandle));
    co_return;
  }

 private:
  Reactor& reactor_;
  Handle handle_;
};

int errno_of(const Error& error) {
  if (error.errno_value != 0) return error.errno_value;
  if (error.kind == ErrorKind::cancelled) return ECANCELED;
  return error.kind == ErrorKind::unavailable ? ECONNRESET : EPROTO;
}

class StreamPort final : public Port {
 public:
  StreamPort(Reactor& reactor, std::unique_ptr<ByteStream> stream)
      : stream_(std::move(stream)),
        read_changed_(reactor),
        write_wanted_(reactor),
        scope_(reactor) {}

  void start(ReadOp& op) override {
    BERTH_ASSERT(reading_ == nullptr && !op.started());
    OpAccess::started(op) = true;
    reading_ = &op;
    paused_ = false;
    if (!pumping_reads_) {
      pumping_reads_ = true;
      scope_.spawn(pump_reads());
    }
    read_changed_.set();
  }
  void pause(ReadOp&) override { paused_ = true; }
  void resume(ReadOp&) override {
    paused_ = false;
    read_changed_.set();
  }
  void cancel(ReadOp& op) override {
    if (!op.started()) return;
    read_cancelled_ = true;
    stream_->cancel_read();
    read_changed_.set();
  }
  void start(WriteOp& op) override {
    BERTH_ASSERT(writing_ == nullptr && !op.started());
    OpAccess::started(op) = true;
    writing_ = &op;
    if (!pumping_writes_) {
      pumping_writes_ = true;
      scope_.spawn(pump_writes());
    }
    write_wanted_.set();
  }
  void cancel(WriteOp& op) override {
    if (!op.started()) return;
    write_cancelled_ = true;
    stream_->cancel_write();
  }
  void shutdown_write() override { stream_->shutdown_write(); }
  Task<void> close() override {
    BERTH_ASSERT(reading_ == nullptr && writing_ == nullptr);
    closing_ = true;
    read_changed_.set();
    write_wanted_.set();
    co_await stream_->close();
    co_await scope_.join();
  }

 private:
  Task<void> pump_reads();
  Task<void> pump_writes();
  Task<int> perform(WriteOp* op);
  std::string_view next_piece(const WriteOp& op);
  void end_read(int error) {
    ReadOp& op = *std::exchange(reading_, nullptr);
    OpAccess::started(op) = false;
    op.on_read_end(error);
  }

  std::unique_ptr<ByteStream> stream_;
  Event read_changed_;
  ReadOp* reading_ = nullptr;
  bool pumping_reads_ = false;
  bool paused_ = false;
  bool read_cancelled_ = false;

  Event write_wanted_;
  WriteOp* writing_ = nullptr;
  std::string gathered_;
  bool pumping_writes_ = false;
  bool write_cancelled_ = false;

  Scope scope_;
  bool closing_ = false;
};

Task<void> StreamPort::pump_reads() {
  // Never inside the call that started the operation.
  read_changed_.reset();
  co_await read_changed_.wait();
  for (;;) {
    while (!closing_ && (reading_ == nullptr || (paused_ && !read_cancelled_))) {
      read_changed_.reset();
      co_await read_changed_.wait();
    }
    if (reading_ == nullptr) co_return;
    Result<std::string_view> bytes = co_await stream_->read();
    if (!bytes.has_value()) {
      end_read(errno_of(bytes.error()));
      continue;
    }
    if (bytes->empty()) {
      end_read(0);
      continue;
    }
    while (paused_ && !read_cancelled_) {
      read_changed_.reset();
      co_await read_changed_.wait();
    }
    // The stream's own buffer, whose bytes it does not look at again.
    reading_->on_read(std::span(const_cast<char*>(bytes->data()), bytes->size()));
  }
}

Task<void> StreamPort::pump_writes() {
  write_wanted_.reset();
  co_await write_wanted_.wait();
  for (;;) {
    while (writing_ == nullptr && !closing_) {
      write_wanted_.reset();
      co_await write_wanted_.wait();
    }
    if (writing_ == nullptr) co_return;
    const int error = co_await perform(writing_);
    if (gathered_.capacity() > kGatherBytes / 4) gathered_ = std::string();
    WriteOp& op = *std::exchange(writing_, nullptr);
    OpAccess::started(op) = false;
    op.on_written(error);
  }
}

Task<int> StreamPort::perform(WriteOp* op) {
  while (!op->parts.empty()) {
    if (write_cancelled_) co_return ECANCELED;
    const std::string_view piece = next_piece(*op);
    Result<void> sent = co_await stream_->write(piece);
    if (!sent.has_value()) co_return errno_of(sent.error());
    op->written += piece.size();
    for (std::size_t left = piece.size(); left > 0 || !op->parts.empty();) {
      iovec& part = op->parts.front();
      const std::size_t taken = std::min(left, part.iov_len);
      part.iov_base = static_cast<char*>(part.iov_base) + taken;
      part.iov_len -= taken;
      left -= taken;
      if (part.iov_len > 0) break;
      op->parts = op->parts.subspan(1);
    }
  }
  co_return 0;
}

// Of the first part alone if it is large or the last, else as many parts as go into one record.
std::string_view StreamPort::next_piece(const WriteOp& op) {
  const iovec& first = op.parts.front();
  if (op.parts.size() == 1 || first.iov_len >= kGatherBytes) {
    return {static_cast<const char*>(first.iov_base), std::min(first.iov_len, kPieceBytes)};
  }
  gathered_.clear();
  for (const iovec& part : op.parts) {
    const std::size_t room = kGatherBytes - gathered_.size();
    gathered_.append(static_cast<const char*>(part.iov_base), std::min(room, part.iov_len));
    if (gathered_.size() == kGatherBytes) break;
  }
  return gathered_;
}

}  // namespace

std::unique_ptr<Port> make_handle_port(Reactor& reactor, Handle handle) {
  return std::make_unique<HandlePort>(reactor, handle);
}

std::unique_ptr<Port> make_stream_port(Reactor& reactor, std::unique_ptr<ByteStream> stream) {
  return std::make_unique<StreamPort>(reactor, std::move(stream));
}

}  // namespace berth::inline v0::io
