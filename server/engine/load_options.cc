#include "server/engine/load_options.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/config/fields.h"

namespace octet::server {
namespace {

// The configuration's names are those of the field; the registry's are file names.
std::string EstimatorName(const std::string& name) { return name == "minmax" ? "min_max" : name; }

runtime::AccuracyTarget ToTarget(const AccuracyConfig& config) {
  using Metric = runtime::AccuracyMetric;
  Metric metric = Metric::kTop1;
  switch (config.metric) {
    case AccuracyMetricName::kSqnr:
      metric = Metric::kSqnr;
      break;
    case AccuracyMetricName::kCosine:
      metric = Metric::kCosine;
      break;
    case AccuracyMetricName::kRelativeError:
      metric = Metric::kRelativeError;
      break;
    case AccuracyMetricName::kAgreement:
      metric = Metric::kAgreement;
      break;
    case AccuracyMetricName::kTop1:
      break;
    case AccuracyMetricName::kF1:
      metric = Metric::kF1;
      break;
  }
  if (config.target.max_drop) return {metric, *config.target.max_drop, /*is_drop=*/true};
  if (config.target.value) return {metric, *config.target.value};
  return runtime::DefaultTarget(metric);
}

runtime::OnFail ToOnFail(AccuracyOnFail on_fail) {
  switch (on_fail) {
    case AccuracyOnFail::kFloat:
      return runtime::OnFail::kFloat;
    case AccuracyOnFail::kWarn:
      return runtime::OnFail::kWarn;
    case AccuracyOnFail::kError:
      return runtime::OnFail::kError;
    case AccuracyOnFail::kMixed:
      break;
  }
  return runtime::OnFail::kMixed;
}

// None: to be detected.
std::optional<runtime::Recipe> ToRecipe(RecipeName name) {
  using runtime::Recipe;
  switch (name) {
    case RecipeName::kCnn:
      return Recipe::kCnn;
    case RecipeName::kMobileCnn:
      return Recipe::kMobileCnn;
    case RecipeName::kTransformer:
      return Recipe::kTransformer;
    case RecipeName::kRnn:
      return Recipe::kRnn;
    case RecipeName::kMlp:
      return Recipe::kMlp;
    case RecipeName::kNone:
      return Recipe::kNone;
    case RecipeName::kAuto:
      break;
  }
  return std::nullopt;
}

runtime::Mode ToMode(QuantizationMode mode) {
  switch (mode) {
    case QuantizationMode::kBFloat16:
      return runtime::Mode::kBFloat16;
    case QuantizationMode::kInt8:
      return runtime::Mode::kInt8;
    case QuantizationMode::kInt4:
      return runtime::Mode::kInt4;
    case QuantizationMode::kAuto:
      return runtime::Mode::kAuto;
    case QuantizationMode::kFloat32:
      break;
  }
  return runtime::Mode::kFloat32;
}

runtime::LayerRule ToLayerRule(const LayerRule& config) {
  runtime::LayerRule rule{.match = config.match};
  if (config.mode) rule.mode = ToMode(*config.mode);
  if (config.weights.algorithm) rule.weight_algorithm = EstimatorName(*config.weights.algorithm);
  if (config.weights.granularity) {
    rule.per_channel = *config.weights.granularity == LayerGranularity::kPerChannel;
  }
  if (config.activations.algorithm) {
    rule.activation_algorithm = EstimatorName(*config.activations.algorithm);
  }
  if (config.activations.timing) {
    rule.dynamic = *config.activations.timing == ActivationTiming::kDynamic;
  }
  rule.force_clipping = config.activations.force.value_or(false);
  if (config.activations.scheme) {
    rule.symmetric = *config.activations.scheme == ActivationScheme::kSymmetric;
  }
  if (config.activations.granularity) {
    rule.by_token = *config.activations.granularity == ActivationGranularity::kPerToken;
  }
  return rule;
}

runtime::Fallback ToFallback(FloatFallback fallback) {
  switch (fallback) {
    case FloatFallback::kBFloat16:
      return runtime::Fallback::kBFloat16;
    case FloatFallback::kFloat32:
      return runtime::Fallback::kFloat32;
    case FloatFallback::kAuto:
      break;
  }
  return runtime::Fallback::kAuto;
}

quant::EstimatorOptions ToEstimatorOptions(const AlgorithmParameters& config) {
  quant::EstimatorOptions options{
      .percentile = config.percentile,
      .max_iterations = config.least_squares.max_iter,
      .tolerance = config.least_squares.tolerance,
      .bins = static_cast<size_t>(config.histogram_equalization.bins),
      .balanced_tree = config.decision_tree.growth == TreeGrowth::kBalanced};
  if (config.histogram_equalization.gamma > 0) {
    options.gamma = options.codebook_gamma = config.histogram_equalization.gamma;
  }
  return options;
}

// Threads for the weights; more than a few would be felt by what is served meanwhile.
constexpr int kMostThreads = 4;

void SetWeights(const QuantizationConfig& config, runtime::QuantizeOptions& options) {
  using Granularity = WeightGranularityConfig::Kind;
  const WeightQuantizationConfig& weights = config.weights;
  options.threads =
      config.budget.threads > 0 ? config.budget.threads : std::min(UsableCores(), kMostThreads);
  options.per_channel = weights.granularity.kind != Granularity::kPerTensor;
  if (weights.granularity.kind == Granularity::kMixed) {
    options.least_channel_gain_db = weights.mixed_gain_db;
  }
  runtime::QuantizeOptions::FourBits& four_bits = options.four_bits;
  const bool codebook = weights.codebook != "none";
  if (codebook) four_bits.codebook = weights.codebook;
  four_bits.symmetric = weights.scheme == WeightScheme::kSymmetric;
  four_bits.one_table = weights.granularity.kind == Granularity::kPerTensor;
  if (weights.granularity.kind == Granularity::kGroup) {
    four_bits.group = weights.granularity.group;
  } else if (codebook || weights.granularity.kind == Granularity::kPerChannel) {
    four_bits.group = 0;
  }
  four_bits.expand_at_run = weights.expand == WeightExpansion::kRun;
  options.embeddings = weights.embeddings == EmbeddingPrecision::kInt8;
}

// An option with kOn, kOff and kAuto.
template <typename Option>
Option FromSwitch(Switch value) {
  if (value == Switch::kAuto) return Option::kAuto;
  return value == Switch::kOn ? Option::kOn : Option::kOff;
}

void SetWeightErrors(const WeightQuantizationConfig& weights, runtime::QuantizeOptions& options) {
  using Compensation = runtime::QuantizeOptions::Compensation;
  const ErrorCompensation compensation = weights.error_compensation;
  options.compensation = compensation == ErrorCompensation::kGptq   ? Compensation::kGptq
                         : compensation == ErrorCompensation::kNone ? Compensation::kNone
                                                                    : Compensation::kAuto;
  using Weighting = runtime::QuantizeOptions::Weighting;
  options.weighting = weights.weighting == WeightWeighting::kNone         ? Weighting::kNone
                      : weights.weighting == WeightWeighting::kActivation ? Weighting::kActivation
                                                                          : Weighting::kAuto;
  using Range = runtime::QuantizeOptions::WeightRange;
  options.weight_range = weights.range == WeightRange::kFull      ? Range::kFull
                         : weights.range == WeightRange::kReduced ? Range::kReduced
                                                                  : Range::kAuto;
}

void SetActivations(const ActivationQuantizationConfig& activations,
                    runtime::QuantizeOptions& options) {
  if (activations.algorithm != "auto") {
    options.activation_algorithms = {EstimatorName(activations.algorithm)};
  }
  using Timing = runtime::QuantizeOptions::Timing;
  options.timing = activations.timing == ActivationTiming::kStatic    ? Timing::kStatic
                   : activations.timing == ActivationTiming::kDynamic ? Timing::kDynamic
                                                                      : Timing::kAuto;
  options.force_clipping = activations.force;
  options.symmetric_activations = activations.scheme == ActivationScheme::kSymmetric;
  options.ranges_by_token = activations.granularity != ActivationGranularity::kPerTensor;
}

void SetTransforms(const TransformsConfig& transforms, runtime::QuantizeOptions& options) {
  using Options = runtime::QuantizeOptions;
  options.smoothing = FromSwitch<Options::Smoothing>(transforms.smooth_quant.enabled);
  options.equalization = FromSwitch<Options::Equalization>(transforms.cross_layer_equalization);
  options.bias_correction = FromSwitch<Options::BiasCorrection>(transforms.bias_correction);
  using Products = Options::AttentionProducts;
  options.attention = transforms.attention_matmul == AttentionMatmul::kFloat ? Products::kFloat32
                      : transforms.attention_matmul == AttentionMatmul::kBFloat16
                          ? Products::kBFloat16
                          : Products::kAuto;
  if (transforms.smooth_quant.alpha > 0) options.smoothing_alpha = transforms.smooth_quant.alpha;
}

void SetSearch(const QuantizationConfig& config, runtime::QuantizeOptions& options) {
  options.accuracy = ToTarget(config.accuracy);
  options.target_is_set = config.accuracy.target.value || config.accuracy.target.max_drop;
  options.on_fail = ToOnFail(config.accuracy.on_fail);
  options.search_seconds = config.budget.seconds;
  options.max_float_fraction = config.mixed_precision.max_float_fraction;
  using Policy = runtime::QuantizeOptions::Policy;
  const SensitivityPolicy policy = config.mixed_precision.policy;
  options.policy = policy == SensitivityPolicy::kLocal ? Policy::kLocal
                   : policy == SensitivityPolicy::kOff ? Policy::kOff
                                                       : Policy::kOutput;
  options.fallback = ToFallback(config.mixed_precision.fallback);
}

runtime::QuantizeOptions ToQuantizeOptions(const QuantizationConfig& config) {
  runtime::QuantizeOptions options;
  options.weight_algorithm = EstimatorName(config.weights.algorithm);
  options.damping = config.algorithm_params.gptq.damping;
  options.recipe = ToRecipe(config.recipe);
  SetWeights(config, options);
  SetWeightErrors(config.weights, options);
  SetActivations(config.activations, options);
  SetTransforms(config.transforms, options);
  SetSearch(config, options);
  options.estimation = ToEstimatorOptions(config.algorithm_params);
  options.zero_non_finite = config.on_nan == NotANumberPolicy::kZero;
  options.estimated = config.calibration.source == CalibrationSource::kSynthetic;
  options.memory_bytes = int64_t{config.budget.memory_mb} << 20;
  options.strict = config.strict;
  for (const LayerRule& rule : config.layers) options.layers.push_back(ToLayerRule(rule));
  return options;
}

// None if nothing is set.
std::optional<runtime::ImagePreprocessing> ToPreprocessing(const PreprocessingConfig& config) {
  using Preprocessing = runtime::ImagePreprocessing;
  const bool set = config.resize.height > 0 || config.crop.height > 0 || !config.mean.empty() ||
                   !config.std.empty() || config.scale || config.layout || config.color;
  if (!set) return std::nullopt;
  Preprocessing result{.mean = config.mean, .std = config.std};
  const auto size = [](const ImageSizeConfig& from) {
    return runtime::ImageSize{from.height, from.width};
  };
  if (config.resize.width > 0) {
    result.resize = size(config.resize);
  } else {
    result.shorter_side = config.resize.height;
  }
  if (config.crop.height > 0) result.crop = size(config.crop);
  result.scale = config.scale.value_or(result.scale);
  if (config.layout) {
    result.layout = *config.layout == ImageLayout::kNchw ? Preprocessing::Layout::kNchw
                                                         : Preprocessing::Layout::kNhwc;
  }
  if (!config.color) return result;
  switch (*config.color) {
    case ImageColor::kRgb:
      result.color = Preprocessing::Color::kRgb;
      break;
    case ImageColor::kBgr:
      result.color = Preprocessing::Color::kBgr;
      break;
    case ImageColor::kGray:
      result.color = Preprocessing::Color::kGray;
      break;
  }
  return result;
}

// Settings that say where things are: what is there counts by its content.
bool ChangesNetwork(absl::string_view path) {
  for (const char* other :
       {"calibration.source", "calibration.path", "calibration.save",
        "calibration.learn_from_traffic", "calibration.sample_every", "accuracy.validation"}) {
    if (path == other) return false;
  }
  for (const char* section : {"cache.", "report.", "shadow."}) {
    if (absl::StartsWith(path, section)) return false;
  }
  return true;
}

// The CPU quota of this container: cgroup version 2, then 1. Infinity without one.
double CgroupCores() {
  std::string quota;
  double period = 0;
  if (std::ifstream file("/sys/fs/cgroup/cpu.max"); file >> quota >> period) {
    double amount = 0;  // the file may also say "max"
    return absl::SimpleAtod(quota, &amount) && period > 0 ? amount / period : HUGE_VAL;
  }
  double amount = 0;
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota_file >> amount && period_file >> period && amount > 0 && period > 0) {
    return amount / period;
  }
  return HUGE_VAL;
}

}  // namespace

