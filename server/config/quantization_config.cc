// Rows of `quantization`. What a later version adds leaves unsupported.cc and becomes a row here.

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "server/config/fields.h"

namespace octet::server {
namespace {

ValueForm<QuantizationMode> Mode() {
  return Choice<QuantizationMode>({{"fp32", QuantizationMode::kFloat32},
                                   {"bf16", QuantizationMode::kBFloat16},
                                   {"int8", QuantizationMode::kInt8},
                                   {"int4", QuantizationMode::kInt4},
                                   {"auto", QuantizationMode::kAuto}});
}

ValueForm<QuantizationMode> LayerMode() {
  return Choice<QuantizationMode>({{"fp32", QuantizationMode::kFloat32},
                                   {"bf16", QuantizationMode::kBFloat16},
                                   {"int8", QuantizationMode::kInt8},
                                   {"int4", QuantizationMode::kInt4}});
}

ValueForm<LayerGranularity> Granularity() {
  return Choice<LayerGranularity>({{"per_channel", LayerGranularity::kPerChannel},
                                   {"per_tensor", LayerGranularity::kPerTensor}});
}

const Fields<CalibrationConfig>& CalibrationFields() {
  static const auto* const kFields = new Fields<CalibrationConfig>{
      Value(
          "source", &CalibrationConfig::source,
          Choice<CalibrationSource>({{"auto", CalibrationSource::kAuto},
                                     {"dataset", CalibrationSource::kDataset},
                                     {"dynamic", CalibrationSource::kDynamic},
                                     {"synthetic", CalibrationSource::kSynthetic},
                                     {"file", CalibrationSource::kFile},
                                     {"traffic", CalibrationSource::kTraffic}}),
          "auto: the data where there is some, else dynamic. dataset: fail without data. "
          "dynamic: leave data alone. synthetic: random tokens, whose accuracy proves nothing; "
          "refused for models that read images (Q010). file: statistics of earlier samples, in "
          ".qcal files; refused if they are of another network (Q009). traffic: dynamic at first; "
          "when enough requests have come, static by these, if the accuracy target holds."),
      Value("path", &CalibrationConfig::path, Path("the path of a file or folder"),
            "Samples as .npz, .npy, ONNX test-data .pb or .jsonl files of tokens; with "
            "preprocessing .jpg and .png files. None is the folder `calibration` beside the model, "
            "if there is one. For source file a "
            ".qcal file, or a folder whose "
            ".qcal files count together."),
      Value("save", &CalibrationConfig::save, Path("the path of a file or folder"),
            "Where to keep the statistics of the samples, as a .qcal file; in a folder each model "
            "has one. None: nowhere."),
      Value(
          "learn_from_traffic", &CalibrationConfig::learn_from_traffic, Boolean(),
          "Models that sources auto and dynamic leave dynamic learn from requests, too, and become "
          "static if that is measured to be faster or nearer to float32."),
      Value("sample_every", &CalibrationConfig::sample_every, Integer<int>(1, 1'000'000),
            "Learning from requests: every how many requests one is kept."),
      Value("samples", &CalibrationConfig::samples, Integer<int>(1, 100'000),
            "Most samples that are read, or how many are made up, or kept of requests."),
      Value("seed", &CalibrationConfig::seed, Integer<int64_t>(0, int64_t{1} << 62),
            "Where the random numbers of source synthetic begin."),
      Value("allow_unsafe", &CalibrationConfig::allow_unsafe, Boolean(),
            "Lets source synthetic make noise for inputs that are no tokens, which costs much of "
            "the accuracy."),
      Section(
          "preprocessing", &CalibrationConfig::preprocessing, PreprocessingFields(),
          "How images become the model's input, those of accuracy.validation too. In this order: "
          "color, resize, crop, scale, mean and std, layout. Without any of these settings "
          "images are not read.",
          CheckPreprocessing),
  };
  return *kFields;
}

const Fields<AccuracyConfig>& AccuracyFields() {
  static const auto* const kFields = new Fields<AccuracyConfig>{
      Value("metric", &AccuracyConfig::metric,
            Choice<AccuracyMetricName>({{"sqnr", AccuracyMetricName::kSqnr},
                                        {"cosine", AccuracyMetricName::kCosine},
                                        {"relative_error", AccuracyMetricName::kRelativeError},
                                        {"agreement", AccuracyMetricName::kAgreement},
                                        {"top1", AccuracyMetricName::kTop1},
                                        {"f1", AccuracyMetricName::kF1}}),
            "What is measured: signal to quantization noise of the outputs in dB; mean cosine with "
            "the outputs of float32; norm of the error by that of the outputs; share of decisions "
            "(largest output) that are float32's; share that is the label; F1 of the decisions, of "
            "class 1 where there are two, else the mean over the classes."),
      Value("target", &AccuracyConfig::target, AccuracyTargetForm(),
            "The least that is good enough, of relative_error the most; for top1 and f1 also the "
            "share of what float32 has that may be lost. auto: sqnr 20, cosine 0.99, "
            "relative_error 0.1, agreement 0.97, top1 and f1 {max_drop: 0.01}."),
      Value("validation", &AccuracyConfig::validation, Path("the path of a file or folder"),
            "What to measure on, in the form of calibration data; .npz files may have an array "
            "`labels`, folders of images a file labels.txt. None is a quarter of the calibration "
            "samples, which then does not "
            "calibrate."),
      Value("on_fail", &AccuracyConfig::on_fail,
            Choice<AccuracyOnFail>({{"mixed", AccuracyOnFail::kMixed},
                                    {"float", AccuracyOnFail::kFloat},
                                    {"warn", AccuracyOnFail::kWarn},
                                    {"error", AccuracyOnFail::kError}}),
            "What follows when giving single layers more precision does not reach the target: "
            "serve the best that was found; serve the model in float32; move no layer at all and "
            "only say so; or refuse to load."),
  };
  return *kFields;
}

const Fields<MixedPrecisionConfig>& MixedPrecisionFields() {
  static const auto* const kFields = new Fields<MixedPrecisionConfig>{
      Value("policy", &MixedPrecisionConfig::policy,
            Choice<SensitivityPolicy>({{"output", SensitivityPolicy::kOutput},
                                       {"local", SensitivityPolicy::kLocal},
                                       {"off", SensitivityPolicy::kOff}}),
            "Which layers get more precision where the target is missed: those that, quantized "
            "alone, harm the network's outputs most (output); their own results most, which one "
            "run tells of all layers (local); or none (off)."),
      Value("fallback", &MixedPrecisionConfig::fallback,
            Choice<FloatFallback>({{"auto", FloatFallback::kAuto},
                                   {"bf16", FloatFallback::kBFloat16},
                                   {"fp32", FloatFallback::kFloat32}}),
            "What layers get that leave int8 to reach the target. auto: bf16 where the CPU has it "
            "(AVX512-BF16 or AMX) and the target holds with it, else fp32. bf16: never fp32, but "
            "on a CPU without it."),
      Value("max_float_fraction", &MixedPrecisionConfig::max_float_fraction, Real(0, 1),
            "Largest share of the multiply-accumulates that may be in fp32 or bf16 to reach the "
            "target; 0 keeps every layer that can be int8 in int8."),
  };
  return *kFields;
}

const Fields<BudgetConfig>& BudgetFields() {
  static const auto* const kFields = new Fields<BudgetConfig>{
      Value("seconds", &BudgetConfig::seconds, Real(0, 86'400),
            "Time for finding the layers that need more than int8; the best found by then is "
            "taken. 0: no search."),
      Value("threads", &BudgetConfig::threads, IntegerOrAuto<int>(1024),
            "Threads that quantize weights and run samples; auto: one per core, at most 4."),
      Value(
          "memory_mb", &BudgetConfig::memory_mb, IntegerOrAuto<int>(1 << 24),
          "What quantizing a model may hold in MiB: the largest layer in float32, integers made of "
          "all of them and statistics of what layers read, but not the activations of running it. "
          "Layers whose statistics do not fit are rounded without error compensation; a model "
          "whose weights do not is not loaded. Float32 weights and samples count whole where no "
          "temporary file can hold them (see Size in operations.md). auto: no limit, and "
          "statistics of twice the float weights, from 64 to 256 MiB."),
  };
  return *kFields;
}

const Fields<ShadowConfig>& ShadowFields() {
  static const auto* const kFields = new Fields<ShadowConfig>{
      Value("sample_rate", &ShadowConfig::sample_rate, Real(0, 1),
            "Share of the requests that float32 runs too, in the background, to compare the "
            "answers; keeps the float32 weights in memory. 0: none."),
  };
  return *kFields;
}

const Fields<ReportConfig>& ReportFields() {
  static const auto* const kFields = new Fields<ReportConfig>{
      Value("path", &ReportConfig::path, Path("the path of a folder"),
            "Folder in which NAME/VERSION/report.txt, .json and .html are written whenever a model "
            "is quantized; none: no report is written."),
      Value("formats", &ReportConfig::formats, Words({"text", "json", "html"}),
            "Which of report.txt, report.json and report.html, the page for the browser, are "
            "written."),
      Value("per_layer", &ReportConfig::per_layer, Boolean(),
            "With what has become of each layer, beside the totals."),
      Value("histograms", &ReportConfig::histograms, Boolean(),
            "With what each layer reads and how every algorithm would have quantized it. Takes "
            "longer than quantizing; a start from a .qpack file has none."),
  };
  return *kFields;
}

const Fields<CacheConfig>& CacheFields() {
  static const auto* const kFields = new Fields<CacheConfig>{
      Value("dir", &CacheConfig::dir, Path("the path of a folder"),
            "Folder of the .qpack files; none is the folder of the model, if it can be written "
            "to."),
      Value("read", &CacheConfig::read, Boolean(),
            "Take over what an earlier load of the same model, data and settings decided."),
      Value("write", &CacheConfig::write, Boolean(), "Keep what a load decides."),
  };
  return *kFields;
}

std::string CheckAccuracy(const AccuracyConfig& accuracy) {
  const bool top1 = accuracy.metric == AccuracyMetricName::kTop1;
  const bool labels = top1 || accuracy.metric == AccuracyMetricName::kF1;
  const bool decibels = accuracy.metric == AccuracyMetricName::kSqnr;
  if (labels && accuracy.validation.empty()) {
    return absl::StrCat("metric ", top1 ? "top1" : "f1",
                        " needs labels: set validation to data that has them");
  }
  if (accuracy.target.max_drop && !labels) {
    return "target {max_drop: ...} is for metrics top1 and f1";
  }
  if (accuracy.target.value.value_or(0) > 1 && !decibels) {
    return "target must be from 0 to 1 for this metric";
  }
  return "";
}

const Fields<LayerWeightsConfig>& LayerWeightFields() {
  static const auto* const kFields = new Fields<LayerWeightsConfig>{
      Value("algorithm", &LayerWeightsConfig::algorithm, Optional(Word(RangeEstimatorNames())),
            "As quantization.weights.algorithm."),
      Value("granularity", &LayerWeightsConfig::granularity, Optional(Granularity()),
            "As quantization.weights.granularity."),
  };
  return *kFields;
}

// A glob on names; or op:GLOB on operators, with [group=in_channels] or without.
ValueForm<std::string> LayerMatch() {
  ValueForm<std::string> form =
      Text("a glob on node names such as /head/*, or op:Conv, op:Conv[group=in_channels]");
  form.parse = [text = form.parse](const ConfigNode& node, const std::string& folder) {
    std::optional<std::string> match = text(node, folder);
    if (!match.has_value() || !absl::StartsWith(*match, "op:")) return match;
    absl::string_view op = absl::StripPrefix(*match, "op:");
    op = absl::StripSuffix(op, "[group=in_channels]");
    if (op.empty() || absl::StrContains(op, '[')) match.reset();
    return match;
  };
  return form;
}

const Fields<LayerRule>& LayerFields() {
  static const auto* const kFields = new Fields<LayerRule>{
      Value("match", &LayerRule::match, LayerMatch(),
            "Which layers: those of whose node's name this is a glob (* stands for any characters, "
            "? for one); behind op:, of whose operator. op:Conv[group=in_channels] are the "
            "depthwise convolutions."),
      Value("mode", &LayerRule::mode, Optional(LayerMode()),
            "What they run in, whatever it costs. none: as the model, and more precision where the "
            "accuracy target needs it."),
      Section("weights", &LayerRule::weights, LayerWeightFields(),
              "How their weights become int8; what is not set is the model's."),
      Section("activations", &LayerRule::activations, LayerActivationFields(),
              "How their activations become int8; what is not set is the model's."),
  };
  return *kFields;
}

std::string CheckLayerRule(const LayerRule& rule) {
  if (rule.match.empty()) return "match is missing";
  const bool sets = rule.mode || rule.weights.algorithm || rule.weights.granularity ||
                    SetsActivations(rule.activations);
  return sets ? "" : "sets nothing: mode, weights or activations is missing";
}

}  // namespace

const Fields<QuantizationConfig>& QuantizationFields() {
  using Q = QuantizationConfig;
  static const auto* const kFields = new Fields<Q>{
      Value("mode", &Q::mode, Mode(),
            "fp32 serves models as they are; int8 quantizes them when they are loaded; int4 stores "
            "weights in 4 bits besides, and computes in 8; bf16 rounds weights and activations of "
            "matrix products and convolutions to bfloat16, on CPUs that multiply it (fp32 on "
            "others, with a warning); auto is int8 on CPUs with VNNI or AMX, else bf16 where the "
            "CPU multiplies it, else fp32."),
      Value("recipe", &Q::recipe,
            Choice<RecipeName>({{"auto", RecipeName::kAuto},
                                {"cnn", RecipeName::kCnn},
                                {"mobile_cnn", RecipeName::kMobileCnn},
                                {"transformer", RecipeName::kTransformer},
                                {"rnn", RecipeName::kRnn},
                                {"mlp", RecipeName::kMlp},
                                {"none", RecipeName::kNone}}),
            "The kind of network, which decides what is `auto` below; auto looks at the network: "
            "transformers are smoothed, and their activations take their ranges token by token."),
      Section("bits", &Q::bits, BitsFields(), "Widths, which follow from the mode."),
      Section("weights", &Q::weights, WeightQuantizationFields(), "How weights become integers."),
      Section("activations", &Q::activations, ActivationQuantizationFields(),
              "How activations become int8."),
      Section("algorithm_params", &Q::algorithm_params, AlgorithmParameterFields(),
              "Parameters of the algorithms."),
      Section("calibration", &Q::calibration, CalibrationFields(),
              "Samples that show the ranges of the activations."),
      Section("accuracy", &Q::accuracy, AccuracyFields(), "What is asked of the int8 model.",
              CheckAccuracy),
      Section("mixed_precision", &Q::mixed_precision, MixedPrecisionFields(),
              "What may be given up for it."),
      Section("transforms", &Q::transforms, TransformsFields(),
              "What makes the network easier to quantize and leaves its outputs as they are."),
      Section("budget", &Q::budget, BudgetFields(), "What quantization may cost."),
      Section("cache", &Q::cache, CacheFields(),
              "Files that save a later start from quantizing again."),
      Section("shadow", &Q::shadow, ShadowFields(),
              "Accuracy while serving, in the metrics octet_model_shadow_*."),
      Section("report", &Q::report, ReportFields(),
              "What quantization has done to each layer, as `octet quantize --report` writes it."),
      Value("on_nan", &Q::on_nan,
            Choice<NotANumberPolicy>(
                {{"error", NotANumberPolicy::kError}, {"zero", NotANumberPolicy::kZero}}),
            "What to do about weights and samples that are not finite: refuse them, or take them "
            "as 0."),
      Value("override_embedded", &Q::override_embedded, Boolean(),
            "Whether a model that comes quantized (QuantizeLinear, QLinearConv, MatMulInteger and "
            "the like) loses its quantizers, weights becoming floats again, and is then what mode "
            "says; else its own are used as they are."),
      Value("strict", &Q::strict, Boolean(),
            "Whether a rule of `layers` that matches no layer is an error, rather than a warning."),
      List("layers", &Q::layers, LayerFields(),
           "Exceptions for single layers; the first rule that matches a layer wins.",
           {.rule = CheckLayerRule}),
  };
  return *kFields;
}

std::string CheckQuantization(const QuantizationConfig& quantization) {
  const CalibrationConfig& calibration = quantization.calibration;
  const bool traffic = calibration.source == CalibrationSource::kTraffic;
  if (calibration.learn_from_traffic && calibration.source != CalibrationSource::kAuto &&
      calibration.source != CalibrationSource::kDynamic && !traffic) {
    return "calibration.learn_from_traffic is for the sources auto and dynamic";
  }
  // A quarter of them measures, and fewer than four measure nothing.
  if ((traffic || calibration.learn_from_traffic) && calibration.samples < 16) {
    return "calibration.samples must be at least 16 to learn from requests";
  }
  if (quantization.calibration.source == CalibrationSource::kFile &&
      quantization.calibration.path.empty()) {
    return "Q009: calibration.source file needs calibration.path, a .qcal file or a folder of them";
  }
  if (std::string problem = CheckActivationQuantization(quantization); !problem.empty()) {
    return problem;
  }
  return CheckWeightQuantization(quantization);
}

}  // namespace octet::server
