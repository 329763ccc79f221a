// Every metric of Octet, once. The registry, docs/metrics.md and the checks of dashboards and
// alerts all come from these rows: a new metric is a new row.

#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "absl/strings/string_view.h"

namespace octet::server {

struct MetricDef {
  enum class Type : uint8_t { kCounter, kGauge, kHistogram };

  Type type;
  absl::string_view name;
  absl::string_view help;
  std::span<const absl::string_view> labels;
  std::span<const double> buckets = {};  // histograms only: upper bounds, ascending
  // What users of Triton (nv_) and OpenVINO Model Server (ovms_) know it as; "" if neither has it.
  absl::string_view replaces = "";
};

namespace metric_labels {
inline constexpr std::array<absl::string_view, 2> kModel = {"model", "version"};
inline constexpr std::array<absl::string_view, 3> kModelLayer = {"model", "version", "layer"};
inline constexpr std::array<absl::string_view, 3> kModelCode = {"model", "version", "code"};
inline constexpr std::array<absl::string_view, 3> kModelKind = {"model", "version", "kind"};
inline constexpr std::array<absl::string_view, 4> kModelMode = {"model", "version", "mode",
                                                                "asked"};
inline constexpr std::array<absl::string_view, 3> kModelReason = {"model", "version", "reason"};
inline constexpr std::array<absl::string_view, 3> kModelResult = {"model", "version", "result"};
inline constexpr std::array<absl::string_view, 1> kResult = {"result"};
inline constexpr std::array<absl::string_view, 3> kModelMetric = {"model", "version", "metric"};
inline constexpr std::array<absl::string_view, 3> kModelVerdict = {"model", "version", "verdict"};
inline constexpr std::array<absl::string_view, 3> kBuild = {"version", "isa", "onednn"};
}  // namespace metric_labels

// From a small model that is served in a fraction of a millisecond to a queue that is lost.
inline constexpr std::array<double, 17> kLatencyBuckets = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30};

inline constexpr std::array<double, 11> kBatchSizeBuckets = {1,  2,   4,   8,   16,  32,
                                                             64, 128, 256, 512, 1024};

inline constexpr MetricDef kRequests{
    .type = MetricDef::Type::kCounter,
    .name = "octet_inference_requests_total",
    .help =
        "Inference requests finished, by gRPC status code. `model` and `version` are empty for "
        "requests that named no model of this server.",
    .labels = metric_labels::kModelCode,
    .replaces =
        "nv_inference_request_success, nv_inference_request_failure; ovms_requests_success, "
        "ovms_requests_fail, ovms_requests_accepted, ovms_requests_rejected"};

inline constexpr MetricDef kInferenceCount{
    .type = MetricDef::Type::kCounter,
    .name = "octet_inference_count_total",
    .help = "Rows inferred: a request with batch size 8 counts 8.",
    .labels = metric_labels::kModel,
    .replaces = "nv_inference_count"};

inline constexpr MetricDef kExecutions{
    .type = MetricDef::Type::kCounter,
    .name = "octet_inference_executions_total",
    .help = "Runs of the model. Rows divided by runs is the mean batch size.",
    .labels = metric_labels::kModel,
    .replaces = "nv_inference_exec_count"};

inline constexpr MetricDef kPendingRequests{
    .type = MetricDef::Type::kGauge,
    .name = "octet_pending_requests",
    .help = "Requests waiting in the queue, not yet part of a batch.",
    .labels = metric_labels::kModel,
    .replaces = "nv_inference_pending_request_count; ovms_current_requests"};

inline constexpr MetricDef kDispatches{
    .type = MetricDef::Type::kCounter,
    .name = "octet_batch_dispatch_total",
    .help =
        "Batches taken from the queue, by what made them leave: reason=\"stream_idle\" a stream "
        "was "
        "free, \"full\" there were as many rows as may run together, \"delay_over\" "
        "max_queue_delay_microseconds allowed no longer wait for company, \"draining\" the model "
        "is going.",
    .labels = metric_labels::kModelReason};

inline constexpr MetricDef kStreams{.type = MetricDef::Type::kGauge,
                                    .name = "octet_model_streams",
                                    .help = "Batches of the model that can run at the same time.",
                                    .labels = metric_labels::kModel};

inline constexpr MetricDef kQueueLimit{
    .type = MetricDef::Type::kGauge,
    .name = "octet_queue_limit_requests",
    .help = "batching.max_queue_size: with that many pending requests the next one is refused.",
    .labels = metric_labels::kModel};

inline constexpr MetricDef kBusySeconds{
    .type = MetricDef::Type::kCounter,
    .name = "octet_stream_busy_seconds_total",
    .help =
        "Time that streams spent running batches, each batch counted once. Its rate divided by "
        "octet_model_streams is the utilisation.",
    .labels = metric_labels::kModel};

