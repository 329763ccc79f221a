#include "server/grpc/infer_service.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "proto/open_inference.grpc.pb.h"
#include "server/grpc/grpc_status.h"
#include "server/grpc/infer_calls.h"
#include "server/grpc/model_messages.h"
#include "server/models/quote.h"

namespace octet::server {
namespace {

using grpc::ByteBuffer;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

// All methods by callback; those that carry tensors on raw bytes.
using Protocol = inference::GRPCInferenceService;

template <typename Base>
using InferMethods = Protocol::WithRawCallbackMethod_ModelInfer<
    Protocol::WithRawCallbackMethod_ModelStreamInfer<Base>>;

template <typename Base>
using StateMethods =
    Protocol::WithCallbackMethod_ServerLive<Protocol::WithCallbackMethod_ServerReady<
        Protocol::WithCallbackMethod_ModelReady<Protocol::WithCallbackMethod_ServerMetadata<
            Protocol::WithCallbackMethod_ModelMetadata<Protocol::WithCallbackMethod_ModelConfig<
                Protocol::WithCallbackMethod_ModelStatistics<Base>>>>>>>;

template <typename Base>
using RepositoryMethods =
    Protocol::WithCallbackMethod_RepositoryIndex<Protocol::WithCallbackMethod_RepositoryModelLoad<
        Protocol::WithCallbackMethod_RepositoryModelUnload<Base>>>;

template <typename Base>
using SharedMemoryMethods = Protocol::WithCallbackMethod_SystemSharedMemoryStatus<
    Protocol::WithCallbackMethod_SystemSharedMemoryRegister<
        Protocol::WithCallbackMethod_SystemSharedMemoryUnregister<
            Protocol::WithCallbackMethod_CudaSharedMemoryStatus<
                Protocol::WithCallbackMethod_CudaSharedMemoryRegister<
                    Protocol::WithCallbackMethod_CudaSharedMemoryUnregister<Base>>>>>>;

template <typename Base>
using SettingMethods =
    Protocol::WithCallbackMethod_TraceSetting<Protocol::WithCallbackMethod_LogSettings<Base>>;

using CallbackMethods = InferMethods<
    StateMethods<RepositoryMethods<SharedMemoryMethods<SettingMethods<Protocol::Service>>>>>;

// What works, and nothing else: clients call what is announced.
constexpr const char* kExtensions[] = {"model_configuration", "statistics", "model_repository",
                                       "binary_tensor_data",  "parameters", "classification",
                                       "schedule_policy"};

ServerUnaryReactor* Finish(CallbackServerContext* context, const absl::Status& status) {
  ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

ServerUnaryReactor* FixedModels(CallbackServerContext* context) {
  return Finish(context,
                absl::UnavailableError("explicit model load / unload is not allowed: the models "
                                       "of this server are those of its configuration"));
}

ServerUnaryReactor* NoSharedMemory(CallbackServerContext* context) {
  return Finish(context, absl::UnimplementedError(
                             "shared memory is not supported; send tensors in the request"));
}

class InferService final : public CallbackMethods {
 public:
  InferService(ModelManager& models, MetricsRegistry& metrics, std::string version,
               LoadModelFn load_model)
      : models_(models),
        metrics_(metrics),
        version_(std::move(version)),
        load_model_(std::move(load_model)) {}

  ServerUnaryReactor* ModelInfer(CallbackServerContext* context, const ByteBuffer* request,
                                 ByteBuffer* response) override {
    return StartUnaryInfer(models_, metrics_, *context, *request, *response);
  }

  grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* ModelStreamInfer(
      CallbackServerContext* context) override {
    return StartStreamInfer(models_, metrics_, *context);
  }

  ServerUnaryReactor* ServerLive(CallbackServerContext* context,
                                 const inference::ServerLiveRequest*,
                                 inference::ServerLiveResponse* response) override {
    response->set_live(true);
    return Finish(context, absl::OkStatus());
  }

  ServerUnaryReactor* ServerReady(CallbackServerContext* context,
                                  const inference::ServerReadyRequest*,
                                  inference::ServerReadyResponse* response) override {
    response->set_ready(models_.IsReady());
    return Finish(context, absl::OkStatus());
  }

  ServerUnaryReactor* ModelReady(CallbackServerContext* context,
                                 const inference::ModelReadyRequest* request,
                                 inference::ModelReadyResponse* response) override {
    const absl::Status status = models_.Acquire(request->name(), request->version()).status();
    response->set_ready(status.ok());
    // That a model is not there is an answer; that the question makes no sense is an error.
    return Finish(context,
                  status.code() == absl::StatusCode::kInvalidArgument ? status : absl::OkStatus());
  }

  ServerUnaryReactor* ServerMetadata(CallbackServerContext* context,
                                     const inference::ServerMetadataRequest*,
                                     inference::ServerMetadataResponse* response) override {
    response->set_name("octet");
    response->set_version(version_);
    for (const char* extension : kExtensions) response->add_extensions(extension);
    return Finish(context, absl::OkStatus());
  }

  ServerUnaryReactor* ModelMetadata(CallbackServerContext* context,
                                    const inference::ModelMetadataRequest* request,
                                    inference::ModelMetadataResponse* response) override {
    const auto model = models_.Acquire(request->name(), request->version());
    if (!model.ok()) return Finish(context, model.status());
    std::vector<std::string> versions;
    for (const auto& ready : models_.Ready(request->name())) {
      versions.push_back(ready->version_text());
    }
    FillMetadata(**model, versions, *response);
    return Finish(context, absl::OkStatus());
  }

  ServerUnaryReactor* ModelConfig(CallbackServerContext* context,
                                  const inference::ModelConfigRequest* request,
                                  inference::ModelConfigResponse* response) override {
    const auto model = models_.Acquire(request->name(), request->version());
    if (!model.ok()) return Finish(context, model.status());
    FillConfig(**model, *response->mutable_config());
    return Finish(context, absl::OkStatus());
  }

  // No name asks for all models, no version for all versions that are ready.
  ServerUnaryReactor* ModelStatistics(CallbackServerContext* context,
                                      const inference::ModelStatisticsRequest* request,
                                      inference::ModelStatisticsResponse* response) override {
    if (!request->name().empty()) {
      const auto model = models_.Acquire(request->name(), request->version());
      if (!model.ok()) return Finish(context, model.status());
      if (!request->version().empty()) {
        FillStatistics(**model, *response->add_model_stats());
        return Finish(context, absl::OkStatus());
      }
    }
    for (const auto& model : models_.Ready(request->name())) {
      FillStatistics(*model, *response->add_model_stats());
    }
    return Finish(context, absl::OkStatus());
  }

  ServerUnaryReactor* RepositoryIndex(CallbackServerContext* context,
                                      const inference::RepositoryIndexRequest* request,
                                      inference::RepositoryIndexResponse* response) override {
    for (const ModelStatus& status : models_.Index()) {
      if (request->ready() && status.state != ModelState::kReady) continue;
      auto& model = *response->add_models();
      model.set_name(status.name);
      model.set_version(status.version);
      model.set_state(std::string(RepositoryState(status.state)));
      model.set_reason(status.reason);
    }
    return Finish(context, absl::OkStatus());
  }

  ServerUnaryReactor* RepositoryModelLoad(CallbackServerContext* context,
                                          const inference::RepositoryModelLoadRequest* request,
                                          inference::RepositoryModelLoadResponse*) override {
    if (!load_model_) return FixedModels(context);
    std::optional<std::string> config;
    for (const auto& [key, value] : request->parameters()) {
      if (key != "config" ||
          value.parameter_choice_case() != inference::ModelRepositoryParameter::kStringParam) {
        return Finish(context, absl::InvalidArgumentError(
                                   absl::StrCat("the only parameter of a load is the string "
                                                "\"config\", not ",
                                                Quote(key))));
      }
      config = value.string_param();
    }
    ServerUnaryReactor* const reactor = context->DefaultReactor();
    load_model_(request->model_name(), config,
                [reactor](const absl::Status& status) { reactor->Finish(ToGrpcStatus(status)); });
    return reactor;
  }
  ServerUnaryReactor* RepositoryModelUnload(CallbackServerContext* context,
                                            const inference::RepositoryModelUnloadRequest*,
                                            inference::RepositoryModelUnloadResponse*) override {
    return FixedModels(context);
  }

  ServerUnaryReactor* SystemSharedMemoryStatus(
      CallbackServerContext* context, const inference::SystemSharedMemoryStatusRequest*,
      inference::SystemSharedMemoryStatusResponse*) override {
    return NoSharedMemory(context);
  }
  ServerUnaryReactor* SystemSharedMemoryRegister(
      CallbackServerContext* context, const inference::SystemSharedMemoryRegisterRequest*,
      inference::SystemSharedMemoryRegisterResponse*) override {
    return NoSharedMemory(context);
  }
  ServerUnaryReactor* SystemSharedMemoryUnregister(
      CallbackServerContext* context, const inference::SystemSharedMemoryUnregisterRequest*,
      inference::SystemSharedMemoryUnregisterResponse*) override {
    return NoSharedMemory(context);
  }
  ServerUnaryReactor* CudaSharedMemoryStatus(CallbackServerContext* context,
                                             const inference::CudaSharedMemoryStatusRequest*,
                                             inference::CudaSharedMemoryStatusResponse*) override {
    return NoSharedMemory(context);
  }
  ServerUnaryReactor* CudaSharedMemoryRegister(
      CallbackServerContext* context, const inference::CudaSharedMemoryRegisterRequest*,
      inference::CudaSharedMemoryRegisterResponse*) override {
    return NoSharedMemory(context);
  }
  ServerUnaryReactor* CudaSharedMemoryUnregister(
      CallbackServerContext* context, const inference::CudaSharedMemoryUnregisterRequest*,
      inference::CudaSharedMemoryUnregisterResponse*) override {
    return NoSharedMemory(context);
  }

  ServerUnaryReactor* TraceSetting(CallbackServerContext* context,
                                   const inference::TraceSettingRequest*,
                                   inference::TraceSettingResponse*) override {
    return Finish(context, absl::UnimplementedError("tracing is not supported"));
  }
  ServerUnaryReactor* LogSettings(CallbackServerContext* context,
                                  const inference::LogSettingsRequest*,
                                  inference::LogSettingsResponse*) override {
    return Finish(context,
                  absl::UnimplementedError("log settings cannot be changed while the server runs"));
  }

 private:
  ModelManager& models_;
  MetricsRegistry& metrics_;
  const std::string version_;
  const LoadModelFn load_model_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewInferService(ModelManager& models, MetricsRegistry& metrics,
                                               std::string version, LoadModelFn load_model) {
  return std::make_unique<InferService>(models, metrics, std::move(version), std::move(load_model));
}

}  // namespace octet::server
