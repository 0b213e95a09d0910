#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/io/member_timer.h>
#include <berth/io/tls.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kRecordBytes = 16 * 1024;  // most plain text of one TLS record
/// Buffers above this are given back when they are empty.
constexpr std::size_t kKeptBytes = 4096;

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

/// What OpenSSL reads and writes: a view of received bytes, and a string to send.
struct Wire {
  std::string_view in;
  std::string out;

  static int read(BIO* bio, char* to, int size) {
    Wire& wire = *static_cast<Wire*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (wire.in.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const std::size_t count = std::min(static_cast<std::size_t>(size), wire.in.size());
    std::memcpy(to, wire.in.data(), count);
    wire.in.remove_prefix(count);
    return static_cast<int>(count);
  }
  static int write(BIO* bio, const char* from, int size) {
    static_cast<Wire*>(BIO_get_data(bio))->out.append(from, static_cast<std::size_t>(size));
    return size;
  }
  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
};

// Immutable once made, as a table of functions is.
const BIO_METHOD* wire_method() {
  static const BIO_METHOD* const kMethod = [] {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "berth wire");
    BIO_meth_set_read(method, &Wire::read);
    BIO_meth_set_write(method, &Wire::write);
    BIO_meth_set_ctrl(method, &Wire::control);
    return method;
  }();
  return kMethod;
}

