// tests/unit/io/tls_certificates.h — a certificate authority for tests, made when it is needed.
#pragma once

#include <string>

namespace berth::inline v0::io {

/// A folder under /tmp with PEM files, removed at the end. Keys are P-256.
class TlsCertificates {
 public:
  TlsCertificates();
  ~TlsCertificates();
  TlsCertificates(const TlsCertificates&) = delete;
  TlsCertificates& operator=(const TlsCertificates&) = delete;

  struct Wish {
    std::string names = "DNS:localhost,IP:127.0.0.1";
    long valid_from = -3600;  ///< Seconds from now.
    long valid_until = 3600;
    bool self_signed = false;
  };
  /// Writes NAME.pem and NAME.key.
  void issue(const std::string& name, const Wish& wish);

  std::string ca() const { return folder_ + "/ca.pem"; }
  std::string certificate(const std::string& name) const { return folder_ + "/" + name + ".pem"; }
  std::string key(const std::string& name) const { return folder_ + "/" + name + ".key"; }
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  void* ca_ = nullptr;
  void* ca_key_ = nullptr;
};

}  // namespace berth::inline v0::io
