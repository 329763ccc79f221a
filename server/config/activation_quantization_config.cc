// Rows of `quantization.activations`, for models and layers, and what they must agree in.

#include "absl/strings/str_cat.h"
#include "server/config/fields.h"

namespace octet::server {
namespace {

using Granularity = ActivationGranularity;
using Scheme = ActivationScheme;
using Timing = ActivationTiming;

std::vector<std::string> RangeEstimatorsOrAuto() {
  std::vector<std::string> names = RangeEstimatorNames();
  names.insert(names.begin(), "auto");
  return names;
}

// Why a granularity does not go with a timing, or "".
std::string CheckGranularity(Granularity granularity, Timing timing) {
  if (granularity != Granularity::kPerToken || timing == Timing::kDynamic) return "";
  return "activations.granularity per_token needs activations.timing dynamic (Q007)";
}

}  // namespace

const Fields<ActivationQuantizationConfig>& ActivationQuantizationFields() {
  using A = ActivationQuantizationConfig;
  static const auto* const kFields = new Fields<A>{
      Value("scheme", &A::scheme,
            Choice<Scheme>({{"auto", Scheme::kAuto},
                            {"symmetric", Scheme::kSymmetric},
                            {"asymmetric", Scheme::kAsymmetric}}),
            "Whether zero is in the middle of the codes (symmetric; at their beginning where "
            "calibration has seen nothing negative) or where the range has it; auto is asymmetric, "
            "which is finer. Convolutions that measure ranges while serving are asymmetric."),
      Value("algorithm", &A::algorithm, Word(RangeEstimatorsOrAuto()),
            "How the range of the activations is chosen; auto takes the one whose outputs are "
            "measured to be nearest to float32."),
      Value("force", &A::force, Boolean(),
            "Takes an algorithm that clips (percentile, entropy, histogram_equalization) for "
            "transformers too, which lose much by it and refuse it otherwise (Q012)."),
      Value("granularity", &A::granularity,
            Choice<Granularity>({{"auto", Granularity::kAuto},
                                 {"per_tensor", Granularity::kPerTensor},
                                 {"per_token", Granularity::kPerToken}}),
            "Ranges that are measured while serving: one for all a matrix product reads of a row "
            "of the batch (per_tensor), or for each token, which needs timing dynamic (Q007). auto "
            "is per_token. Convolutions have one for each row of the batch, ranges from "
            "calibration are for the tensor."),
      Value("timing", &A::timing,
            Choice<Timing>({{"auto", Timing::kAuto},
                            {"static", Timing::kStatic},
                            {"dynamic", Timing::kDynamic}}),
            "Ranges from calibration, or measured per row while serving; auto is static where "
            "there is calibration data, but for the matrix products of transformers."),
  };
  return *kFields;
}

const Fields<LayerActivationsConfig>& LayerActivationFields() {
  using A = LayerActivationsConfig;
  static const auto* const kFields = new Fields<A>{
      Value("scheme", &A::scheme,
            Optional(Choice<Scheme>(
                {{"symmetric", Scheme::kSymmetric}, {"asymmetric", Scheme::kAsymmetric}})),
            "As quantization.activations.scheme, for what the layer reads."),
      Value("algorithm", &A::algorithm, Optional(Word(RangeEstimatorNames())),
            "As quantization.activations.algorithm, for what the layer reads."),
      Value("force", &A::force, Optional(Boolean()),
            "As quantization.activations.force, of the algorithm beside it."),
      Value("granularity", &A::granularity,
            Optional(Choice<Granularity>(
                {{"per_tensor", Granularity::kPerTensor}, {"per_token", Granularity::kPerToken}})),
            "As quantization.activations.granularity; per_token is for matrix products (Q007)."),
      Value("timing", &A::timing,
            Optional(Choice<Timing>({{"static", Timing::kStatic}, {"dynamic", Timing::kDynamic}})),
            "As quantization.activations.timing."),
  };
  return *kFields;
}

bool SetsActivations(const LayerActivationsConfig& activations) {
  return activations.scheme || activations.algorithm || activations.force ||
         activations.granularity || activations.timing;
}

std::string CheckActivationQuantization(const QuantizationConfig& quantization) {
  const ActivationQuantizationConfig& activations = quantization.activations;
  const bool no_data = quantization.calibration.source == CalibrationSource::kDynamic;
  if (activations.timing == Timing::kStatic && no_data) {
    return "activations.timing static needs data, but calibration.source is dynamic";
  }
  std::string problem = CheckGranularity(activations.granularity, activations.timing);
  if (!problem.empty()) return problem;
  for (const LayerRule& rule : quantization.layers) {
    const LayerActivationsConfig& layer = rule.activations;
    if (layer.timing == Timing::kStatic && no_data) {
      return absl::StrCat("layers: activations.timing static of match ", rule.match,
                          " needs data, but calibration.source is dynamic");
    }
    problem = CheckGranularity(layer.granularity.value_or(Granularity::kAuto),
                               layer.timing.value_or(activations.timing));
    if (!problem.empty()) return absl::StrCat("layers: match ", rule.match, ": ", problem);
  }
  return "";
}

}  // namespace octet::server
