#include <berth/io/stream.h>

#include <berth/core/sync.h>

#include <cerrno>
#include <utility>

namespace berth::inline v0::io {

namespace {

/// A buffer above this is given back when it has become much too large for what flows.
constexpr std::size_t kKeptBytes = 16 * 1024;

class HandleStream final : public ByteStream {
 public:
  HandleStream(Reactor& reactor, Handle read_handle, Handle write_handle, std::size_t inbox_max)
      : reactor_(reactor),
        inbox_max_(inbox_max),
        changed_(reactor),
        reading_(*this),
        writing_(*this) {
    BERTH_ASSERT(inbox_max > 0);
    reading_.handle = read_handle;
    reading_.turn_budget = inbox_max;
    writing_.handle = write_handle;
  }
  ~HandleStream() override {
    BERTH_ASSERT(!reading_.started() && !writing_.started());  // close() was not awaited
    close_handles();
  }

  Task<Result<void>> write(std::string_view bytes) override;
  void cancel_read() override;
  void cancel_write() override {
    if (writing_.started()) reactor_.cancel(writing_);
  }
  void shutdown_write() override;
  Task<void> close() override;

 protected:
  bool read_ready() override;
  void read_suspend(std::coroutine_handle<> handle) override { reader_ = handle; }
  Result<std::string_view> take_read() override;

 private:
  class Reading final : public ReadOp {
   public:
    explicit Reading(HandleStream& stream) : stream_(stream) {}
    void on_read(std::span<char> bytes) override { stream_.keep(bytes); }
    void on_read_end(int error) override { stream_.read_ended(error); }

   private:
    HandleStream& stream_;
  };
  class Writing final : public WriteOp {
   public:
    explicit Writing(HandleStream& stream) : stream_(stream) {}
    void on_written(int error) override { stream_.write_ended(error); }

   private:
    HandleStream& stream_;
  };
  struct WriteAwaiter {
    HandleStream& stream;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      stream.writer_ = handle;
      stream.reactor_.start(stream.writing_);
    }
    int await_resume() const noexcept { return stream.write_error_; }
  };

  void keep(std::span<char> bytes);
  void hand_over(std::span<char> bytes);
  void read_ended(int error);
  void write_ended(int error);
  void wake_reader();
  void close_handles();

  Reactor& reactor_;
  const std::size_t inbox_max_;
  Event changed_;  // an operation ended: close() looks again

  Reading reading_;
  std::string inbox_;  // bytes that nobody asked for yet, without their padding
  std::string taken_;  // bytes that the last read() gave out
  bool read_begun_ = false;
  bool read_over_ = false;  // on_read_end was called
  bool read_cancelled_ = false;
  bool handed_ = false;  // the reader's answer is in taken_ already
  int read_error_ = 0;
  std::coroutine_handle<> reader_;
  ResumeLater resume_reader_;

