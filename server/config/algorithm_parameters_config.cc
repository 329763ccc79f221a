// Rows of `quantization.algorithm_params`.

#include "server/config/fields.h"

namespace octet::server {
namespace {

const Fields<LeastSquaresParameters>& LeastSquaresFields() {
  using L = LeastSquaresParameters;
  static const auto* const kFields = new Fields<L>{
      Value("max_iter", &L::max_iter, Integer<int>(0, 1000),
            "Most rounds of giving codes and fitting the scale to them, from each range that is "
            "started from; 0: the best of these."),
      Value("tolerance", &L::tolerance, Real(0, 1),
            "The share of the error that a round must gain for there to be another."),
  };
  return *kFields;
}

const Fields<HistogramEqualizationParameters>& HistogramEqualizationFields() {
  using H = HistogramEqualizationParameters;
  static const auto* const kFields = new Fields<H>{
      Value(
          "gamma", &H::gamma, RealOrAuto(1),
          "The power of the density whose integral is equalized: 1 is textbook equalization; auto "
          "is 1/2 for ranges and 1/3 for codebooks (Q015)."),
      Value("bins", &H::bins, IntegerOrAuto<int>(65'536),
            "Of the histogram; auto: by the number of values, 16 to 2048."),
  };
  return *kFields;
}

const Fields<DecisionTreeParameters>& DecisionTreeFields() {
  using D = DecisionTreeParameters;
  static const auto* const kFields = new Fields<D>{
      Value("growth", &D::growth,
            Choice<TreeGrowth>(
                {{"best_first", TreeGrowth::kBestFirst}, {"balanced", TreeGrowth::kBalanced}}),
            "Which leaf is split next: the one that gains most, or level by level."),
  };
  return *kFields;
}

const Fields<GptqParameters>& GptqFields() {
  static const auto* const kFields = new Fields<GptqParameters>{
      Value("damping", &GptqParameters::damping, Real(0, 1),
            "What is added to the diagonal of the inputs' second moments, as a share of its mean."),
  };
  return *kFields;
}

}  // namespace

const Fields<AlgorithmParameters>& AlgorithmParameterFields() {
  static const auto* const kFields = new Fields<AlgorithmParameters>{
      Value("percentile", &AlgorithmParameters::percentile, Real(50, 100),
            "Share of the values, in percent, that the percentile algorithm keeps in range."),
      Section("least_squares", &AlgorithmParameters::least_squares, LeastSquaresFields(),
              "Of least_squares."),
      Section("histogram_equalization", &AlgorithmParameters::histogram_equalization,
              HistogramEqualizationFields(), "Of histogram_equalization."),
      Section("decision_tree", &AlgorithmParameters::decision_tree, DecisionTreeFields(),
              "Of decision_tree."),
      Section("gptq", &AlgorithmParameters::gptq, GptqFields(), "Of error compensation."),
  };
  return *kFields;
}

}  // namespace octet::server