runtime::LoadOptions ToLoadOptions(const ModelConfig& model, int threads) {
  const QuantizationConfig& quantization = model.quantization;
  return {.max_batch_size = model.batching.max_batch_size,
          .threads = threads,
          .mode = ToMode(quantization.mode),
          .calibration_path = quantization.calibration.path,
          .preprocessing = ToPreprocessing(quantization.calibration.preprocessing),
          .statistics = quantization.calibration.source == CalibrationSource::kFile,
          .save_statistics = quantization.calibration.save,
          .dynamic = quantization.calibration.source == CalibrationSource::kDynamic ||
                     quantization.calibration.source == CalibrationSource::kTraffic,
          .samples_required = quantization.calibration.source == CalibrationSource::kDataset ||
                              quantization.activations.timing == ActivationTiming::kStatic,
          .calibration_samples = static_cast<size_t>(quantization.calibration.samples),
          .synthetic = quantization.calibration.source == CalibrationSource::kSynthetic,
          .seed = static_cast<uint64_t>(quantization.calibration.seed),
          .allow_noise = quantization.calibration.allow_unsafe,
          .validation_path = quantization.accuracy.validation,
          .strip_quantization = quantization.override_embedded,
          .fold_batch_norm = quantization.transforms.fold_batchnorm,
          .quantization = ToQuantizeOptions(quantization)};
}

