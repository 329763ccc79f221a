#include "server/server.h"

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_model.h"
#include "tests/support/http_client.h"
#include "tests/support/temporary_directory.h"

namespace octet::server {
namespace {

using octet::testing::FakeModel;
using octet::testing::Gate;
using octet::testing::HttpGet;
using octet::testing::TemporaryDirectory;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ServerTest : public ::testing::Test {
 protected:
  void Start() {
    ServerOptions options;
    options.grpc.address = "127.0.0.1";
    options.grpc.port = 0;
    options.grpc.version = "1.2.3";
    options.http_port = 0;
    options.isa = "avx2";
    options.onednn_version = "3.7.2";
    options.models.repository = directory_.path();
    options.models.loader = [this](const ModelSource& source, const ProgressFn& progress)
        -> absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>> {
      progress("calibrating");
      gate_.Pass();
      if (source.name == "broken") return absl::UnimplementedError("operator Loop");
      return FakeModel::Sums();
    };
    auto server = Server::Start(std::move(options));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::string Get(const std::string& path) { return HttpGet(server_->http_port(), path); }

  TemporaryDirectory directory_;
  Gate gate_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, LivesWhileItLoadsAndIsReadyAfterwards) {
  directory_.Write("m/1/model.onnx");
  gate_.Close();
  Start();
  gate_.AwaitArrivals(1);
  EXPECT_GT(server_->grpc_port(), 0);
  EXPECT_THAT(Get("/healthz/live"), StartsWith("HTTP/1.1 200 "));
  const std::string loading = Get("/healthz/ready");
  EXPECT_THAT(loading, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(loading, HasSubstr("m/1: calibrating"));
  gate_.Open();
  ASSERT_TRUE(server_->models().AwaitLoads(absl::InfiniteFuture()));
  EXPECT_THAT(Get("/healthz/ready"), StartsWith("HTTP/1.1 200 "));
  const std::string metrics = Get("/metrics");
  EXPECT_THAT(metrics, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(
      metrics,
      HasSubstr("octet_model_info{asked=\"auto\",mode=\"int8\",model=\"m\",version=\"1\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("octet_build_info{isa=\"avx2\",onednn=\"3.7.2\","
                                 "version=\"1.2.3\"} 1\n"));
  EXPECT_THAT(Get("/other"), StartsWith("HTTP/1.1 404 "));
  server_->Drain();
  EXPECT_THAT(Get("/healthz/ready"), HasSubstr("draining"));
  EXPECT_THAT(Get("/healthz/live"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ServerTest, ReadinessNamesWhatFailed) {
  directory_.Write("broken/1/model.onnx");
  directory_.Write("m/1/model.onnx");
  Start();
  ASSERT_TRUE(server_->models().AwaitLoads(absl::InfiniteFuture()));
  const std::string ready = Get("/healthz/ready");
  EXPECT_THAT(ready, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(ready, HasSubstr("broken/1: failed: operator Loop"));
}

}  // namespace
}  // namespace octet::server
