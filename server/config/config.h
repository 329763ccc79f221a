// Everything a user can set, resolved: the file's values, the flags' values and the defaults.
//
// Members are what the rows in *_config.cc read into; those rows carry the ranges, and the text
// that `octet config explain` and docs/configuration.md show. To add a setting: one member here,
// one row there.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace octet::server {

struct TlsConfig {
  std::string certificate;  // paths of PEM files; empty: not set
  std::string key;
  std::string client_ca;

  bool enabled() const { return !certificate.empty(); }
};

struct ServerConfig {
  std::string address = "0.0.0.0";
  int grpc_port = 8001;  // 0: any free port
  int http_port = 8002;  // 0: any free port
  int64_t max_request_bytes = int64_t{64} << 20;
  int drain_seconds = 30;
  int max_connection_age_seconds = 0;  // 0: connections last as long as clients want
  bool strict_readiness = true;
  bool model_control = true;
  TlsConfig tls;
};

struct BatchingConfig {
  int max_batch_size = 32;
  int max_queue_delay_microseconds = 0;
  int max_queue_size = 1024;
};

struct ExecutionConfig {
  int streams = 0;             // 0: chosen for this machine
  int threads_per_stream = 0;  // 0: chosen for this machine
};

enum class QuantizationMode : uint8_t { kFloat32, kBFloat16, kInt8, kInt4, kAuto };
enum class RecipeName : uint8_t { kAuto, kCnn, kMobileCnn, kTransformer, kRnn, kMlp, kNone };
enum class WeightScheme : uint8_t { kAuto, kSymmetric, kAsymmetric };
enum class ErrorCompensation : uint8_t { kAuto, kNone, kGptq };
enum class WeightWeighting : uint8_t { kAuto, kNone, kActivation };
enum class WeightExpansion : uint8_t { kLoad, kRun };
enum class EmbeddingPrecision : uint8_t { kInt8, kFloat };
enum class WeightRange : uint8_t { kAuto, kFull, kReduced };
enum class ActivationTiming : uint8_t { kAuto, kStatic, kDynamic };
enum class ActivationScheme : uint8_t { kAuto, kSymmetric, kAsymmetric };
enum class ActivationGranularity : uint8_t { kAuto, kPerTensor, kPerToken };
enum class CalibrationSource : uint8_t { kAuto, kDataset, kDynamic, kSynthetic, kFile, kTraffic };
enum class NotANumberPolicy : uint8_t { kError, kZero };

struct BitsConfig {
  int weights = 0;  // 4 or 8; 0: the mode's
  int activations = 8;
  int bias = 32;
};

struct WeightGranularityConfig {
  enum class Kind : uint8_t { kAuto, kPerChannel, kPerTensor, kMixed, kGroup };

  Kind kind = Kind::kAuto;
  int group = 0;  // of kGroup: inputs that share a scale
};

struct WeightQuantizationConfig {
  WeightScheme scheme = WeightScheme::kAuto;
  std::string algorithm = "least_squares";  // name of a range estimator
  WeightGranularityConfig granularity;
  double mixed_gain_db = 0.5;
  WeightWeighting weighting = WeightWeighting::kAuto;
  WeightRange range = WeightRange::kAuto;
  std::string codebook = "none";  // or an algorithm
  ErrorCompensation error_compensation = ErrorCompensation::kAuto;
  WeightExpansion expand = WeightExpansion::kLoad;
  EmbeddingPrecision embeddings = EmbeddingPrecision::kInt8;
};

struct ActivationQuantizationConfig {
  ActivationScheme scheme = ActivationScheme::kAuto;
  std::string algorithm = "auto";  // name of a range estimator, or auto
  bool force = false;
  ActivationGranularity granularity = ActivationGranularity::kAuto;
  ActivationTiming timing = ActivationTiming::kAuto;
};

struct GptqParameters {
  double damping = 0.01;
};

struct LeastSquaresParameters {
  int max_iter = 10;
  double tolerance = 1e-6;
};

struct HistogramEqualizationParameters {
  double gamma = 0;  // up to 1; 0: 1/2 for ranges, 1/3 for codebooks
  int bins = 0;      // 0: by the number of values
};

enum class TreeGrowth : uint8_t { kBestFirst, kBalanced };

struct DecisionTreeParameters {
  TreeGrowth growth = TreeGrowth::kBestFirst;
};

struct AlgorithmParameters {
  double percentile = 99.99;
  LeastSquaresParameters least_squares;
  HistogramEqualizationParameters histogram_equalization;
  DecisionTreeParameters decision_tree;
  GptqParameters gptq;
};

enum class ImageLayout : uint8_t { kNchw, kNhwc };
enum class ImageColor : uint8_t { kRgb, kBgr, kGray };

// Both 0: not set; width 0: height is the length of the shorter side.
struct ImageSizeConfig {
  int height = 0;
  int width = 0;
};

// How images become a model's input; what is not set follows from the model or is an error.
struct PreprocessingConfig {
  ImageSizeConfig resize;
  ImageSizeConfig crop;
  std::vector<double> mean, std;  // empty: not set
  std::optional<double> scale;
  std::optional<ImageLayout> layout;
  std::optional<ImageColor> color;
};

