// Rows of `quantization.weights` and `quantization.bits`, and what they must agree in.

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "server/config/fields.h"

namespace octet::server {
namespace {

using Granularity = WeightGranularityConfig::Kind;

constexpr char kGroup[] = "group:";

const std::vector<std::pair<std::string, Granularity>>& GranularityWords() {
  static const auto* const kWords = new std::vector<std::pair<std::string, Granularity>>{
      {"auto", Granularity::kAuto},
      {"per_channel", Granularity::kPerChannel},
      {"per_tensor", Granularity::kPerTensor},
      {"mixed", Granularity::kMixed}};
  return *kWords;
}

ValueForm<WeightGranularityConfig> GranularityForm() {
  ValueForm<WeightGranularityConfig> form;
  for (const auto& [word, kind] : GranularityWords()) form.words.push_back(word);
  form.text = "auto, per_channel, per_tensor, mixed or group:N";
  form.parse = [](const ConfigNode& node,
                  const std::string&) -> std::optional<WeightGranularityConfig> {
    if (node.kind != ConfigNode::Kind::kScalar) return std::nullopt;
    for (const auto& [word, kind] : GranularityWords()) {
      if (node.scalar == word) return WeightGranularityConfig{.kind = kind};
    }
    absl::string_view number = node.scalar;
    if (!absl::ConsumePrefix(&number, kGroup)) return std::nullopt;
    const std::optional<int64_t> group = ParseInteger(number);
    if (!group || *group < 1 || *group > (1 << 20)) return std::nullopt;
    return WeightGranularityConfig{.kind = Granularity::kGroup, .group = static_cast<int>(*group)};
  };
  form.print = [](const WeightGranularityConfig& granularity) {
    for (const auto& [word, kind] : GranularityWords()) {
      if (granularity.kind == kind) return word;
    }
    return absl::StrCat(kGroup, granularity.group);
  };
  return form;
}

std::string CheckBits(const QuantizationConfig& quantization) {
  const bool four = quantization.mode == QuantizationMode::kInt4;
  if (four && quantization.bits.weights == 8) return "mode int4 needs bits.weights 4 (Q002)";
  if (!four && quantization.bits.weights == 4) return "bits.weights 4 needs mode int4 (Q002)";
  return "";
}

bool AnyFourBits(const QuantizationConfig& quantization) {
  if (quantization.mode == QuantizationMode::kInt4) return true;
  for (const LayerRule& rule : quantization.layers) {
    if (rule.mode == QuantizationMode::kInt4) return true;
  }
  return false;
}

std::string CheckGranularity(const WeightQuantizationConfig& weights, bool four_bits) {
  const WeightGranularityConfig& granularity = weights.granularity;
  if (granularity.kind == Granularity::kGroup) {
    const int group = granularity.group;
    const bool power_of_two = (group & (group - 1)) == 0;
    if (!power_of_two || group < 32 || group > 1024) {
      return absl::StrCat("weights.granularity group:", group,
                          " must be of a power of two from 32 to 1024 (Q004)");
    }
    if (!four_bits) {
      return absl::StrCat("weights.granularity group:", group,
                          " needs 4 bits: int8 kernels take a scale per output channel, mode int4 "
                          "stores groups (Q004)");
    }
  }
  if (granularity.kind == Granularity::kPerTensor && four_bits && weights.codebook == "none") {
    return "weights.granularity per_tensor needs 8 bits or a codebook (Q004)";
  }
  return "";
}

}  // namespace

const std::vector<std::string>& RangeEstimatorNames() {
  static const auto* const kNames =
      new std::vector<std::string>{"least_squares", "minmax",        "percentile",
                                   "entropy",       "decision_tree", "histogram_equalization"};
  return *kNames;
}

const Fields<BitsConfig>& BitsFields() {
  static const auto* const kFields = new Fields<BitsConfig>{
      Value("weights", &BitsConfig::weights, Choice<int>({{"auto", 0}, {"8", 8}, {"4", 4}}),
            "auto is 4 with mode int4, else 8."),
      Value("activations", &BitsConfig::activations, Choice<int>({{"8", 8}}),
            "Where weights are quantized."),
      Value("bias", &BitsConfig::bias, Choice<int>({{"32", 32}}), "Biases stay float32."),
  };
  return *kFields;
}

const Fields<WeightQuantizationConfig>& WeightQuantizationFields() {
  using W = WeightQuantizationConfig;
  static const auto* const kFields = new Fields<W>{
      Value(
          "scheme", &W::scheme,
          Choice<WeightScheme>({{"auto", WeightScheme::kAuto},
                                {"symmetric", WeightScheme::kSymmetric},
                                {"asymmetric", WeightScheme::kAsymmetric}}),
          "Without zero points or, in 4 bits, with; auto is symmetric in 8 bits and asymmetric in "
          "4."),
      Value("algorithm", &W::algorithm, Word(RangeEstimatorNames()),
            "How the range of the weights is chosen."),
      Value("granularity", &W::granularity, GranularityForm(),
            "One scale for each output channel, or one for the whole tensor; mixed: one for the "
            "tensor where channels gain less than mixed_gain_db. 4 bits: one for each N inputs of "
            "an output channel, N a power of two from 32 to 1024. auto: per_channel, in 4 bits "
            "group:128, with a codebook a table per channel."),
      Value(
          "mixed_gain_db", &W::mixed_gain_db, Real(0, 99),
          "What a scale per channel must gain with granularity mixed, in dB of the weights' SQNR."),
      Value(
          "weighting", &W::weighting,
          Choice<WeightWeighting>({{"auto", WeightWeighting::kAuto},
                                   {"none", WeightWeighting::kNone},
                                   {"activation", WeightWeighting::kActivation}}),
          "activation: the error of a weight counts as the power of what it meets in calibration, "
          "for scales and codebooks; auto does so in 4 bits."),
      Value("range", &W::range,
            Choice<WeightRange>({{"auto", WeightRange::kAuto},
                                 {"full", WeightRange::kFull},
                                 {"reduced", WeightRange::kReduced}}),
            "Codes up to 127, or up to 63 as CPUs without VNNI need where their products would "
            "saturate; auto looks at the CPU."),
      Value("codebook", &W::codebook,
            Word({"none", "least_squares", "decision_tree", "histogram_equalization"}),
            "4-bit weights index a table of 16 levels that this algorithm chooses, rather than a "
            "uniform grid."),
      Value(
          "error_compensation", &W::error_compensation,
          Choice<ErrorCompensation>({{"auto", ErrorCompensation::kAuto},
                                     {"none", ErrorCompensation::kNone},
                                     {"gptq", ErrorCompensation::kGptq}}),
          "What rounding one weight costs is made up for by those not yet rounded, by the inputs "
          "seen in calibration: in 4 bits, and in 8 bits where a weight meets at most 640 inputs. "
          "auto does so where there is calibration data."),
      Value(
          "expand", &W::expand,
          Choice<WeightExpansion>(
              {{"load", WeightExpansion::kLoad}, {"run", WeightExpansion::kRun}}),
          "When 4-bit weights become the 8-bit ones that kernels compute with: once, or each time "
          "a matrix product reads them, which halves memory and costs time; convolutions expand "
          "when loaded."),
      Value(
          "embeddings", &W::embeddings,
          Choice<EmbeddingPrecision>(
              {{"int8", EmbeddingPrecision::kInt8}, {"float", EmbeddingPrecision::kFloat}}),
          "What tables that rows are looked up in (Gather, 64 KiB or more) are kept as with modes "
          "int8 and int4: 8-bit integers with a scale for each row, or float32."),
  };
  return *kFields;
}

std::string CheckWeightQuantization(const QuantizationConfig& quantization) {
  const WeightQuantizationConfig& weights = quantization.weights;
  if (std::string problem = CheckBits(quantization); !problem.empty()) return problem;
  if (quantization.mode == QuantizationMode::kFloat32) return "";
  const bool four_bits = AnyFourBits(quantization);
  if (weights.scheme == WeightScheme::kAsymmetric && !four_bits) {
    return "weights.scheme asymmetric needs 4 bits: int8 weights have no zero points (Q003)";
  }
  if (std::string problem = CheckGranularity(weights, four_bits); !problem.empty()) return problem;
  if (weights.codebook == "none") return "";
  if (!four_bits) {
    return absl::StrCat("weights.codebook ", weights.codebook, " needs 4 bits, mode int4 (Q005)");
  }
  if (weights.error_compensation == ErrorCompensation::kGptq) {
    return "weights.codebook excludes error_compensation gptq (Q005)";
  }
  return "";
}

}  // namespace octet::server
