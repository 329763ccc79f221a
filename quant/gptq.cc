// The algorithm is usually written with the Cholesky factor of the inverse Hessian. With H = M M^T
// and M upper triangular that factor is the inverse of M, and the feedback can be had from M alone:
//
//   |M^T e|^2 is the output error of a row with weight errors e. Its term k contains e_j for j <= k
//   only, so after e_0 ... e_(k-1) are fixed it vanishes for
//   e_k = -sum over j < k of e_j M[j][k] / M[k][k],
//
// the best value before rounding of weight k. One factorization, no inversion.

#include "quant/gptq.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/matrix_loops.h"

namespace octet::quant {
namespace {

constexpr int kAttempts = 4;      // to make the Hessian positive definite
constexpr int64_t kRowBlock = 8;  // rows that share a pass over the feedback matrix

// feedback[j * columns + k] = M[j][k] / M[k][k] for k > j.
std::optional<std::vector<float>> FeedbackMatrix(const Hessian& hessian, double damping) {
  const auto columns = static_cast<size_t>(hessian.columns());
  const size_t padded = (columns + kTileRows - 1) / kTileRows * kTileRows;
  const double mean = hessian.MeanDiagonal();
  // Inputs that were never anything but zero do not care.
  const double added = mean > 0 ? damping * mean : 1;
  // In reverse order the upper factor becomes the lower one, which is Cholesky's. The padding
  // comes last and is an identity.
  std::vector<double> factor(padded * padded);
  for (size_t i = 0; i < padded; ++i) {
    for (size_t j = 0; i < columns && j <= i; ++j) {
      factor[i * padded + j] =
          hessian.At(static_cast<int64_t>(columns - 1 - i), static_cast<int64_t>(columns - 1 - j));
    }
    factor[i * padded + i] += i < columns ? added : 1;
  }
  if (!FactorizeCholesky(factor.data(), padded)) return std::nullopt;
  std::vector<float> feedback(columns * columns);
  for (size_t j = 0; j < columns; ++j) {
    const double* const row = factor.data() + (columns - 1 - j) * padded;
    for (size_t k = j + 1; k < columns; ++k) {
      const size_t mirrored = columns - 1 - k;
      feedback[j * columns + k] =
          static_cast<float>(row[mirrored] / factor[mirrored * padded + mirrored]);
    }
  }
  return feedback;
}

class FeedbackQuantizer {
 public:
  FeedbackQuantizer(const WeightRows& weights, std::vector<float> feedback,
                    RangeEstimator estimator, const EstimatorOptions& options, GroupedCodes& result)
      : weights_(weights),
        feedback_(std::move(feedback)),
        estimator_(estimator),
        options_(options),
        columns_(static_cast<size_t>(weights.columns)),
        result_(result) {}

  absl::Status Run() {
    result_.codes.resize(weights_.values.size());
    result_.quantizers.resize(static_cast<size_t>(result_.rows * result_.groups_per_row()));
    for (int64_t first = 0; first < result_.rows; first += kRowBlock) {
      OCTET_RETURN_IF_ERROR(QuantizeRows(first, std::min(first + kRowBlock, result_.rows)));
    }
    return absl::OkStatus();
  }

 private:
  const float* FeedbackOf(size_t column) const { return feedback_.data() + column * columns_; }

  absl::Status QuantizeRows(int64_t first, int64_t end) {
    const auto group = static_cast<size_t>(result_.group);
    // The best values of the weights that are left, for the errors made so far.
    std::vector<std::vector<float>> current;
    for (int64_t row = first; row < end; ++row) {
      current.emplace_back(weights_.Row(row).begin(), weights_.Row(row).end());
    }
    for (size_t column = 0; column < columns_; ++column) {
      for (int64_t row = first; row < end; ++row) {
        std::vector<float>& values = current[static_cast<size_t>(row - first)];
        Affine& affine =
            result_
                .quantizers[static_cast<size_t>(row * result_.groups_per_row()) + column / group];
        if (column % group == 0) {
          OCTET_ASSIGN_OR_RETURN(affine, ChooseFor(row, column, values));
        }
        const int32_t code = CodeOf(values[column], affine, result_.grid);
        result_.codes[static_cast<size_t>(row) * columns_ + column] = static_cast<int16_t>(code);
        const float error = weights_.Row(row)[column] - ValueOf(code, affine);
        AddScaled(error, FeedbackOf(column) + column + 1, std::span(values).subspan(column + 1));
      }
    }
    return absl::OkStatus();
  }

  // The quantizer for the group that begins at `begin`: for its weights as they would be if nothing
  // in the group were rounded.
  absl::StatusOr<Affine> ChooseFor(int64_t row, size_t begin, const std::vector<float>& values) {
    const size_t end = std::min(begin + static_cast<size_t>(result_.group), columns_);
    std::vector<float> wanted(values.begin() + static_cast<std::ptrdiff_t>(begin),
                              values.begin() + static_cast<std::ptrdiff_t>(end));
    for (size_t j = begin; begin > 0 && j < end; ++j) {
      const float moved = weights_.Row(row)[j] - wanted[j - begin];
      AddScaled(moved, FeedbackOf(j) + j + 1, std::span(wanted).subspan(j + 1 - begin));
    }
    return ChooseQuantizer(wanted, result_.grid, estimator_, options_, result_.exponent,
                           weights_.Importance(begin, end - begin));
  }