runtime::PackCache ToPackCache(const QuantizationConfig& quantization) {
  runtime::PackCache cache{.folder = quantization.cache.dir,
                           .read = quantization.cache.read,
                           .write = quantization.cache.write};
  VisitFields(QuantizationFields(), quantization, "", {[&](const Setting& setting) {
                const bool value =
                    setting.kind == Setting::Kind::kValue || setting.kind == Setting::Kind::kList;
                if (!value || !ChangesNetwork(setting.path)) return;
                absl::StrAppend(&cache.configuration, setting.path, ": ", setting.value, "\n");
              }});
  return cache;
}

int UsableCores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  const int allowed = sched_getaffinity(0, sizeof(mask), &mask) == 0 ? CPU_COUNT(&mask) : 1;
  const double quota = CgroupCores();
  const int granted = quota >= allowed ? allowed : static_cast<int>(std::ceil(quota));
  return std::max(1, std::min(allowed, granted));
}

Execution ResolveExecution(const ExecutionConfig& config) {
  const int cores = UsableCores();
  Execution execution;
  execution.threads_per_stream = config.threads_per_stream > 0 ? config.threads_per_stream : 1;
  execution.streams =
      config.streams > 0 ? config.streams : std::max(1, cores / execution.threads_per_stream);
  return execution;
}

}  // namespace octet::server
