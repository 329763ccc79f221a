// Everything a client can ask but inference, and how the server starts and stops.

#include "server/grpc/grpc_server.h"

#include <future>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/health_check_service_interface.h"
#include "server/grpc/grpc_status.h"
#include "tests/support/grpc_test_server.h"

namespace octet::server {
namespace {

using octet::testing::SumsRequest;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Calls a method by its path with bytes, as a client without our stubs would.
grpc::Status CallBytes(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                       const std::string& request, std::string* response) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(request);
  const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer buffer;
  grpc::Status status;
  call->Finish(&buffer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  std::vector<grpc::Slice> slices;
  if (status.ok() && buffer.Dump(&slices).ok()) {
    for (const grpc::Slice& part : slices) {
      response->append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  return status;
}

class GrpcServerTest : public GrpcTestServer {
 protected:
  // SERVING is 1, NOT_SERVING 2: grpc.health.v1's message has one field.
  std::string Health(const std::string& service) {
    std::string request;
    if (!service.empty()) {
      request = "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
    }
    std::string response;
    const grpc::Status status =
        CallBytes(channel, "/grpc.health.v1.Health/Check", request, &response);
    if (!status.ok()) return absl::StrCat("code ", status.error_code());
    return response == std::string("\x08\x01") ? "SERVING" : "NOT_SERVING";
  }
};

TEST_F(GrpcServerTest, LiveReadyAndHealth) {
  Start();
  grpc::ClientContext live_context, ready_context;
  inference::ServerLiveResponse live;
  ASSERT_TRUE(stub->ServerLive(&live_context, {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(stub->ServerReady(&ready_context, {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  EXPECT_EQ(Health(""), "SERVING");
  EXPECT_EQ(Health("inference.GRPCInferenceService"), "SERVING");
  EXPECT_EQ(Health("other"), absl::StrCat("code ", grpc::StatusCode::NOT_FOUND));
  server->SetServing(false);
  EXPECT_EQ(Health(""), "NOT_SERVING");
  EXPECT_EQ(Health("inference.GRPCInferenceService"), "NOT_SERVING");
}

TEST_F(GrpcServerTest, ModelReadyAnswersRatherThanFails) {
  Start();
  const auto ready = [&](const std::string& name, const std::string& version) {
    grpc::ClientContext context;
    inference::ModelReadyRequest request;
    request.set_name(name);
    request.set_version(version);
    inference::ModelReadyResponse response;
    const grpc::Status status = stub->ModelReady(&context, request, &response);
    return status.ok() ? (response.ready() ? "yes" : "no") : absl::StrCat(status.error_code());
  };
  EXPECT_EQ(ready("sums", ""), "yes");
  EXPECT_EQ(ready("sums", "1"), "yes");
  EXPECT_EQ(ready("sums", "3"), "no");
  EXPECT_EQ(ready("broken", ""), "no");
  EXPECT_EQ(ready("none", ""), "no");
  EXPECT_EQ(ready("sums", "latest"), absl::StrCat(grpc::StatusCode::INVALID_ARGUMENT));
}

TEST_F(GrpcServerTest, ServerMetadataAnnouncesWhatWorks) {
  Start();
  grpc::ClientContext context;
  inference::ServerMetadataResponse response;
  ASSERT_TRUE(stub->ServerMetadata(&context, {}, &response).ok());
  EXPECT_EQ(response.name(), "octet");
  EXPECT_EQ(response.version(), "1.2.3");
  EXPECT_THAT(response.extensions(), Contains("statistics"));
  EXPECT_THAT(response.extensions(), Contains("classification"));
}

TEST_F(GrpcServerTest, MetadataAndConfigAgreeOnTheBatchDimension) {
  Start();
  for (const std::string name : {"sums", "fixed"}) {
    grpc::ClientContext metadata_context, config_context;
    inference::ModelMetadataRequest metadata_request;
    metadata_request.set_name(name);
    inference::ModelMetadataResponse metadata;
    ASSERT_TRUE(stub->ModelMetadata(&metadata_context, metadata_request, &metadata).ok());
    inference::ModelConfigRequest config_request;
    config_request.set_name(name);
    inference::ModelConfigResponse response;
    ASSERT_TRUE(stub->ModelConfig(&config_context, config_request, &response).ok());
    const inference::ModelConfig& config = response.config();
    EXPECT_EQ(metadata.platform(), "onnx_onednn");
    EXPECT_EQ(metadata.properties().at("mode"), "int8");
    EXPECT_EQ(metadata.properties().at("accuracy_verdict"), "met");
    EXPECT_EQ(metadata.properties().at("accuracy_metric"), "cosine");
    EXPECT_EQ(metadata.properties().at("accuracy_target"), "0.99");
    EXPECT_EQ(metadata.properties().at("accuracy"), "0.995");
    EXPECT_EQ(metadata.properties().at("accuracy_description"), "met: cosine 0.9950");
    EXPECT_EQ(metadata.inputs(0).name(), "x");
    EXPECT_EQ(metadata.inputs(0).datatype(), "FP32");
    EXPECT_EQ(config.input(0).data_type(), inference::TYPE_FP32);
    EXPECT_EQ(config.instance_group(0).kind(), inference::ModelInstanceGroup::KIND_CPU);
    EXPECT_EQ(config.instance_group(0).count(), 1);
    if (name == "sums") {
      EXPECT_THAT(metadata.versions(), ElementsAre("1", "2"));
      EXPECT_EQ(config.max_batch_size(), 8);
      EXPECT_THAT(metadata.inputs(0).shape(), ElementsAre(-1, 4));
      EXPECT_THAT(config.input(0).dims(), ElementsAre(4));
      EXPECT_TRUE(config.has_dynamic_batching());
    } else {
      EXPECT_EQ(config.max_batch_size(), 0);
      EXPECT_THAT(metadata.inputs(0).shape(), ElementsAre(1, 4));
      EXPECT_THAT(config.input(0).dims(), ElementsAre(1, 4));
      EXPECT_FALSE(config.has_dynamic_batching());
    }
  }
}

TEST_F(GrpcServerTest, UnknownAndFailedModelsHaveTheirCodes) {
  Start();
  const auto code = [&](const std::string& name, const std::string& version) {
    grpc::ClientContext context;
    inference::ModelMetadataRequest request;
    request.set_name(name);
    request.set_version(version);
    inference::ModelMetadataResponse response;
    return stub->ModelMetadata(&context, request, &response);
  };
  EXPECT_EQ(code("none", "").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(code("sums", "9").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(code("sums", "1.0").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code("broken", "").error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(code("broken", "").error_message(), HasSubstr("operator Loop"));
}

TEST_F(GrpcServerTest, RepositoryIndexShowsFailuresWithReasons) {
  Start();
  const auto index = [&](bool ready) {
    grpc::ClientContext context;
    inference::RepositoryIndexRequest request;
    request.set_ready(ready);
    inference::RepositoryIndexResponse response;
    EXPECT_TRUE(stub->RepositoryIndex(&context, request, &response).ok());
    std::vector<std::string> lines;
    for (const auto& model : response.models()) {
      lines.push_back(model.name() + " " + model.version() + " " + model.state() + " " +
                      model.reason());
    }
    return lines;
  };
  EXPECT_THAT(index(false), ElementsAre("broken 1 UNAVAILABLE operator Loop is not supported",
                                        "fixed 1 READY ", "sums 1 READY ", "sums 2 READY "));
  EXPECT_THAT(index(true), ElementsAre("fixed 1 READY ", "sums 1 READY ", "sums 2 READY "));
}

TEST_F(GrpcServerTest, WhatIsNotOfferedSaysSo) {
  Start();
  grpc::ClientContext load, unload, shared, cuda, trace, log;
  inference::RepositoryModelLoadResponse load_response;
  const grpc::Status loaded = stub->RepositoryModelLoad(&load, {}, &load_response);
  EXPECT_EQ(loaded.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(loaded.error_message(), HasSubstr("explicit model load / unload is not allowed"));
  inference::RepositoryModelUnloadResponse unload_response;
  EXPECT_EQ(stub->RepositoryModelUnload(&unload, {}, &unload_response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  inference::SystemSharedMemoryStatusResponse shared_response;
  const grpc::Status status = stub->SystemSharedMemoryStatus(&shared, {}, &shared_response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(status.error_message(), HasSubstr("shared memory"));
  inference::CudaSharedMemoryRegisterResponse cuda_response;
  EXPECT_EQ(stub->CudaSharedMemoryRegister(&cuda, {}, &cuda_response).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  inference::TraceSettingResponse trace_response;
  EXPECT_EQ(stub->TraceSetting(&trace, {}, &trace_response).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
  inference::LogSettingsResponse log_response;
  EXPECT_EQ(stub->LogSettings(&log, {}, &log_response).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(GrpcServerTest, StatisticsAreArithmetic) {
  Start();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Infer(SumsRequest("sums", {1, 2, 3, 4, 5, 6, 7, 8})).ok());
  }
  grpc::ClientContext one_context, all_context, none_context;
  inference::ModelStatisticsRequest request;
  request.set_name("sums");
  inference::ModelStatisticsResponse one;
  ASSERT_TRUE(stub->ModelStatistics(&one_context, request, &one).ok());
  ASSERT_EQ(one.model_stats_size(), 2);
  EXPECT_EQ(one.model_stats(0).version(), "1");
  EXPECT_EQ(one.model_stats(0).inference_count(), 0u);
  const inference::ModelStatistics& statistics = one.model_stats(1);
  EXPECT_EQ(statistics.version(), "2");
  EXPECT_EQ(statistics.inference_count(), 6u);
  EXPECT_EQ(statistics.execution_count(), 3u);
  EXPECT_EQ(statistics.inference_stats().success().count(), 3u);
  EXPECT_EQ(statistics.inference_stats().compute_infer().count(), 3u);
  EXPECT_EQ(statistics.batch_stats(0).batch_size(), 2u);
  EXPECT_GT(statistics.last_inference(), 1'700'000'000'000u);
  inference::ModelStatisticsResponse all;
  ASSERT_TRUE(stub->ModelStatistics(&all_context, {}, &all).ok());
  EXPECT_EQ(all.model_stats_size(), 3);
  request.set_name("none");
  EXPECT_EQ(stub->ModelStatistics(&none_context, request, &one).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(GrpcServerTest, ReflectionListsTheService) {
  Start();
  // A request with list_services = "", and the stream closed after it.
  grpc::GenericStub generic(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto stream = generic.PrepareCall(
      &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  bool ok = false;
  const auto await = [&] { return queue.Next(&tag, &ok) && ok; };
  stream->StartCall(nullptr);
  ASSERT_TRUE(await());
  const grpc::Slice request(std::string("\x3a\x00", 2));
  stream->Write(grpc::ByteBuffer(&request, 1), nullptr);
  ASSERT_TRUE(await());
  grpc::ByteBuffer buffer;
  stream->Read(&buffer, nullptr);
  ASSERT_TRUE(await());
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(buffer.Dump(&slices).ok());
  std::string response;
  for (const grpc::Slice& slice : slices) {
    response.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  EXPECT_THAT(response, HasSubstr("inference.GRPCInferenceService"));
  EXPECT_THAT(response, HasSubstr("grpc.health.v1.Health"));
  context.TryCancel();
  grpc::Status status;
  stream->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
}

TEST_F(GrpcServerTest, TakenPortIsAnError) {
  Start();
  GrpcServerOptions second = options;
  second.port = server->port();
  const auto taken = GrpcServer::Start(second, *manager, metrics);
  EXPECT_EQ(taken.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(taken.status().message(), HasSubstr(absl::StrCat(":", server->port())));
}

TEST_F(GrpcServerTest, MissingCertificateIsAnError) {
  options.tls.certificate = "/nowhere/tls.crt";
  options.tls.private_key = "/nowhere/tls.key";
  manager = *ModelManager::Create({}, metrics);
  options.port = 0;
  const auto started = GrpcServer::Start(options, *manager, metrics);
  EXPECT_EQ(started.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(started.status().message(), HasSubstr("/nowhere/tls.crt"));
}

TEST_F(GrpcServerTest, ShutdownFinishesWhatRuns) {
  Start();
  gate.Close();
  const int arrivals = gate.arrivals();
  auto running =
      std::async(std::launch::async, [&] { return Infer(SumsRequest("sums", {1, 2, 3, 4})); });
  gate.AwaitArrivals(arrivals + 1);
  manager->Close();
  const grpc::Status late = Infer(SumsRequest("sums", {1, 2, 3, 4}));
  EXPECT_EQ(late.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(late.error_message(), HasSubstr("draining"));
  auto shutdown =
      std::async(std::launch::async, [&] { server->Shutdown(absl::Now() + absl::Minutes(1)); });
  gate.Open();
  EXPECT_TRUE(running.get().ok());
  shutdown.get();
  EXPECT_EQ(Infer(SumsRequest("sums", {1, 2, 3, 4})).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(GrpcStatusTest, CodesAreEqualAndTextIsNeverEmptyOrLong) {
  const grpc::Status status = ToGrpcStatus(absl::ResourceExhaustedError("full"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "full");
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_FALSE(ToGrpcStatus(absl::InternalError("")).error_message().empty());
  EXPECT_LT(ToGrpcStatus(absl::InternalError(std::string(9999, 'x'))).error_message().size(),
            2100u);
  EXPECT_EQ(CutText("a\xc3\xa9z", 2), "a...") << "characters are not cut in two";
}

}  // namespace
}  // namespace octet::server
