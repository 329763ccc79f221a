// A gRPC server over fake models on a free port, with a client, for tests.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "proto/open_inference.grpc.pb.h"
#include "server/grpc/grpc_server.h"
#include "tests/support/fake_model.h"
#include "tests/support/infer_requests.h"
#include "tests/support/temporary_directory.h"

namespace octet::server {

// Serves `sums` (FakeModel::Sums), `fixed` (the same without a batch dimension), `broken`, which
// does not load, and what a test adds to `models` before Start(). Every run passes `gate`.
class GrpcTestServer : public ::testing::Test {
 protected:
  using Stub = inference::GRPCInferenceService::Stub;
  using ModelFactory = std::function<std::shared_ptr<const runtime::CompiledModel>()>;

  void Start() {
    for (const auto& [name, factory] : models) directory_.Write(name + "/1/model.onnx");
    directory_.Write("sums/1/model.onnx");
    directory_.Write("sums/2/model.onnx");
    directory_.Write("fixed/1/model.onnx");
    directory_.Write("broken/1/model.onnx");
    manager_options.repository = directory_.path();
    manager_options.strict_readiness = false;
    manager_options.defaults.versions.kind = VersionSelection::Kind::kAll;
    manager_options.loader = [this](const ModelSource& source, const ProgressFn&) {
      return Load(source);
    };
    manager = *ModelManager::Create(manager_options, metrics);
    options.address = "127.0.0.1";
    options.port = 0;
    options.version = "1.2.3";
    auto started = GrpcServer::Start(options, *manager, metrics);
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
    manager->StartLoading();
    ASSERT_TRUE(manager->AwaitLoads(absl::InfiniteFuture()));
    server->SetServing(manager->IsReady());
    Connect(grpc::InsecureChannelCredentials());
  }

  void Connect(const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(server->port()), credentials);
    stub = inference::GRPCInferenceService::NewStub(channel);
  }

  ~GrpcTestServer() override {
    gate.Open();
    if (manager != nullptr) manager->Close();
    server.reset();
  }

  grpc::Status Infer(const inference::ModelInferRequest& request,
                     inference::ModelInferResponse* response = nullptr) {
    grpc::ClientContext context;
    inference::ModelInferResponse ignored;
    return stub->ModelInfer(&context, request, response != nullptr ? response : &ignored);
  }

  ModelManagerOptions manager_options;
  GrpcServerOptions options;
  std::vector<std::pair<std::string, ModelFactory>> models;
  testing::Gate gate;

  MetricsRegistry metrics;
  std::unique_ptr<ModelManager> manager;
  std::unique_ptr<GrpcServer> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<Stub> stub;

 private:
  absl::StatusOr<std::shared_ptr<const runtime::CompiledModel>> Load(const ModelSource& source) {
    for (const auto& [name, factory] : models) {
      if (source.name == name) return factory();
    }
    if (source.name == "broken") return absl::UnimplementedError("operator Loop is not supported");
    return testing::FakeModel::Sums(
        {.batchable = source.name != "fixed", .on_execute = [this](int64_t) {
           gate.Pass();
           return absl::OkStatus();
         }});
  }

  testing::TemporaryDirectory directory_;
};

}  // namespace octet::server
