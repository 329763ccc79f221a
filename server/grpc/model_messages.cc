#include "server/grpc/model_messages.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"

namespace octet::server {
namespace {

constexpr char kPlatform[] = "onnx_onednn";

inference::DataType WireType(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return inference::TYPE_FP32;
    case DataType::kFloat64:
      return inference::TYPE_FP64;
    case DataType::kFloat16:
      return inference::TYPE_FP16;
    case DataType::kBFloat16:
      return inference::TYPE_BF16;
    case DataType::kInt8:
      return inference::TYPE_INT8;
    case DataType::kUint8:
      return inference::TYPE_UINT8;
    case DataType::kInt16:
      return inference::TYPE_INT16;
    case DataType::kUint16:
      return inference::TYPE_UINT16;
    case DataType::kInt32:
      return inference::TYPE_INT32;
    case DataType::kUint32:
      return inference::TYPE_UINT32;
    case DataType::kInt64:
      return inference::TYPE_INT64;
    case DataType::kUint64:
      return inference::TYPE_UINT64;
    case DataType::kBool:
      break;
  }
  return inference::TYPE_BOOL;
}

void FillTensor(const runtime::TensorSpec& spec,
                inference::ModelMetadataResponse::TensorMetadata& tensor) {
  tensor.set_name(spec.name);
  tensor.set_datatype(std::string(Name(spec.dtype)));
  for (const int64_t dim : spec.shape) tensor.add_shape(dim);  // kUnknownDim is the protocol's -1
}

// ModelInput or ModelOutput. Dimensions leave out the batch where there is one.
template <typename Config>
void FillTensorConfig(const runtime::TensorSpec& spec, bool batched, Config& config) {
  config.set_name(spec.name);
  config.set_data_type(WireType(spec.dtype));
  for (size_t i = batched ? 1 : 0; i < spec.shape.size(); ++i) config.add_dims(spec.shape[i]);
}

void Set(uint64_t count, absl::Duration total, inference::StatisticDuration& duration) {
  duration.set_count(count);
  duration.set_ns(static_cast<uint64_t>(std::max<int64_t>(absl::ToInt64Nanoseconds(total), 0)));
}

void FillMemory(const char* type, size_t bytes, inference::ModelStatistics& statistics) {
  inference::MemoryUsage& usage = *statistics.add_memory_usage();
  usage.set_type(type);
  usage.set_byte_size(bytes);
}

}  // namespace

void FillMetadata(const ServableModel& model, const std::vector<std::string>& versions,
                  inference::ModelMetadataResponse& response) {
  response.set_name(model.name());
  for (const std::string& version : versions) response.add_versions(version);
  response.set_platform(kPlatform);
  for (const auto& spec : model.model().inputs()) FillTensor(spec, *response.add_inputs());
  for (const auto& spec : model.model().outputs()) FillTensor(spec, *response.add_outputs());
  const runtime::ModelSummary& summary = model.model().summary();
  auto& properties = *response.mutable_properties();
  properties["mode"] = summary.mode;
  if (!summary.mode_reason.empty()) properties["mode_reason"] = summary.mode_reason;
  if (!summary.calibration.empty()) properties["calibration"] = summary.calibration;
  if (!summary.start.empty()) properties["quantization_start"] = summary.start;
  if (const auto learning = model.model().learning()) properties["learning"] = learning->state;
  const runtime::ModelAccuracy& accuracy = summary.accuracy;
  if (accuracy.verdict.empty()) return;
  properties["accuracy_verdict"] = accuracy.verdict;
  properties["accuracy_metric"] = accuracy.metric;
  properties["accuracy_target"] = absl::StrCat(accuracy.target);
  if (accuracy.measured) properties["accuracy"] = absl::StrCat(*accuracy.measured);
  properties["accuracy_description"] = accuracy.description;
}

void FillConfig(const ServableModel& model, inference::ModelConfig& config) {
  const BatchingPolicy& policy = model.policy();
  const bool batched = model.max_batch_size() > 0;
  config.set_name(model.name());
  config.set_platform(kPlatform);
  config.set_backend("onednn");
  config.set_max_batch_size(static_cast<int32_t>(model.max_batch_size()));
  config.set_default_model_filename("model.onnx");
  config.mutable_version_policy()->mutable_specific()->add_versions(model.version());
  for (const auto& spec : model.model().inputs()) {
    FillTensorConfig(spec, batched, *config.add_input());
  }
  for (const auto& spec : model.model().outputs()) {
    FillTensorConfig(spec, batched, *config.add_output());
  }
  inference::ModelInstanceGroup& group = *config.add_instance_group();
  group.set_name(absl::StrCat(model.name(), "_streams"));
  group.set_kind(inference::ModelInstanceGroup::KIND_CPU);
  group.set_count(policy.streams);
  if (batched) {
    inference::ModelDynamicBatching& batching = *config.mutable_dynamic_batching();
    batching.add_preferred_batch_size(static_cast<int32_t>(
        policy.preferred_batch_size > 0 ? policy.preferred_batch_size : model.max_batch_size()));
    batching.set_max_queue_delay_microseconds(
        static_cast<uint64_t>(absl::ToInt64Microseconds(policy.max_queue_delay)));
    batching.set_priority_levels(2);
    batching.set_default_priority_level(2);
    batching.mutable_default_queue_policy()->set_allow_timeout_override(true);
    batching.mutable_default_queue_policy()->set_max_queue_size(
        static_cast<uint32_t>(policy.max_queue_size));
  }
  config.mutable_model_transaction_policy()->set_decoupled(false);
  (*config.mutable_parameters())["mode"].set_string_value(model.model().summary().mode);
}

void FillStatistics(const ServableModel& model, inference::ModelStatistics& statistics) {
  const InferStatistics totals = model.statistics();
  statistics.set_name(model.name());
  statistics.set_version(model.version_text());
  statistics.set_last_inference(static_cast<uint64_t>(absl::ToUnixMillis(totals.last_inference)));
  statistics.set_inference_count(totals.rows);
  statistics.set_execution_count(totals.executions);
  inference::InferStatistics& requests = *statistics.mutable_inference_stats();
  Set(totals.succeeded, totals.success, *requests.mutable_success());
  Set(totals.failed, totals.fail, *requests.mutable_fail());
  Set(totals.succeeded, totals.queue, *requests.mutable_queue());
  Set(totals.succeeded, totals.input, *requests.mutable_compute_input());
  Set(totals.succeeded, totals.infer, *requests.mutable_compute_infer());
  Set(totals.succeeded, totals.output, *requests.mutable_compute_output());
  for (const auto& [rows, size] : totals.batch_sizes) {
    inference::InferBatchStatistics& batch = *statistics.add_batch_stats();
    batch.set_batch_size(static_cast<uint64_t>(rows));
    Set(size.executions, size.input, *batch.mutable_compute_input());
    Set(size.executions, size.infer, *batch.mutable_compute_infer());
    Set(size.executions, size.output, *batch.mutable_compute_output());
  }
  const runtime::MemoryLedger memory = model.model().memory();
  FillMemory("weights", memory.served_weight_bytes, statistics);
  FillMemory("arena", memory.arena_bytes, statistics);
  FillMemory("scratchpad", memory.scratchpad_bytes, statistics);
}

absl::string_view RepositoryState(ModelState state) {
  switch (state) {
    case ModelState::kLoading:
      return "LOADING";
    case ModelState::kReady:
      return "READY";
    case ModelState::kDraining:
      return "UNLOADING";
    case ModelState::kUnloaded:
    case ModelState::kFailed:
      break;
  }
  return "UNAVAILABLE";
}

}  // namespace octet::server
