// Quantizes a model's graph: measures ranges, tries the ways to choose them, keeps the best, gives
// more precision to the layers that cost too much accuracy, and judges the result.

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/range_estimator.h"
#include "quant/selection.h"
#include "runtime/accuracy_guard.h"
#include "runtime/calibration_data.h"
#include "runtime/layer_details.h"
#include "runtime/layer_rules.h"
#include "runtime/mode.h"
#include "runtime/recipe.h"

namespace octet::runtime {

struct QuantizeOptions {
  // Fills what is automatic below; none: detected.
  std::optional<Recipe> recipe;
  // Where there are samples: ranges from them, or of each row as it comes. Automatic: by token in
  // matrix products of transformers, else from the samples.
  enum class Timing : uint8_t { kAuto, kStatic, kDynamic };
  Timing timing = Timing::kAuto;
  // Of the layers without a rule, resolved for this processor. In kInt4, layers that 4 bits are not
  // for (layer_list.h) are int8.
  LayerMode mode = LayerMode::kInt8;
  // How weights get their scales, and activations their ranges: names of range estimators
  // (quant/range_estimator.h). Several for activations: the one with the best output wins.
  std::string weight_algorithm = "least_squares";
  std::vector<std::string> activation_algorithms = {"least_squares", "min_max", "percentile",
                                                    "entropy"};
  // Where one algorithm is asked for that clips: also in transformers, which need their outliers.
  bool force_clipping = false;
  // Zero in the middle of the codes, where values may be negative; of convolutions with ranges
  // measured at run time it is not.
  bool symmetric_activations = false;
  // Of matrix products that measure ranges at run time: one for each token, or for a row of the
  // batch.
  bool ranges_by_token = true;
  bool per_channel = true;
  // With per_channel: one scale for a tensor all the same, where a scale per channel would gain
  // less than this many dB.
  std::optional<double> least_channel_gain_db;
  struct FourBits {  // as in quant::FourBitOptions
    bool symmetric = false;
    int64_t group = 128;
    std::string codebook;
    bool one_table = false;
    // Weights of matrix products stay in 4 bits in memory, and are expanded each time they are
    // read; those of convolutions are expanded when they are loaded all the same.
    bool expand_at_run = false;
  } four_bits;
  // Error feedback (GPTQ) in rounding weights, in 8 bits compensate_rounding.h; both take it where
  // there are samples, and kGptq warns where there are none.
  enum class Compensation : uint8_t { kNone, kGptq, kAuto };
  Compensation compensation = Compensation::kAuto;
  double damping = 0.01;  // of it
  // Whether errors of weights count as the power of what they meet, where there are samples
  // (input_powers.h). Automatic: in 4 bits.
  enum class Weighting : uint8_t { kNone, kActivation, kAuto };
  Weighting weighting = Weighting::kAuto;
  int threads = 1;  // what comes out does not depend on it
  // Weight codes up to 127, or up to 63 where the CPU's 8-bit products saturate.
  enum class WeightRange : uint8_t { kAuto, kFull, kReduced };
  WeightRange weight_range = WeightRange::kAuto;
  quant::EstimatorOptions estimation;  // parameters of the algorithms
  bool embeddings = true;              // tables that rows are looked up in become int8, too
  bool zero_non_finite = false;        // in weights and samples: taken as 0, not refused
  // What the user decides for single layers: the first rule that matches wins.
  std::vector<LayerRule> layers;
  bool strict = false;  // a rule that matches no layer is an error
  // While the target is missed, the layers that make most noise get more precision
  // (precision_search.h), those whose mode a rule decides excepted; bfloat16 or float32 for at most
  // this share of the multiply-accumulates.
  AccuracyTarget accuracy;
  // Somebody asked for this target. Else 4-bit layers are judged by it and, with OnFail::kMixed,
  // left as they are.
  bool target_is_set = true;
  OnFail on_fail = OnFail::kMixed;
  double max_float_fraction = 0.35;
  Fallback fallback = Fallback::kAuto;
  // Which layers move: those that, quantized alone, cost the network's outputs most; or cost their
  // own results most, which one run tells of all; or none.
  enum class Policy : uint8_t { kOutput, kLocal, kOff };
  Policy policy = Policy::kOutput;
  int64_t memory_bytes = 0;      // memory budget (memory_budget.h); 0: none
  double search_seconds = 120;   // time budget of the search
  double held_out_share = 0.25;  // of the samples, for measuring rather than calibrating
  // Smoothing of matrix products' inputs (smooth_activations.h): automatic is for transformers.
  enum class Smoothing : uint8_t { kAuto, kOn, kOff };
  Smoothing smoothing = Smoothing::kAuto;
  // 0 to 1; none: 0.5 where ranges are taken by token, else chosen for each activation.
  std::optional<double> smoothing_alpha;
  // Between convolutions (equalize_layers.h): automatic is where weights have one scale in all.
  enum class Equalization : uint8_t { kAuto, kOn, kOff };
  Equalization equalization = Equalization::kAuto;
  // Takes the mean error of each layer out of its bias (correct_biases.h). Automatic: where that is
  // measured to bring the outputs nearer to float32.
  enum class BiasCorrection : uint8_t { kAuto, kOn, kOff };
  BiasCorrection bias_correction = BiasCorrection::kAuto;
  // Products of activations with activations around a Softmax: automatic is bfloat16 where the
  // processor multiplies it.
  enum class AttentionProducts : uint8_t { kAuto, kBFloat16, kFloat32 };
  AttentionProducts attention = AttentionProducts::kAuto;
  // The samples are no data: what is measured on them proves nothing.
  bool estimated = false;
  // What an earlier run on the same graph and data decided: nothing is tried or measured.
  struct Decisions {
    std::string activation_algorithm;
    bool bias_correction = false;
    std::vector<quant::Precision> precisions;  // as in QuantizeReport::layers
  };
  std::optional<Decisions> decided;
  // For reports: fills QuantizeReport::details, which takes longer than quantizing; and algorithms
  // for activations that are measured beside those above, but cannot win.
  bool details = false;
  std::vector<std::string> also_measured;
  std::function<void(absl::string_view stage, const std::string& detail)> progress;
};

// What a layer's weights are kept as.
struct WeightReport {
  int bits = 32;
  std::string format;     // "f32"; "s8c", "s8t": a scale per channel or one; "u4g128", "cb4c", ...
  std::string algorithm;  // of the scales or levels; empty for float32
  bool gptq = false;      // with error feedback
  bool weighted = false;  // errors counted as the power of what they meet
  std::string expand;     // "load" or "run": when 4 bits become 8; else empty
  std::string note;       // why so, where that was decided by looking at the weights
};

struct LayerReport {
  std::string node;
  std::string op;
  quant::Precision precision = quant::Precision::kFloat32;
  std::string reason;  // why it has another precision than most; empty if it has theirs
  Shape weight_shape;
  int64_t macs = 0;  // for the example shapes
  WeightReport weights;
  double weight_sqnr_db = 0;  // quantized weights against float32
  double output_sqnr_db = 0;  // this layer's result in the quantized network; 0: not measured
  double alone_sqnr_db = 0;   // network output with only this layer quantized; 0: not measured
  size_t bytes_before = 0;
  size_t bytes_after = 0;               // as they are stored
  size_t bytes_resident = 0;            // in memory while they are served, before packing
  std::string kernel;                   // the implementation that serves it
  std::vector<std::string> transforms;  // of its weights, before: "cross_layer_equalization"
};

struct QuantizeReport {
  std::string mode;         // "int8", "int4 dynamic", "bf16", ..., "fp32" (OnFail::kFloat)
  std::string mode_reason;  // why, if it is not what was asked for
  RecipeChoice recipe;
  std::string activation_algorithm;        // the one that won; empty if no range is from samples
  std::vector<std::string> transforms;     // of the float network: "smooth_quant(0.8)"
  bool bias_correction = false;            // was kept
  double bias_correction_sqnr_db = 0;      // the output with it; 0: not measured
  std::vector<std::string> bias_rejected;  // layers whose correction could not be trusted
  struct Attempt {
    std::string algorithm;
    double output_sqnr_db = 0;
  };
  std::vector<Attempt> attempts;  // all algorithms for activations that were tried
  size_t calibration_samples = 0;
  size_t held_out_samples = 0;  // that measured: held out, or of the validation data
  std::string calibration_source;
  bool estimated = false;     // the samples are no data
  double output_sqnr_db = 0;  // of what is served, on these; 0 if there were none
  AccuracyReport accuracy;
  double int8_mac_share = 0, bfloat16_mac_share = 0;
  double seconds = 0;
  // Whether an earlier load's result was taken over, and which or why not: "warm: FILE", "cold:
  // FILE: ..."; empty where none are kept.
  std::string start;
  // The proof of the kernels, see self_check.h; 0 layers if it was not made.
  int checked_layers = 0;
  double self_check_seconds = 0;
  std::vector<LayerReport> layers;
  std::vector<LayerDetails> details;  // as layers; empty unless QuantizeOptions::details
  std::vector<std::string> warnings;
};

struct QuantizedModel {
  graph::Graph graph;
  QuantizeReport report;
};

// What the report says was decided, for a second run.
QuantizeOptions::Decisions DecisionsOf(const QuantizeReport& report);

// Static int8 with `data`; with no samples or statistics, weights int8 and activations quantized
// row by row at run time; or bfloat16. Accuracy is measured on `validation`, else on a part of
// `data` that is held out, or all of it where nothing calibrates; samples that calibrate are passed
// over. `example_shapes` are for counting work.
//   InvalidArgument     NaN or infinity in the weights of int8 layers (unless zero_non_finite);
//   rules
//                       that contradict each other, or with `strict` match nothing
//   FailedPrecondition  the accuracy target is missed, and on_fail is kError; a rule asks for
//                       ranges from samples, and there are none
absl::StatusOr<QuantizedModel> QuantizeModel(const graph::Graph& graph,
                                             std::span<const Shape> example_shapes,
                                             const CalibrationData& data,
                                             const QuantizeOptions& options,
                                             const CalibrationData& validation = {});

}  // namespace octet::runtime
