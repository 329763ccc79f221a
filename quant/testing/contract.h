// What every quantization algorithm promises, as code: checks that a test runs on each registered
// algorithm, and on faulty ones to show that the checks can fail.

#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "quant/range_estimator.h"

namespace octet::quant::testing {

// The names of the promises that were broken.
using Violations = std::set<std::string>;

// An affine algorithm with its quantizer, each part replaceable.
struct AffineSubject {
  struct Choice {
    Range range;
    Affine affine;
  };
  std::function<absl::StatusOr<Choice>(const Distribution& values, const Grid& grid)> choose;
  std::function<std::vector<int32_t>(std::span<const float> values, Affine affine,
                                     const Grid& grid)>
      quantize;
  std::function<std::vector<float>(const std::vector<int32_t>& codes, Affine affine)> dequantize;
  bool least_error = false;  // claims to be no worse than any registered algorithm
};
AffineSubject SubjectOf(const RangeEstimator& estimator);

// Weights are seen value by value, activations through a histogram.
enum class Target { kWeights, kActivations };

Violations CheckAffine(const AffineSubject& subject, Target target, const Grid& grid,
                       const std::vector<float>& values);

struct CodebookSubject {
  std::function<absl::StatusOr<Codebook>(std::span<const float> values,
                                         std::span<const float> weights, int bits)>
      fit;
  std::function<std::vector<uint8_t>(std::span<const float> values, const Codebook& codebook)>
      encode;
  bool least_error = false;
  bool all_levels = false;  // claims to use as many levels as there are distinct values
};
CodebookSubject CodebookSubjectOf(const RangeEstimator& estimator);

Violations CheckCodebook(const CodebookSubject& subject, int bits,
                         const std::vector<float>& values);

struct NamedValues {
  std::string name;
  std::vector<float> values;
};
// Normal, Laplace, uniform, bimodal, rectified, with one outlier, all zero, constant, subnormal,
// a single value, two values, and huge ones.
const std::vector<NamedValues>& ContractValues();

}  // namespace octet::quant::testing