inline constexpr MetricDef kBatchSize{.type = MetricDef::Type::kHistogram,
                                      .name = "octet_batch_size",
                                      .help = "Rows per run, without padding.",
                                      .labels = metric_labels::kModel,
                                      .buckets = kBatchSizeBuckets};

inline constexpr MetricDef kRequestSeconds{
    .type = MetricDef::Type::kHistogram,
    .name = "octet_request_duration_seconds",
    .help = "Time from the arrival of a whole request to its answer, errors included.",
    .labels = metric_labels::kModel,
    .buckets = kLatencyBuckets,
    .replaces = "nv_inference_request_duration_us; ovms_request_time_us"};

inline constexpr MetricDef kQueueSeconds{
    .type = MetricDef::Type::kHistogram,
    .name = "octet_queue_duration_seconds",
    .help = "Time a request waited until the batch that carried it was formed.",
    .labels = metric_labels::kModel,
    .buckets = kLatencyBuckets,
    .replaces = "nv_inference_queue_duration_us; ovms_wait_for_infer_req_time_us"};

inline constexpr MetricDef kComputeSeconds{
    .type = MetricDef::Type::kHistogram,
    .name = "octet_compute_duration_seconds",
    .help =
        "Time the batch that carried a request took: copying rows in, kernels, copying rows "
        "out. Observed once per request.",
    .labels = metric_labels::kModel,
    .buckets = kLatencyBuckets,
    .replaces =
        "nv_inference_compute_input_duration_us, nv_inference_compute_infer_duration_us, "
        "nv_inference_compute_output_duration_us; ovms_inference_time_us"};

inline constexpr MetricDef kLoadSeconds{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_load_seconds",
    .help =
        "Time from the start of the load to readiness: import, quantization, compilation, "
        "warm-up.",
    .labels = metric_labels::kModel,
    .replaces = "nv_model_load_duration_secs"};

inline constexpr MetricDef kQuantizationSeconds{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_quantization_seconds",
    .help =
        "The part of octet_model_load_seconds that calibration and quantization took; 0 in "
        "fp32 mode.",
    .labels = metric_labels::kModel};

inline constexpr MetricDef kWarmStart{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_warm_start",
    .help =
        "1 if what an earlier load decided was taken over from a .qpack file, 0 if the model was "
        "quantized anew. Absent where none are kept.",
    .labels = metric_labels::kModel};

inline constexpr MetricDef kWeightBytes{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_weight_bytes",
    .help =
        "Bytes of weights: kind=\"served\" is what is in memory, kind=\"float32\" what they "
        "would take unquantized, kind=\"shadow\" what quantization.shadow keeps beside them.",
    .labels = metric_labels::kModelKind};

inline constexpr MetricDef kSavedBytes{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_memory_saved_bytes",
    .help =
        "Weight bytes that quantization saves: float32 less served. Slightly negative for models "
        "served in float32, whose packed weights are padded to whole blocks of channels.",
    .labels = metric_labels::kModel};

inline constexpr MetricDef kArenaBytes{.type = MetricDef::Type::kGauge,
                                       .name = "octet_model_arena_bytes",
                                       .help = "Memory for activations, all streams.",
                                       .labels = metric_labels::kModel};

inline constexpr MetricDef kScratchpadBytes{.type = MetricDef::Type::kGauge,
                                            .name = "octet_model_scratchpad_bytes",
                                            .help = "Temporary memory of kernels, all streams.",
                                            .labels = metric_labels::kModel};

inline constexpr MetricDef kModelInfo{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_info",
    .help =
        "1 for every served model; mode is fp32, bf16, int8 or int4, asked is what the "
        "configuration says: one of these, or auto.",
    .labels = metric_labels::kModelMode};

inline constexpr MetricDef kSwaps{
    .type = MetricDef::Type::kCounter,
    .name = "octet_model_swap_total",
    .help =
        "Times the model was loaded again while it was served: result=\"ok\" the new one replaced "
        "the old one, result=\"failed\" the old one stayed.",
    .labels = metric_labels::kModelResult};

inline constexpr MetricDef kConfigReloads{
    .type = MetricDef::Type::kCounter,
    .name = "octet_config_reload_total",
    .help =
        "Times the configuration was read again: result=\"ok\" it was taken up, \"rejected\" it "
        "was "
        "not valid, \"failed\" it could not be taken up. All but ok leave everything as it was.",
    .labels = metric_labels::kResult};

inline constexpr MetricDef kConfigTime{
    .type = MetricDef::Type::kGauge,
    .name = "octet_config_last_reload_success_timestamp_seconds",
    .help = "When the configuration was last taken up, the start included; seconds since 1970.",
    .labels = {}};

inline constexpr MetricDef kOutputSqnr{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_output_sqnr_db",
    .help =
        "Signal to quantization noise of the served model's outputs, in dB, measured while it was "
        "loaded; 99 is no noise. Absent where nothing was measured.",
    .labels = metric_labels::kModel};