/// Why the last call failed; empties OpenSSL's queue.
Error explain(SSL* ssl, const char* doing) {
  const std::string prefix = std::string(doing) + ": ";
  const unsigned long code = ERR_get_error();
  bool verify_failed = false;  // may stand behind what made it fail, such as a wrong signature
  for (unsigned long at = code; at != 0; at = ERR_get_error()) {
    verify_failed = verify_failed || ERR_GET_REASON(at) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  }
  if (code == 0) {
    return make_error(ErrorKind::unavailable, "tls_failed", prefix + "TLS failed");
  }
  if (verify_failed) {
    return make_error(ErrorKind::denied, "tls_certificate",
                      prefix + X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
  }
  const char* words = ERR_reason_error_string(code);
  // The alerts by which a peer says that it does not like our certificate (RFC 8446, 6.2).
  const int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;
  const bool refused = alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_UNKNOWN_CA &&
                       alert != SSL_AD_ILLEGAL_PARAMETER;
  return make_error(refused ? ErrorKind::denied : ErrorKind::unavailable,
                    refused ? "tls_certificate" : "tls_failed",
                    prefix + (words == nullptr ? "TLS failed" : words));
}

Error truncated() {
  return make_error(ErrorKind::unavailable, "tls_truncated",
                    "the connection ended without TLS's close_notify: it may have been cut off");
}

Error cancelled(const char* what) {
  return make_error(ErrorKind::cancelled, "cancelled", what);
}

class TlsStream final : public ByteStream {
 public:
  TlsStream(Reactor& reactor, std::unique_ptr<ByteStream> inner)
      : reactor_(reactor),
        inner_(std::move(inner)),
        read_wanted_(reactor),
        flush_wanted_(reactor),
        flush_done_(reactor),
        write_over_(reactor),
        scope_(reactor),
        goodbye_(*this) {}
  ~TlsStream() override { BERTH_ASSERT(closed_); }

  Result<void> prepare(const TlsContext& context, const TlsHandshake& handshake);
  Task<Result<void>> shake_hands(TlsHandshake* handshake, StopToken stop);

  Task<Result<void>> write(std::string_view bytes) override;
  void cancel_read() override;
  void cancel_write() override {
    if (writing_) give_up_writing();
  }
  void shutdown_write() override;
  Task<void> close() override;

 protected:
  bool read_ready() override;
  void read_suspend(std::coroutine_handle<> handle) override {
    reader_ = handle;
    read_wanted_.set();
  }
  Result<std::string_view> take_read() override;

 private:
  /// Ends what the handshake waits for at its deadline or when it is asked to stop.
  class Watch final : public TimerOp, public StopListener {
   public:
    explicit Watch(TlsStream& stream) : stream_(stream) {}
    void on_timer() override { interrupt(timed_out); }
    void on_stop() override { interrupt(stopped); }
    bool timed_out = false;
    bool stopped = false;

   private:
    void interrupt(bool& why) {
      why = true;
      stream_.inner_->cancel_read();
      stream_.inner_->cancel_write();
    }
    TlsStream& stream_;
  };

  Task<Result<void>> take_steps(const Watch* watch);
  Task<Result<void>> send_out();
  Result<void> name_peer(const std::string& host);
  Task<Result<void>> write_all(std::string_view bytes);
  Task<Result<void>> flushed();
  Task<void> pump_reads();
  Task<void> pump_writes();
  void decrypt();
  void end_reads(Error error);
  void say_goodbye();
  void give_up_writing();
  void wake_reader();
  // Our own writes stop at kTlsOutMax. Reading stops later, so that two ends that both write do
  // not wait for each other: only a peer that makes us answer gets there.
  bool full() const { return wire_.out.size() >= kTlsOutMax; }
  bool overfull() const {
    return wire_.out.size() >= 2 * kTlsOutMax && !write_failure_.has_value();
  }

  Reactor& reactor_;
  std::unique_ptr<ByteStream> inner_;
  Wire wire_;
  std::unique_ptr<SSL, FreeSsl> ssl_;

  Event read_wanted_;
  std::unique_ptr<char[]> plain_;
  std::string_view chunk_;  // what the reader gets next, in plain_
  std::coroutine_handle<> reader_;
  ResumeLater resume_reader_;
  std::optional<Error> read_failure_;
  bool read_over_ = false;
  bool read_cancelled_ = false;

  Event flush_wanted_;
  Event flush_done_;
  Event write_over_;
  std::string sending_;
  std::optional<Error> write_failure_;
  bool flushing_ = false;
  bool writing_ = false;
  bool said_goodbye_ = false;

  Scope scope_;
  MemberTimer<&TlsStream::give_up_writing> goodbye_;
  bool closing_ = false;
  bool closed_ = false;
};

// --- the handshake ---

Result<void> TlsStream::prepare(const TlsContext& context, const TlsHandshake& handshake) {
  ERR_clear_error();
  ssl_.reset(context.new_connection());
  BIO* bio = ssl_ == nullptr ? nullptr : BIO_new(wire_method());
  if (bio == nullptr) return fail(ErrorKind::internal, "tls_failed", "OpenSSL has no memory");
  BIO_set_data(bio, &wire_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  if (context.is_server()) {
    SSL_set_accept_state(ssl_.get());
    return {};
  }
  SSL_set_connect_state(ssl_.get());
  return name_peer(handshake.host);
}

Result<void> TlsStream::name_peer(const std::string& name) {
  std::string host = name;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.ends_with('.')) host.pop_back();
  if (host.empty()) {
    return fail(ErrorKind::invalid, "bad_host", "TLS needs the name that the server must prove");
  }
  X509_VERIFY_PARAM* expected = SSL_get0_param(ssl_.get());
  // An address is no name: it is looked for among the certificate's addresses, and never sent.
  if (X509_VERIFY_PARAM_set1_ip_asc(expected, host.c_str()) == 1) return {};
  ERR_clear_error();
  X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_host(expected, host.c_str(), host.size()) == 1 &&
      SSL_set_tlsext_host_name(ssl_.get(), host.c_str()) == 1) {
    return {};
  }
  ERR_clear_error();
  return fail(ErrorKind::invalid, "bad_host", "'" + name + "' is no host name");
}

Task<Result<void>> TlsStream::shake_hands(TlsHandshake* handshake, StopToken stop) {
  Watch watch(*this);
  if (handshake->deadline != TimePoint::max()) reactor_.arm(watch, handshake->deadline);
  stop.listen(watch);
  Result<void> shaken = co_await take_steps(&watch);
  reactor_.disarm(watch);
  if (watch.timed_out) {
    co_return fail(ErrorKind::timed_out, "tls_deadline", "the TLS handshake took too long");
  }
  if (watch.stopped) co_return fail(cancelled("the TLS handshake was cancelled"));
  if (!shaken.has_value()) co_return shaken;
  scope_.spawn(pump_reads());
  scope_.spawn(pump_writes());
  co_return shaken;
}

