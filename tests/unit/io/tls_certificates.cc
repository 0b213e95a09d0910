#include "tls_certificates.h"

#include <berth/core/assert.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace berth::inline v0::io {

namespace {

EVP_PKEY* make_key() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  BERTH_ASSERT(key != nullptr);
  return key;
}

void add_extension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  BERTH_ASSERT(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* make_certificate(const std::string& name, EVP_PKEY* key, long from, long until) {
  static long serial = 0;
  X509* certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), from);
  X509_gmtime_adj(X509_getm_notAfter(certificate), until);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return certificate;
}

void write_files(const std::string& path, X509* certificate, EVP_PKEY* key) {
  std::FILE* file = std::fopen((path + ".pem").c_str(), "w");
  BERTH_ASSERT(file != nullptr && PEM_write_X509(file, certificate) == 1);
  std::fclose(file);
  file = std::fopen((path + ".key").c_str(), "w");
  BERTH_ASSERT(file != nullptr &&
               PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  std::fclose(file);
}

}  // namespace

TlsCertificates::TlsCertificates() {
  std::string pattern = std::filesystem::temp_directory_path().string() + "/berth-tls-XXXXXX";
  BERTH_ASSERT(::mkdtemp(pattern.data()) != nullptr);
  folder_ = pattern;
  EVP_PKEY* key = make_key();
  X509* ca = make_certificate("berth test authority", key, -86400, 86400);
  X509_set_issuer_name(ca, X509_get_subject_name(ca));
  add_extension(ca, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(ca, NID_key_usage, "critical,keyCertSign");
  BERTH_ASSERT(X509_sign(ca, key, EVP_sha256()) > 0);
  write_files(folder_ + "/ca", ca, key);
  ca_ = ca;
  ca_key_ = key;
}

TlsCertificates::~TlsCertificates() {
  X509_free(static_cast<X509*>(ca_));
  EVP_PKEY_free(static_cast<EVP_PKEY*>(ca_key_));
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void TlsCertificates::issue(const std::string& name, const Wish& wish) {
  EVP_PKEY* key = make_key();
  X509* certificate = make_certificate(name, key, wish.valid_from, wish.valid_until);
  X509* issuer = wish.self_signed ? certificate : static_cast<X509*>(ca_);
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  add_extension(certificate, NID_subject_alt_name, wish.names);
  EVP_PKEY* signer = wish.self_signed ? key : static_cast<EVP_PKEY*>(ca_key_);
  BERTH_ASSERT(X509_sign(certificate, signer, EVP_sha256()) > 0);
  write_files(folder_ + "/" + name, certificate, key);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

}  // namespace berth::inline v0::io
