#include "quant/four_bits.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/gptq.h"
#include "quant/group_quantizer.h"
#include "quant/measures.h"

namespace octet::quant {
namespace {

std::string FormatName(const StoredWeights& stored, int64_t group) {
  const absl::string_view name = Name(stored.format);
  if (stored.group == 0) return std::string(name);
  if (group == 0) return absl::StrCat(name.substr(0, name.size() - 1), "c");
  return absl::StrCat(name, group);
}

absl::StatusOr<StoredWeights> StoreLevels(const WeightRows& weights,
                                          const FourBitOptions& options) {
  CodebookOptions codebook{.algorithm = options.codebook,
                           .group = options.group,
                           .estimator_options = options.estimator_options};
  codebook.format = options.group > 0   ? StorageFormat::kCodebookGroups
                    : options.one_table ? StorageFormat::kCodebookTensor
                                        : StorageFormat::kCodebookRows;
  return StoreCodebook(weights, codebook);
}

}  // namespace

absl::StatusOr<FourBitWeights> QuantizeToFourBits(const WeightRows& weights, const Hessian* hessian,
                                                  const FourBitOptions& options) {
  FourBitWeights result;
  if (!options.codebook.empty()) {
    OCTET_ASSIGN_OR_RETURN(result.stored, StoreLevels(weights, options));
    result.format = FormatName(result.stored, options.group);
    return result;
  }
  GptqOptions gptq{.groups = {.grid = options.symmetric ? kSymmetricInt4 : kAsymmetricUint4,
                              .group = options.group,
                              .estimator = options.estimator,
                              .estimator_options = options.estimator_options},
                   .damping = options.damping};
  GroupedCodes codes;
  if (hessian != nullptr) {
    OCTET_ASSIGN_OR_RETURN(GptqResult found, QuantizeGptq(weights, *hessian, gptq));
    result.gptq = !found.fell_back;
    codes = std::move(found.codes);
  } else {
    OCTET_ASSIGN_OR_RETURN(codes, QuantizeGroups(weights, gptq.groups));
  }
  OCTET_ASSIGN_OR_RETURN(result.stored, StoreGroups(codes));
  result.format = FormatName(result.stored, options.group);
  return result;
}

absl::StatusOr<QuantizedWeights> Int8Weights(const StoredWeights& stored, const WeightRows& exact,
                                             const Shape& shape, int axis, const Grid& grid) {
  OCTET_ASSIGN_OR_RETURN(Int8Rows rows, ExpandToInt8(stored, grid));
  QuantizedWeights result;
  result.params.axis = axis;
  double signal = 0, noise = 0;
  for (int64_t row = 0; row < exact.rows; ++row) {
    float& scale = rows.scales[static_cast<size_t>(row)];
    if (scale == 0) scale = 1;  // of zeros
    double row_signal = 0, row_noise = 0;
    const std::span<const float> values = exact.Row(row);
    const int8_t* const codes = rows.codes.data() + row * exact.columns;
    for (size_t i = 0; i < values.size(); ++i) {
      const double error = values[i] - static_cast<double>(scale) * codes[i];
      row_signal += static_cast<double>(values[i]) * values[i];
      row_noise += error * error;
    }
    result.channel_sqnr_db.push_back(static_cast<float>(Sqnr(row_signal, row_noise)));
    signal += row_signal;
    noise += row_noise;
  }
  result.sqnr_db = Sqnr(signal, noise);
  OCTET_ASSIGN_OR_RETURN(result.codes, CodesLike(shape, axis, rows.codes));
  result.params.scales = std::move(rows.scales);
  result.params.zero_points.assign(result.params.scales.size(), 0);
  return result;
}

absl::Status PackForRunTime(FourBitWeights& weights) {
  const StoredWeights& stored = weights.stored;
  OCTET_RETURN_IF_ERROR(Check(stored));
  if (stored.format == StorageFormat::kInt8Rows || stored.format == StorageFormat::kWideCodebook ||
      (stored.group % 2 != 0 && stored.group < stored.columns)) {
    return absl::UnimplementedError(
        absl::StrCat("weights in format ", Name(stored.format), ", groups of ", stored.group));
  }
  OCTET_ASSIGN_OR_RETURN(const ChannelLayout layout,
                         LayoutAlong(weights.int8.codes.shape(), weights.int8.params.axis));
  std::vector<int64_t> sums(static_cast<size_t>(layout.channels), 0);
  const std::span<const int8_t> codes = weights.int8.codes.As<int8_t>();
  for (size_t i = 0; i < codes.size(); ++i) {
    sums[i / static_cast<size_t>(layout.inner) % sums.size()] += codes[i];
  }
  PackedConstants packed;
  for (const int64_t sum : sums) {
    packed.largest_row_sum = std::max(packed.largest_row_sum, std::abs(sum));
  }
  const auto tensor = []<typename T>(const std::vector<T>& values) {
    return Tensor::Of<T>({static_cast<int64_t>(values.size())}, values);
  };
  packed.codes = tensor(stored.codes);
  packed.scales =
      stored.row_scales.empty() ? tensor(stored.group_scales) : tensor(stored.row_scales);
  if (!stored.zero_points.empty()) packed.zero_points = tensor(stored.zero_points);
  if (!stored.levels.empty()) packed.levels = tensor(stored.levels);
  weights.packed = std::move(packed);
  return absl::OkStatus();
}

}  // namespace octet::quant