  Writing writing_;
  iovec part_ = {};
  int write_error_ = 0;
  std::coroutine_handle<> writer_;
  bool closed_ = false;
};

// --- reading ---

bool HandleStream::read_ready() {
  BERTH_ASSERT(!reader_ && !closed_);
  if (!inbox_.empty() || read_over_ || read_cancelled_) return true;
  if (!read_begun_) {
    read_begun_ = true;
    reactor_.start(reading_);
  }
  return false;
}

Result<std::string_view> HandleStream::take_read() {
  if (std::exchange(handed_, false)) return std::string_view(taken_);
  if (!inbox_.empty() && !read_cancelled_) {
    const bool was_full = inbox_.size() >= inbox_max_;
    taken_.clear();
    if (taken_.capacity() > kKeptBytes && inbox_.size() < kKeptBytes / 4) taken_.shrink_to_fit();
    std::swap(inbox_, taken_);
    taken_.reserve(taken_.size() + kReadPadding);
    reading_.turn_budget = inbox_max_;
    if (was_full && reading_.started()) reactor_.resume(reading_);
    return std::string_view(taken_);
  }
  if (read_cancelled_) return fail(ErrorKind::cancelled, "cancelled", "the read was cancelled");
  if (read_error_ == 0) return std::string_view();
  return fail(errno_error(read_error_, "reading"));
}

// Somebody who waits gets the bytes now, while they are in the nearest cache, and into the buffer
// of their last read, which they are done with: half the memory of a detour through the inbox. The
// stream outlives this call: close() waits for the end of the operation that made it.
void HandleStream::hand_over(std::span<char> bytes) {
  if (taken_.capacity() > kKeptBytes && bytes.size() < kKeptBytes / 4) taken_ = std::string();
  taken_.reserve(bytes.size() + kReadPadding);
  taken_.assign(bytes.data(), bytes.size());
  handed_ = true;
  std::exchange(reader_, nullptr).resume();
}

void HandleStream::keep(std::span<char> bytes) {
  if (reader_) return hand_over(bytes);
  inbox_.reserve(inbox_.size() + bytes.size() + kReadPadding);
  inbox_.append(bytes.data(), bytes.size());
  if (inbox_.size() >= inbox_max_) {
    reactor_.pause(reading_);
  } else {
    reading_.turn_budget = inbox_max_ - inbox_.size();
  }
}

void HandleStream::read_ended(int error) {
  read_over_ = true;
  read_error_ = error;
  wake_reader();
  changed_.set();
}

void HandleStream::wake_reader() {
  if (!reader_) return;
  resume_reader_.arm(reactor_, std::exchange(reader_, nullptr));
}

void HandleStream::cancel_read() {
  if (read_cancelled_) return;
  read_cancelled_ = true;
  wake_reader();
  if (reading_.started()) reactor_.cancel(reading_);
}

// --- writing ---

Task<Result<void>> HandleStream::write(std::string_view bytes) {
  BERTH_ASSERT(!writing_.started());
  if (closed_ || writing_.handle == kNoHandle) {
    co_return fail(ErrorKind::cancelled, "cancelled", "the stream is closed for writing");
  }
  part_ = iovec{const_cast<char*>(bytes.data()), bytes.size()};
  writing_.parts = std::span(&part_, 1);
  const int error = co_await WriteAwaiter{*this};
  if (error == 0) co_return Result<void>();
  co_return fail(errno_error(error, "writing"));
}

void HandleStream::write_ended(int error) {
  write_error_ = error;
  changed_.set();
  // Last: the writer may be the one who destroys the stream.
  std::exchange(writer_, nullptr).resume();
}

void HandleStream::shutdown_write() {
  if (closed_ || writing_.handle == kNoHandle) return;
  if (writing_.handle == reading_.handle) {
    reactor_.shutdown_write(writing_.handle);
    return;
  }
  // A pipe has no half: its write end is closed.
  BERTH_ASSERT(!writing_.started());
  reactor_.close(std::exchange(writing_.handle, kNoHandle));
}

// --- the end ---

Task<void> HandleStream::close() {
  cancel_read();
  closed_ = true;
  if (writing_.started()) reactor_.cancel(writing_);
  while (reading_.started() || writing_.started()) {
    changed_.reset();
    co_await changed_.wait();
  }
  close_handles();
}

void HandleStream::close_handles() {
  if (writing_.handle != reading_.handle && writing_.handle != kNoHandle) {
    reactor_.close(writing_.handle);
  }
  if (reading_.handle != kNoHandle) reactor_.close(reading_.handle);
  reading_.handle = writing_.handle = kNoHandle;
}

}  // namespace

std::unique_ptr<ByteStream> make_stream(Reactor& reactor, Handle handle, StreamLimits limits) {
  return make_duplex_stream(reactor, handle, handle, limits);
}

std::unique_ptr<ByteStream> make_duplex_stream(Reactor& reactor, Handle read_handle,
                                               Handle write_handle, StreamLimits limits) {
  return std::make_unique<HandleStream>(reactor, read_handle, write_handle, limits.inbox_max);
}

}  // namespace berth::inline v0::io