  const WeightRows& weights_;
  const std::vector<float> feedback_;
  const RangeEstimator estimator_;
  const EstimatorOptions& options_;
  const size_t columns_;
  GroupedCodes& result_;
};

absl::Status CheckArguments(const WeightRows& weights, const Hessian& hessian, double damping) {
  OCTET_RETURN_IF_ERROR(CheckRows(weights));
  if (hessian.columns() != weights.columns) {
    return absl::InvalidArgumentError(absl::StrCat("expected a Hessian of ", weights.columns,
                                                   " columns, found ", hessian.columns()));
  }
  if (damping >= 0 && std::isfinite(damping)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("damping must be finite and at least 0, not ", damping));
}

// With ten times the damping for every attempt that fails.
std::optional<std::vector<float>> FindFeedback(const Hessian& hessian, double& damping) {
  std::optional<std::vector<float>> feedback = FeedbackMatrix(hessian, damping);
  for (int i = 1; i < kAttempts && !feedback.has_value(); ++i) {
    damping = std::max(10 * damping, 1e-3);
    feedback = FeedbackMatrix(hessian, damping);
  }
  return feedback;
}

}  // namespace

absl::StatusOr<GptqResult> QuantizeGptq(const WeightRows& weights, const Hessian& hessian,
                                        const GptqOptions& options) {
  OCTET_RETURN_IF_ERROR(CheckArguments(weights, hessian, options.damping));
  if (options.groups.group < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a group of at least 1 column, or 0, not ", options.groups.group));
  }
  OCTET_ASSIGN_OR_RETURN(const RangeEstimator estimator,
                         FindRangeEstimator(options.groups.estimator));
  GptqResult result;
  result.damping = options.damping;
  std::optional<std::vector<float>> feedback = FindFeedback(hessian, result.damping);
  if (!feedback.has_value()) {
    result.fell_back = true;
    OCTET_ASSIGN_OR_RETURN(result.codes, QuantizeGroups(weights, options.groups));
    return result;
  }
  const int64_t group = options.groups.group == 0 ? weights.columns : options.groups.group;
  result.codes.grid = options.groups.grid;
  result.codes.rows = weights.rows;
  result.codes.columns = weights.columns;
  result.codes.group = std::min(group, weights.columns);
  result.codes.exponent = ScaleExponent(weights.LargestMagnitude());
  FeedbackQuantizer quantizer(weights, *std::move(feedback), estimator,
                              options.groups.estimator_options, result.codes);
  OCTET_RETURN_IF_ERROR(quantizer.Run());
  return result;
}

absl::StatusOr<std::optional<std::vector<int8_t>>> RoundWithFeedback(const WeightRows& weights,
                                                                     std::span<const float> scales,
                                                                     const Grid& grid,
                                                                     const Hessian& hessian,
                                                                     double damping) {
  OCTET_RETURN_IF_ERROR(CheckArguments(weights, hessian, damping));
  const bool one = scales.size() == 1;
  const bool fits = one || scales.size() == static_cast<size_t>(weights.rows);
  if (!fits || !std::all_of(scales.begin(), scales.end(), [](float scale) { return scale > 0; })) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected 1 or ", weights.rows, " positive scales, found ", scales.size()));
  }
  const std::optional<std::vector<float>> feedback = FindFeedback(hessian, damping);
  if (!feedback.has_value()) return std::nullopt;
  const auto columns = static_cast<size_t>(weights.columns);
  std::vector<int8_t> codes(weights.values.size());
  std::vector<float> values(columns);
  for (int64_t row = 0; row < weights.rows; ++row) {
    const Affine affine{scales[one ? 0 : static_cast<size_t>(row)], 0};
    const std::span<const float> exact = weights.Row(row);
    std::copy(exact.begin(), exact.end(), values.begin());
    for (size_t column = 0; column < columns; ++column) {
      const int32_t code = CodeOf(values[column], affine, grid);
      codes[static_cast<size_t>(row) * columns + column] = static_cast<int8_t>(code);
      const float error = exact[column] - ValueOf(code, affine);
      AddScaled(error, feedback->data() + column * columns + column + 1,
                std::span(values).subspan(column + 1));
    }
  }
  return codes;
}

double OutputError(const WeightRows& weights, std::span<const float> quantized,
                   const Hessian& hessian) {
  const auto columns = static_cast<size_t>(weights.columns);
  double total = 0;
  std::vector<double> errors(columns);
  for (int64_t row = 0; row < weights.rows; ++row) {
    const std::span<const float> values = weights.Row(row);
    for (size_t i = 0; i < columns; ++i) {
      errors[i] =
          static_cast<double>(values[i]) - quantized[static_cast<size_t>(row) * columns + i];
    }
    for (size_t i = 0; i < columns; ++i) {
      double sum = errors[i] * hessian.At(static_cast<int64_t>(i), static_cast<int64_t>(i)) / 2;
      for (size_t j = 0; j < i; ++j) {
        sum += errors[j] * hessian.At(static_cast<int64_t>(i), static_cast<int64_t>(j));
      }
      total += 2 * errors[i] * sum;
    }
  }
  return total;
}

}  // namespace octet::quant
