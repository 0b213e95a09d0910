// io/tls.h — TLS over any byte stream, by OpenSSL on memory: it never sees a descriptor.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/result.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/stream.h>

#include <memory>
#include <string>

struct ssl_st;  // OpenSSL's SSL

namespace berth::inline v0::io {

/// What a server shows: PEM files, read once by make_server_tls() and again by reload().
struct TlsServerFiles {
  std::string certificate_chain;  ///< The server's certificate first, then the intermediate ones.
  std::string private_key;        ///< Not encrypted: nobody is asked for a passphrase.
};

/// Whom a client believes.
struct TlsClientTrust {
  /// A PEM file of authorities; empty: those that the system trusts (OpenSSL's default paths and
  /// its SSL_CERT_FILE and SSL_CERT_DIR).
  std::string ca_file;
};

/// Keys, certificates and rules that many connections share: TLS 1.2 or 1.3, ALPN `http/1.1`, no
/// renegotiation, no compression. Thread-safe. Outlives the handshakes that use it, not the
/// streams.
class TlsContext {
 public:
  /// Both block (they read files). Errors, in words, with the path: of the file, or
  /// `invalid` ("bad_tls_files").
  static Result<std::unique_ptr<TlsContext>> make_server(TlsServerFiles files);
  static Result<std::unique_ptr<TlsContext>> make_client(TlsClientTrust trust = {});
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  /// Reads the files again (blocks): later handshakes use what they hold now, connections go on
  /// with what they have. After an error everything stays as it was.
  Result<void> reload();

  bool is_server() const;
  /// For the stream alone: a new connection's state, owned by the caller.
  ssl_st* new_connection() const;

 private:
  struct Shared;
  explicit TlsContext(std::unique_ptr<Shared> shared);
  std::unique_ptr<Shared> shared_;
};

struct TlsHandshake {
  /// Client only: the name or address (`[::1]` too) that the certificate must be for. A name is
  /// also sent (SNI). Must not be empty: there is no way to trust just anybody.
  std::string host;
  TimePoint deadline = TimePoint::max();
};

/// Shakes hands over `inner`, as server or client as `context` says, and gives a stream of what is
/// inside of TLS. Its promises are those of ByteStream, and:
///
/// - The end of the stream is the peer's close_notify. An end of the connection without it is an
///   error, `unavailable` ("tls_truncated"): somebody may have cut the rest off.
/// - shutdown_write() sends our close_notify, then ends our half of the connection.
/// - close() sends it too if it was not, for at most kTlsGoodbyeMax; then it closes `inner`.
/// - At most about two times kTlsOutMax bytes of ciphertext wait to be written and as many are on
///   their way; of what was received it holds what one read of `inner` gave.
///
/// Errors: `timed_out` ("tls_deadline"), `cancelled`, `denied` ("tls_certificate": ours was refused
/// or the peer's is bad, in words such as "certificate has expired"), `unavailable` ("tls_failed":
/// the peer speaks no TLS or another one, or went away). After an error `inner` is closed.
///
/// The asymmetric arithmetic runs on the caller's shard: 0.1 to 1 ms. Reactor and context outlive
/// the stream and the task respectively.
Task<Result<std::unique_ptr<ByteStream>>> make_tls_stream(Reactor* reactor,
                                                          const TlsContext* context,
                                                          std::unique_ptr<ByteStream> inner,
                                                          TlsHandshake handshake,
                                                          StopToken stop = {});

inline constexpr std::size_t kTlsOutMax = 64 * 1024;
inline constexpr Duration kTlsGoodbyeMax = std::chrono::milliseconds(200);

}  // namespace berth::inline v0::io