Task<Result<void>> TlsStream::take_steps(const Watch* watch) {
  while (!watch->stopped && !watch->timed_out) {
    ERR_clear_error();
    const int status = SSL_do_handshake(ssl_.get());
    const int why = SSL_get_error(ssl_.get(), status);
    Result<void> result;
    if (status != 1 && why != SSL_ERROR_WANT_READ) {
      result = fail(explain(ssl_.get(), "TLS handshake"));
    }
    // Before anything else: this may be the alert that tells the peer what was wrong.
    Result<void> sent = co_await send_out();
    if (status == 1 || !result.has_value()) co_return result;
    Result<std::string_view> bytes = co_await inner_->read();
    if (!bytes.has_value()) co_return fail(std::move(bytes.error()));
    if (bytes->empty()) {
      co_return fail(ErrorKind::unavailable, "tls_failed",
                     "TLS handshake: the peer closed the connection");
    }
    if (!sent.has_value()) co_return sent;
    wire_.in = *bytes;
  }
  co_return Result<void>();
}

Task<Result<void>> TlsStream::send_out() {
  if (wire_.out.empty()) co_return Result<void>();
  std::swap(wire_.out, sending_);
  Result<void> sent = co_await inner_->write(sending_);
  sending_.clear();
  co_return sent;
}

// --- reading ---

void TlsStream::decrypt() {
  if (plain_ == nullptr) plain_ = std::make_unique<char[]>(kRecordBytes + kReadPadding);
  ERR_clear_error();
  const int count = SSL_read(ssl_.get(), plain_.get(), static_cast<int>(kRecordBytes));
  if (count > 0) {
    chunk_ = std::string_view(plain_.get(), static_cast<std::size_t>(count));
  } else {
    const int why = SSL_get_error(ssl_.get(), count);
    if (why == SSL_ERROR_ZERO_RETURN) {
      read_over_ = true;
    } else if (why != SSL_ERROR_WANT_READ) {
      end_reads(explain(ssl_.get(), "reading TLS"));
    }
  }
  if (write_failure_.has_value()) wire_.out.clear();
  if (!wire_.out.empty()) flush_wanted_.set();
}

bool TlsStream::read_ready() {
  BERTH_ASSERT(!reader_ && !closing_);
  chunk_ = {};
  if (read_cancelled_ || read_over_ || read_failure_.has_value()) return true;
  if (!overfull()) decrypt();
  return !chunk_.empty() || read_over_ || read_failure_.has_value();
}

Result<std::string_view> TlsStream::take_read() {
  if (!chunk_.empty()) return chunk_;
  if (read_cancelled_) return fail(cancelled("the read was cancelled"));
  if (read_over_) return std::string_view();
  return fail(*read_failure_);
}

Task<void> TlsStream::pump_reads() {
  for (;;) {
    while (!reader_ && !closing_) {
      read_wanted_.reset();
      co_await read_wanted_.wait();
    }
    // A peer that makes us answer (key updates) and does not read the answers has to wait.
    while (overfull() && !closing_) {
      flush_done_.reset();
      co_await flush_done_.wait();
    }
    if (closing_) co_return;
    if (reader_ && wire_.in.empty()) {
      Result<std::string_view> bytes = co_await inner_->read();
      if (!bytes.has_value()) {
        end_reads(std::move(bytes.error()));
      } else if (bytes->empty()) {
        end_reads(truncated());
      } else {
        wire_.in = *bytes;
      }
    }
    if (!reader_) continue;
    if (!read_failure_.has_value()) decrypt();
    if (!chunk_.empty() || read_over_ || read_failure_.has_value()) wake_reader();
  }
}

void TlsStream::end_reads(Error error) {
  if (!read_failure_.has_value()) read_failure_ = std::move(error);
}

void TlsStream::wake_reader() {
  if (reader_) resume_reader_.arm(reactor_, std::exchange(reader_, nullptr));
}

void TlsStream::cancel_read() {
  if (read_cancelled_) return;
  read_cancelled_ = true;
  inner_->cancel_read();
  wake_reader();
}

// --- writing ---

