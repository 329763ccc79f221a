// The health client against a real server on a free port.

#include "server/grpc/health_client.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/support/grpc_test_server.h"

namespace octet::server {
namespace {

using ::testing::HasSubstr;

class HealthClientTest : public GrpcTestServer {
 protected:
  std::string Address() const { return absl::StrCat("127.0.0.1:", server->port()); }
  absl::Status Check(const std::string& service = "") {
    return CheckHealth({Address(), service, absl::Seconds(30)});
  }
};

TEST_F(HealthClientTest, SaysWhetherTheServerServes) {
  Start();
  EXPECT_TRUE(Check().ok()) << Check();
  EXPECT_TRUE(Check("inference.GRPCInferenceService").ok());
  server->SetServing(false);
  EXPECT_TRUE(absl::IsFailedPrecondition(Check()));
  EXPECT_THAT(std::string(Check().message()), HasSubstr("NOT_SERVING"));
  server->SetServing(true);
  EXPECT_TRUE(Check().ok());
}

TEST_F(HealthClientTest, AnUnknownServiceIsNotFound) {
  Start();
  const absl::Status status = Check("unheard.Of");
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("unheard.Of"));
}

TEST_F(HealthClientTest, AServerThatIsGoneIsUnavailable) {
  Start();
  const std::string address = Address();
  manager->Close();
  server.reset();
  const absl::Status status = CheckHealth({address, "", absl::Seconds(30)});
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(address));
}

}  // namespace
}  // namespace octet::server
