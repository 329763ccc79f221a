// Encryption and client certificates, with certificates made on the spot.

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>

#include "gmock/gmock.h"
#include "server/grpc/health_client.h"
#include "tests/support/grpc_test_server.h"

namespace octet::server {
namespace {

using octet::testing::SumsRequest;
using octet::testing::TemporaryDirectory;
using ::testing::HasSubstr;

struct KeyPair {
  std::string certificate;  // PEM
  std::string key;
};

template <typename Writer>
std::string Pem(Writer write) {
  const std::unique_ptr<BIO, int (*)(BIO*)> memory(BIO_new(BIO_s_mem()), BIO_free);
  EXPECT_EQ(write(memory.get()), 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return {data, static_cast<size_t>(size)};
}

// A certificate for this machine that signs itself, and may sign others.
KeyPair SelfSigned() {
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, void (*)(X509*)> certificate(X509_new(), X509_free);
  X509* const x509 = certificate.get();
  X509_set_version(x509, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
  X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
  X509_set_pubkey(x509, key.get());
  X509_NAME* const name = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(x509, name);
  for (const auto& [id, value] : {std::pair(NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1"),
                                  std::pair(NID_basic_constraints, "critical,CA:TRUE")}) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, id, value);
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
  }
  EXPECT_GT(X509_sign(x509, key.get(), EVP_sha256()), 0);
  return {Pem([&](BIO* out) { return PEM_write_bio_X509(out, x509); }), Pem([&](BIO* out) {
            return PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

class TlsTest : public GrpcTestServer {
 protected:
  TlsTest() {
    options.tls.certificate = files_.Write("tls.crt", ours_.certificate);
    options.tls.private_key = files_.Write("tls.key", ours_.key);
  }

  grpc::Status InferWith(const grpc::SslCredentialsOptions& credentials) {
    Connect(grpc::SslCredentials(credentials));
    return Infer(SumsRequest("sums", {1, 2, 3, 4}));
  }

  TemporaryDirectory files_;
  const KeyPair ours_ = SelfSigned();
  const KeyPair client_ = SelfSigned();
};

TEST_F(TlsTest, EncryptedClientsAreServedAndPlainOnesAreNot) {
  Start();
  EXPECT_TRUE(InferWith({.pem_root_certs = ours_.certificate}).ok());
  EXPECT_EQ(InferWith({.pem_root_certs = client_.certificate}).error_code(),
            grpc::StatusCode::UNAVAILABLE)
      << "the client does not know our certificate";
  Connect(grpc::InsecureChannelCredentials());
  EXPECT_EQ(Infer(SumsRequest("sums", {1, 2, 3, 4})).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(TlsTest, ClientCaDemandsACertificate) {
  options.tls.client_ca = files_.Write("ca.crt", client_.certificate);
  Start();
  EXPECT_EQ(InferWith({.pem_root_certs = ours_.certificate}).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  const grpc::Status known = InferWith({.pem_root_certs = ours_.certificate,
                                        .pem_private_key = client_.key,
                                        .pem_cert_chain = client_.certificate});
  EXPECT_TRUE(known.ok()) << known.error_message();
}

TEST_F(TlsTest, ReplacedCertificatesAreUsedByNewConnections) {
  Start();
  ASSERT_TRUE(InferWith({.pem_root_certs = ours_.certificate}).ok());
  const auto before = std::move(stub);
  const KeyPair next = SelfSigned();
  files_.Write("tls.crt", next.certificate);
  // The certificate is there and its key is not yet: nothing changes.
  EXPECT_TRUE(InferWith({.pem_root_certs = ours_.certificate}).ok());
  files_.Write("tls.key", next.key);
  EXPECT_TRUE(InferWith({.pem_root_certs = next.certificate}).ok());
  EXPECT_FALSE(InferWith({.pem_root_certs = ours_.certificate}).ok());
  grpc::ClientContext context;
  inference::ModelInferResponse response;
  EXPECT_TRUE(before->ModelInfer(&context, SumsRequest("sums", {1, 2, 3, 4}), &response).ok())
      << "connections that exist go on";
}

TEST_F(TlsTest, DamagedOrMissingFilesChangeNothing) {
  Start();
  for (const char* const text : {"", "damaged", "-----BEGIN CERTIFICATE-----\nAAAA\n"}) {
    files_.Write("tls.crt", text);
    EXPECT_TRUE(InferWith({.pem_root_certs = ours_.certificate}).ok()) << text;
  }
  files_.Write("tls.crt", ours_.certificate);
  files_.Write("tls.key", client_.key);
  EXPECT_TRUE(InferWith({.pem_root_certs = ours_.certificate}).ok()) << "another's key";
  std::filesystem::remove(files_.path() / "tls.key");
  EXPECT_TRUE(InferWith({.pem_root_certs = ours_.certificate}).ok()) << "no key";
  files_.Write("tls.crt", client_.certificate);
  files_.Write("tls.key", client_.key);
  EXPECT_TRUE(InferWith({.pem_root_certs = client_.certificate}).ok()) << "good ones end it";
}

TEST_F(TlsTest, ClientCaIsReplacedToo) {
  options.tls.client_ca = files_.Write("ca.crt", client_.certificate);
  Start();
  const KeyPair next = SelfSigned();
  const auto shows = [&](const KeyPair& client) {
    return InferWith({.pem_root_certs = ours_.certificate,
                      .pem_private_key = client.key,
                      .pem_cert_chain = client.certificate})
        .ok();
  };
  EXPECT_TRUE(shows(client_));
  EXPECT_FALSE(shows(next));
  files_.Write("ca.crt", "damaged");
  EXPECT_TRUE(shows(client_));
  files_.Write("ca.crt", next.certificate);
  EXPECT_TRUE(shows(next));
  EXPECT_FALSE(shows(client_));
}

TEST_F(TlsTest, ProbeEncryptsAndShowsItsCertificate) {
  options.tls.client_ca = files_.Write("ca.crt", client_.certificate);
  Start();
  const auto probe = [&](HealthTarget::Tls tls) {
    return CheckHealth({.address = "127.0.0.1:" + std::to_string(server->port()),
                        .timeout = absl::Seconds(30),
                        .tls = std::move(tls)});
  };
  const std::string authority = (files_.path() / "tls.crt").string();
  const std::string certificate = files_.Write("client.crt", client_.certificate);
  const std::string key = files_.Write("client.key", client_.key);
  server->SetServing(true);
  EXPECT_TRUE(probe({authority, certificate, key, "localhost"}).ok());
  EXPECT_TRUE(absl::IsUnavailable(probe({authority, certificate, key, "elsewhere"})));
  EXPECT_TRUE(absl::IsUnavailable(probe({.authority = authority})));
  EXPECT_TRUE(absl::IsUnavailable(probe({})));
  EXPECT_THAT(std::string(probe({"absent.crt"}).message()), HasSubstr("CA absent.crt"));
}

TEST_F(TlsTest, DamagedCertificateIsAnErrorAtTheStart) {
  files_.Write("tls.crt", "not a certificate");
  manager = *ModelManager::Create({}, metrics);
  options.port = 0;
  options.address = "127.0.0.1";
  const auto error = [&] {
    return std::string(GrpcServer::Start(options, *manager, metrics).status().message());
  };
  EXPECT_THAT(error(), HasSubstr("holds no certificate"));
  files_.Write("tls.crt", client_.certificate);
  EXPECT_THAT(error(), HasSubstr("not that of the certificate"));
  files_.Write("tls.key", "not a key");
  EXPECT_THAT(error(), HasSubstr("holds no key"));
}

}  // namespace
}  // namespace octet::server