struct CalibrationConfig {
  CalibrationSource source = CalibrationSource::kAuto;
  std::string path;  // empty: the folder `calibration` beside the model
  std::string save;  // empty: statistics are not kept
  bool learn_from_traffic = false;
  int sample_every = 1;
  int samples = 128;
  int64_t seed = 0;
  bool allow_unsafe = false;
  PreprocessingConfig preprocessing;
};

enum class AccuracyMetricName : uint8_t { kSqnr, kCosine, kRelativeError, kAgreement, kTop1, kF1 };
enum class AccuracyOnFail : uint8_t { kMixed, kFloat, kWarn, kError };

// A number, or the share of float32's right answers that may be lost; neither: the metric's own.
struct AccuracyTargetConfig {
  std::optional<double> value;
  std::optional<double> max_drop;
};

struct AccuracyConfig {
  AccuracyMetricName metric = AccuracyMetricName::kSqnr;
  AccuracyTargetConfig target;
  std::string validation;  // empty: a part of the calibration samples
  AccuracyOnFail on_fail = AccuracyOnFail::kMixed;
};

struct ShadowConfig {
  double sample_rate = 0;
};

struct ReportConfig {
  std::string path;  // empty: none is written
  std::vector<std::string> formats = {"text", "json", "html"};
  bool per_layer = true;
  bool histograms = false;
};

struct BudgetConfig {
  double seconds = 120;
  int threads = 0;    // 0: chosen for this machine
  int memory_mb = 0;  // 0: no limit
};

enum class FloatFallback : uint8_t { kAuto, kBFloat16, kFloat32 };

enum class SensitivityPolicy : uint8_t { kOutput, kLocal, kOff };

struct MixedPrecisionConfig {
  SensitivityPolicy policy = SensitivityPolicy::kOutput;
  FloatFallback fallback = FloatFallback::kAuto;
  double max_float_fraction = 0.35;  // share of the multiply-accumulates, 0 to 1
};

// Whether to do something: as the network suggests, or as told.
enum class Switch : uint8_t { kAuto, kOn, kOff };

struct SmoothQuantConfig {
  Switch enabled = Switch::kAuto;
  double alpha = 0;  // up to 1; 0: chosen for each activation
};

enum class AttentionMatmul : uint8_t { kAuto, kBFloat16, kFloat };

struct TransformsConfig {
  SmoothQuantConfig smooth_quant;
  bool fold_batchnorm = true;
  Switch cross_layer_equalization = Switch::kAuto;
  Switch bias_correction = Switch::kAuto;
  AttentionMatmul attention_matmul = AttentionMatmul::kAuto;
};

enum class LayerGranularity : uint8_t { kPerChannel, kPerTensor };

// What is not set is the model's.
struct LayerWeightsConfig {
  std::optional<std::string> algorithm;
  std::optional<LayerGranularity> granularity;
};

struct LayerActivationsConfig {  // none is kAuto
  std::optional<ActivationScheme> scheme;
  std::optional<std::string> algorithm;
  std::optional<bool> force;
  std::optional<ActivationGranularity> granularity;
  std::optional<ActivationTiming> timing;
};

struct LayerRule {
  std::string match;                     // glob on the node's name, or op:TYPE
  std::optional<QuantizationMode> mode;  // not kAuto
  LayerWeightsConfig weights;
  LayerActivationsConfig activations;
};

// Decisions of a load, kept for the next one.
struct CacheConfig {
  std::string dir;  // empty: beside the model, where that can be written to
  bool read = true;
  bool write = true;
};

struct QuantizationConfig {
  QuantizationMode mode = QuantizationMode::kFloat32;
  RecipeName recipe = RecipeName::kAuto;
  BitsConfig bits;
  WeightQuantizationConfig weights;
  ActivationQuantizationConfig activations;
  AlgorithmParameters algorithm_params;
  CalibrationConfig calibration;
  AccuracyConfig accuracy;
  MixedPrecisionConfig mixed_precision;
  TransformsConfig transforms;
  BudgetConfig budget;
  CacheConfig cache;
  ShadowConfig shadow;
  ReportConfig report;
  NotANumberPolicy on_nan = NotANumberPolicy::kError;
  bool override_embedded = false;
  bool strict = false;
  std::vector<LayerRule> layers;  // the first rule that matches wins
};

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError };
enum class LogFormat : uint8_t { kText, kJson };

struct LogConfig {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
};

// Which of the version folders of a model are served.
struct VersionPolicyConfig {
  enum class Kind : uint8_t { kLatest, kAll, kSpecific };

  Kind kind = Kind::kLatest;
  int latest = 1;                 // kLatest: how many, the highest numbers first
  std::vector<int64_t> versions;  // kSpecific: these, ascending
};

// One model; what its entry does not set is the top level's.
struct ModelConfig {
  std::string name;
  std::string path;  // empty: the folder `name` of the model repository
  VersionPolicyConfig version_policy;
  BatchingConfig batching;
  ExecutionConfig execution;
  QuantizationConfig quantization;
};

struct Config {
  std::string model_repository;  // empty: none
  ServerConfig server;
  BatchingConfig batching;
  ExecutionConfig execution;
  QuantizationConfig quantization;
  LogConfig log;
  std::vector<ModelConfig> models;

  // The settings of a model: its entry, or for one that has none the top level's.
  ModelConfig ForModel(absl::string_view name) const;
};

}  // namespace octet::server
