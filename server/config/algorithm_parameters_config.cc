// Rows of `quantization.algorithm_params`.

#include "server/config/fields.h"

namespace octet::server {
namespace {

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
      Section("gptq", &AlgorithmParameters::gptq, GptqFields(), "Of error compensation."),
  };
  return *kFields;
}

}  // namespace octet::server