Task<Result<void>> TlsStream::write(std::string_view bytes) {
  BERTH_ASSERT(!writing_);
  if (closing_ || said_goodbye_) {
    co_return fail(cancelled("the stream is closed for writing"));
  }
  writing_ = true;
  Result<void> written = co_await write_all(bytes);
  writing_ = false;
  write_over_.set();
  co_return written;
}

Task<Result<void>> TlsStream::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    if (write_failure_.has_value()) co_return fail(*write_failure_);
    ERR_clear_error();
    const int count =
        SSL_write(ssl_.get(), bytes.data(), static_cast<int>(std::min(bytes.size(), kRecordBytes)));
    if (count <= 0) co_return fail(explain(ssl_.get(), "writing TLS"));
    bytes.remove_prefix(static_cast<std::size_t>(count));
    if (!bytes.empty() && !full()) continue;
    Result<void> sent = co_await flushed();
    if (!sent.has_value()) co_return sent;
  }
  co_return Result<void>();
}

// Until the kernel has taken all that there is.
Task<Result<void>> TlsStream::flushed() {
  while (!write_failure_.has_value() && (flushing_ || !wire_.out.empty())) {
    flush_wanted_.set();
    flush_done_.reset();
    co_await flush_done_.wait();
  }
  if (write_failure_.has_value()) co_return fail(*write_failure_);
  co_return Result<void>();
}

Task<void> TlsStream::pump_writes() {
  for (;;) {
    while (wire_.out.empty() && !closing_) {
      flush_wanted_.reset();
      co_await flush_wanted_.wait();
    }
    if (wire_.out.empty() || write_failure_.has_value()) co_return;
    flushing_ = true;
    Result<void> sent = co_await send_out();
    flushing_ = false;
    if (sending_.capacity() > kKeptBytes) sending_ = std::string();
    if (!sent.has_value()) write_failure_ = std::move(sent.error());
    if (said_goodbye_ && wire_.out.empty() && sent.has_value()) inner_->shutdown_write();
    flush_done_.set();
    if (write_failure_.has_value()) co_return;
  }
}

void TlsStream::give_up_writing() {
  if (!write_failure_.has_value()) write_failure_ = cancelled("the write was cancelled");
  inner_->cancel_write();
  flush_wanted_.set();
  flush_done_.set();
}

void TlsStream::shutdown_write() {
  BERTH_ASSERT(!writing_);
  if (!closing_) say_goodbye();
}

void TlsStream::say_goodbye() {
  if (said_goodbye_ || write_failure_.has_value()) return;
  said_goodbye_ = true;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());  // 0: the peer has not said it yet; after a failure it says nothing
  ERR_clear_error();
  flush_wanted_.set();
}

// --- the end ---

Task<void> TlsStream::close() {
  if (std::exchange(closing_, true)) co_return;
  cancel_read();
  const bool shaken = scope_.size() > 0;
  if (shaken && !writing_) {
    say_goodbye();
    reactor_.arm(goodbye_, reactor_.clock().now() + kTlsGoodbyeMax);
    Result<void> sent = co_await flushed();
    static_cast<void>(sent);
    reactor_.disarm(goodbye_);
  }
  if (writing_) give_up_writing();
  read_wanted_.set();
  flush_wanted_.set();
  flush_done_.set();
  co_await inner_->close();
  co_await scope_.join();
  if (writing_) {
    write_over_.reset();
    co_await write_over_.wait();
  }
  closed_ = true;
}

}  // namespace

Task<Result<std::unique_ptr<ByteStream>>> make_tls_stream(Reactor* reactor,
                                                          const TlsContext* context,
                                                          std::unique_ptr<ByteStream> inner,
                                                          TlsHandshake handshake, StopToken stop) {
  auto stream = std::make_unique<TlsStream>(*reactor, std::move(inner));
  Result<void> ready = stream->prepare(*context, handshake);
  if (ready.has_value()) ready = co_await stream->shake_hands(&handshake, stop);
  if (!ready.has_value()) {
    co_await stream->close();
    co_return fail(std::move(ready.error()));
  }
  co_return std::unique_ptr<ByteStream>(std::move(stream));
}

}  // namespace berth::inline v0::io
