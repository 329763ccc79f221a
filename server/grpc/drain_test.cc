// The whole server stops: who has been accepted is answered, who comes late is sent elsewhere, and
// who only holds a line open does not keep it from stopping.

#include <future>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "proto/open_inference.grpc.pb.h"
#include "server/server.h"
#include "tests/support/fake_model.h"
#include "tests/support/infer_requests.h"
#include "tests/support/temporary_directory.h"

namespace octet::server {
namespace {

using octet::testing::FakeModel;
using octet::testing::Gate;
using octet::testing::SumsRequest;
using octet::testing::TemporaryDirectory;

class DrainTest : public ::testing::Test {
 protected:
  void Start(absl::Duration drain) {
    directory_.Write("sums/1/model.onnx");
    ServerOptions options;
    options.grpc.address = "127.0.0.1";
    options.grpc.port = 0;
    options.http_port = 0;
    options.drain = drain;
    options.models.repository = directory_.path();
    options.models.loader = [this](const ModelSource&, const ProgressFn&) {
      return FakeModel::Sums({.on_execute = [this](int64_t) {
        gate_.Pass();
        return absl::OkStatus();
      }});
    };
    auto server = Server::Start(std::move(options));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(server_->models().AwaitLoads(absl::InfiniteFuture()));
    stub_ = inference::GRPCInferenceService::NewStub(grpc::CreateChannel(
        "127.0.0.1:" + std::to_string(server_->grpc_port()), grpc::InsecureChannelCredentials()));
  }

  grpc::Status Infer() {
    grpc::ClientContext context;
    inference::ModelInferResponse response;
    return stub_->ModelInfer(&context, SumsRequest("sums", {1, 2, 3, 4}), &response);
  }

  std::future<grpc::Status> Block() {
    gate_.Close();
    const int arrivals = gate_.arrivals();
    auto blocked = std::async(std::launch::async, [this] { return Infer(); });
    gate_.AwaitArrivals(arrivals + 1);
    return blocked;
  }

  TemporaryDirectory directory_;
  Gate gate_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

TEST_F(DrainTest, AcceptedRequestsAreAnsweredAndLateOnesRefused) {
  Start(absl::Minutes(1));
  auto running = Block();
  auto drain = std::async(std::launch::async, [this] { server_->Drain(); });
  while (!server_->models().closed()) std::this_thread::yield();
  const grpc::Status late = Infer();
  EXPECT_EQ(late.error_code(), grpc::StatusCode::UNAVAILABLE);
  gate_.Open();
  EXPECT_TRUE(running.get().ok());
  drain.get();
  EXPECT_EQ(Infer().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(DrainTest, OpenStreamsDoNotLastAsLongAsTheDrainTime) {
  Start(absl::Minutes(10));
  grpc::ClientContext context;
  const auto stream = stub_->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(SumsRequest("sums", {1, 2, 3, 4})));
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  const absl::Time start = absl::Now();
  server_->Drain();
  EXPECT_LT(absl::Now() - start, absl::Minutes(1));
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(DrainTest, WhatWaitsIsCancelledWhenTheTimeIsOver) {
  Start(absl::Milliseconds(100));
  auto running = Block();
  auto waiting = std::async(std::launch::async, [this] { return Infer(); });
  while ((*server_->models().Acquire("sums", ""))->waiting() == 0) std::this_thread::yield();
  auto drain = std::async(std::launch::async, [this] { server_->Drain(); });
  // The port is closed by force; the batch at the gate still has to end.
  EXPECT_EQ(waiting.get().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(running.get().error_code(), grpc::StatusCode::UNAVAILABLE);
  gate_.Open();
  drain.get();
}

}  // namespace
}  // namespace octet::server