inline constexpr MetricDef kAccuracy{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_accuracy",
    .help =
        "What the accuracy target is held against, measured while the model was loaded: metric is "
        "quantization.accuracy.metric, or top1_loss. Absent where nothing was measured.",
    .labels = metric_labels::kModelMetric};

inline constexpr MetricDef kAccuracyTarget{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_accuracy_target",
    .help = "What was asked: the least, of relative_error and top1_loss the most.",
    .labels = metric_labels::kModelMetric};

inline constexpr MetricDef kAccuracyVerdict{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_accuracy_verdict",
    .help =
        "1 for the verdict on a quantized model: met, best_effort (the target is missed) or "
        "unverified (too little data to say).",
    .labels = metric_labels::kModelVerdict};

inline constexpr MetricDef kCalibrationRows{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_calibration_requests",
    .help =
        "Rows of requests that are kept to calibrate the model with, or that have calibrated it. "
        "Absent for models that do not learn from requests.",
    .labels = metric_labels::kModel};

inline constexpr MetricDef kShadowRequests{
    .type = MetricDef::Type::kCounter,
    .name = "octet_model_shadow_requests_total",
    .help =
        "Requests that quantization.shadow.sample_rate chose to be run in float32 too: "
        "result=\"compared\", \"passed_over\" while an earlier one was being compared, or "
        "\"failed\". Absent without sampling.",
    .labels = metric_labels::kModelResult};

inline constexpr MetricDef kShadowSqnr{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_shadow_output_sqnr_db",
    .help =
        "Signal to quantization noise of the answers, in dB, over the last 256 requests compared "
        "with float32. Far below octet_model_output_sqnr_db: requests are not like the data that "
        "the model was calibrated with.",
    .labels = metric_labels::kModel};

inline constexpr MetricDef kShadowAgreement{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_shadow_agreement",
    .help =
        "Share of decisions that are float32's, over the last 256 requests compared; absent where "
        "outputs do not decide.",
    .labels = metric_labels::kModel};

inline constexpr MetricDef kShadowClipRatio{
    .type = MetricDef::Type::kGauge,
    .name = "octet_model_shadow_clip_ratio",
    .help =
        "Share of the values a layer reads that is beyond the range it was calibrated for, over "
        "the last 256 requests compared: the five layers of a model where it is largest. Absent "
        "for models without ranges from calibration.",
    .labels = metric_labels::kModelLayer};

inline constexpr MetricDef kResidentBytes{
    .type = MetricDef::Type::kGauge,
    .name = "octet_process_resident_bytes",
    .help = "Resident memory of the server process, read when scraped.",
    .labels = {},
    .replaces = "nv_cpu_memory_used_bytes (which is of the whole machine)"};

inline constexpr MetricDef kMemoryLimit{
    .type = MetricDef::Type::kGauge,
    .name = "octet_process_memory_limit_bytes",
    .help =
        "Memory that the process may use, read when scraped: the limit of its container, or the "
        "machine's memory where there is none.",
    .labels = {}};

inline constexpr MetricDef kCpuSeconds{.type = MetricDef::Type::kCounter,
                                       .name = "octet_process_cpu_seconds_total",
                                       .help = "CPU time of the process, user and system.",
                                       .labels = {},
                                       .replaces = "nv_cpu_utilization (of the whole machine)"};

inline constexpr MetricDef kCpuCores{
    .type = MetricDef::Type::kGauge,
    .name = "octet_process_cpu_cores",
    .help =
        "Cores that the process may use, by its affinity mask and its container's quota, rounded "
        "up.",
    .labels = {}};

inline constexpr MetricDef kReady{.type = MetricDef::Type::kGauge,
                                  .name = "octet_ready",
                                  .help = "1 when /healthz/ready answers 200, else 0.",
                                  .labels = {}};

inline constexpr MetricDef kBuildInfo{
    .type = MetricDef::Type::kGauge,
    .name = "octet_build_info",
    .help = "1; Octet's version, the instruction set in use, and the version of oneDNN.",
    .labels = metric_labels::kBuild};

inline constexpr std::array kCatalog = {
    &kRequests,       &kInferenceCount,  &kExecutions,     &kPendingRequests, &kBatchSize,
    &kRequestSeconds, &kQueueSeconds,    &kComputeSeconds, &kLoadSeconds,     &kQuantizationSeconds,
    &kWeightBytes,    &kSavedBytes,      &kArenaBytes,     &kScratchpadBytes, &kModelInfo,
    &kSwaps,          &kConfigReloads,   &kConfigTime,     &kOutputSqnr,      &kAccuracy,
    &kAccuracyTarget, &kAccuracyVerdict, &kShadowRequests, &kShadowSqnr,      &kShadowAgreement,
    &kResidentBytes,  &kBuildInfo,       &kWarmStart,      &kDispatches,      &kStreams,
    &kQueueLimit,     &kBusySeconds,     &kMemoryLimit,    &kCpuSeconds,      &kCpuCores,
    &kReady,          &kCalibrationRows, &kShadowClipRatio};

}  // namespace octet::server
