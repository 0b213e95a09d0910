#include <berth/io/tls.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <array>
#include <mutex>
#include <string_view>
#include <utility>

namespace berth::inline v0::io {

namespace {

constexpr std::array<unsigned char, 9> kAlpn = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using ContextPtr = std::unique_ptr<SSL_CTX, FreeContext>;

tl::unexpected<Error> bad_files(const std::string& what) {
  const unsigned long code = ERR_get_error();  // the first, which is the cause
  ERR_clear_error();
  if (ERR_SYSTEM_ERROR(code)) {
    return fail(errno_error(ERR_GET_REASON(code), what));
  }
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return fail(ErrorKind::invalid, "bad_tls_files",
              what + ": " + (reason == nullptr ? "OpenSSL does not say why" : reason));
}

// Without this OpenSSL asks on the terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

// RFC 7301: who offers protocols and not ours is told so; who offers none speaks HTTP/1.1.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* chosen = nullptr;
  const int found =
      SSL_select_next_proto(&chosen, out_size, kAlpn.data(), kAlpn.size(), offered, offered_size);
  if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Result<ContextPtr> make_context(const SSL_METHOD* method) {
  ERR_clear_error();
  ContextPtr context(SSL_CTX_new(method));
  if (context == nullptr) return bad_files("OpenSSL");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Tickets do without a cache, which would grow.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_default_passwd_cb(context.get(), &no_passphrase);
  return context;
}

Result<ContextPtr> server_context(const TlsServerFiles& files) {
  Result<ContextPtr> context = make_context(TLS_server_method());
  if (!context.has_value()) return context;
  SSL_CTX* raw = context->get();
  if (SSL_CTX_use_certificate_chain_file(raw, files.certificate_chain.c_str()) != 1) {
    return bad_files("certificate chain " + files.certificate_chain);
  }
  if (SSL_CTX_use_PrivateKey_file(raw, files.private_key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return bad_files("private key " + files.private_key);
  }
  if (SSL_CTX_check_private_key(raw) != 1) {
    return bad_files("private key " + files.private_key + " and certificate chain " +
                     files.certificate_chain);
  }
  SSL_CTX_set_alpn_select_cb(raw, &choose_protocol, nullptr);
  return context;
}

Result<ContextPtr> client_context(const TlsClientTrust& trust) {
  Result<ContextPtr> context = make_context(TLS_client_method());
  if (!context.has_value()) return context;
  SSL_CTX* raw = context->get();
  const int loaded = trust.ca_file.empty() ? SSL_CTX_set_default_verify_paths(raw)
                                           : SSL_CTX_load_verify_file(raw, trust.ca_file.c_str());
  if (loaded != 1) return bad_files("authorities " + trust.ca_file);
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_alpn_protos(raw, kAlpn.data(), kAlpn.size());
  return context;
}

}  // namespace

struct TlsContext::Shared {
  bool server = false;
  TlsServerFiles files;
  TlsClientTrust trust;
  mutable std::mutex mutex;  // guards the pointer; what it points to is OpenSSL's and thread-safe
  ContextPtr context;

  Result<ContextPtr> load() const { return server ? server_context(files) : client_context(trust); }
};

TlsContext::TlsContext(std::unique_ptr<Shared> shared) : shared_(std::move(shared)) {}
TlsContext::~TlsContext() = default;

Result<std::unique_ptr<TlsContext>> TlsContext::make_server(TlsServerFiles files) {
  auto shared = std::make_unique<Shared>();
  shared->server = true;
  shared->files = std::move(files);
  std::unique_ptr<TlsContext> made(new TlsContext(std::move(shared)));
  Result<void> loaded = made->reload();
  if (!loaded.has_value()) return fail(std::move(loaded.error()));
  return made;
}

Result<std::unique_ptr<TlsContext>> TlsContext::make_client(TlsClientTrust trust) {
  auto shared = std::make_unique<Shared>();
  shared->trust = std::move(trust);
  std::unique_ptr<TlsContext> made(new TlsContext(std::move(shared)));
  Result<void> loaded = made->reload();
  if (!loaded.has_value()) return fail(std::move(loaded.error()));
  return made;
}

Result<void> TlsContext::reload() {
  Result<ContextPtr> fresh = shared_->load();
  if (!fresh.has_value()) return fail(std::move(fresh.error()));
  const std::lock_guard lock(shared_->mutex);
  shared_->context = std::move(*fresh);
  return {};
}

bool TlsContext::is_server() const {
  return shared_->server;
}

ssl_st* TlsContext::new_connection() const {
  const std::lock_guard lock(shared_->mutex);
  return SSL_new(shared_->context.get());  // counts its context: a reload does not pull it away
}

}  // namespace berth::inline v0::io
