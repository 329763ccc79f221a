#include "server/grpc/pem_file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <memory>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace octet::server {
namespace {

using Memory = std::unique_ptr<BIO, int (*)(BIO*)>;
using Certificate = std::unique_ptr<X509, void (*)(X509*)>;
using Key = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;

Memory Reader(const std::string& text) {
  const size_t size = std::min<size_t>(text.size(), std::numeric_limits<int>::max());
  return {BIO_new_mem_buf(text.data(), static_cast<int>(size)), BIO_free};
}

// OpenSSL would ask for a passphrase on the terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

Certificate FirstCertificate(const std::string& text) {
  return {PEM_read_bio_X509(Reader(text).get(), nullptr, &NoPassphrase, nullptr), X509_free};
}

// Leaves nothing in the thread's error queue, which gRPC reads too.
absl::Status Damaged(absl::string_view what) {
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat("tls: ", what));
}

}  // namespace

absl::StatusOr<std::string> ReadPemFile(const std::filesystem::path& path, absl::string_view what) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file || text.str().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tls: ", what, " ", path.string(), " cannot be read, or is empty"));
  }
  return text.str();
}

absl::Status CheckIdentity(const ServerIdentity& identity) {
  const Certificate certificate = FirstCertificate(identity.certificate);
  if (certificate == nullptr) return Damaged("the certificate's file holds no certificate in PEM");
  const Key key(
      PEM_read_bio_PrivateKey(Reader(identity.private_key).get(), nullptr, &NoPassphrase, nullptr),
      EVP_PKEY_free);
  if (key == nullptr) {
    return Damaged("the private key's file holds no key in PEM that needs no passphrase");
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Damaged("the private key is not that of the certificate");
  }
  if (!identity.client_ca.empty() && FirstCertificate(identity.client_ca) == nullptr) {
    return Damaged("the client CA's file holds no certificate in PEM");
  }
  return absl::OkStatus();
}

}  // namespace octet::server
