#include "quant/weight_rows.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/affine.h"
#include "quant/vector_loops.h"

namespace octet::quant {
namespace {

// Calls copy(offset in the tensor, offset in the rows) for every run of layout.inner elements.
template <typename Copy>
void ForEachRun(const ChannelLayout& layout, const Copy& copy) {
  for (int64_t channel = 0; channel < layout.channels; ++channel) {
    for (int64_t outer = 0; outer < layout.outer; ++outer) {
      copy((outer * layout.channels + channel) * layout.inner,
           channel * layout.channel_size() + outer * layout.inner);
    }
  }
}

}  // namespace

float WeightRows::LargestMagnitude() const {
  const ScanResult scan = Scan(values);
  return values.empty() ? 0 : std::max(std::abs(scan.min), std::abs(scan.max));
}

absl::Status CheckRows(const WeightRows& weights) {
  if (weights.rows <= 0 || weights.columns <= 0 ||
      weights.values.size() / static_cast<size_t>(weights.columns) !=
          static_cast<size_t>(weights.rows) ||
      weights.values.size() % static_cast<size_t>(weights.columns) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", weights.rows, " x ", weights.columns,
                     " weights, at least one, found ", weights.values.size()));
  }
  const ScanResult scan = Scan(weights.values);
  if (scan.nans + scan.infinities == 0) return absl::OkStatus();
  const auto bad = std::find_if_not(weights.values.begin(), weights.values.end(),
                                    [](float value) { return std::isfinite(value); });
  const int64_t index = bad - weights.values.begin();
  return absl::InvalidArgumentError(absl::StrCat("expected finite weights, found ", *bad,
                                                 " in row ", index / weights.columns, ", column ",
                                                 index % weights.columns));
}

absl::StatusOr<WeightRows> RowsOf(const ConstTensorView& weights, std::optional<int> axis) {
  if (weights.dtype != DataType::kFloat32) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected FP32 weights, found ", Name(weights.dtype)));
  }
  OCTET_ASSIGN_OR_RETURN(const ChannelLayout layout, LayoutAlong(weights.shape, axis));
  WeightRows result{.rows = layout.channels, .columns = layout.channel_size(), .values = {}};
  result.values.resize(static_cast<size_t>(weights.size()));
  const std::span<const float> values = weights.As<float>();
  ForEachRun(layout, [&](int64_t from, int64_t to) {
    std::copy_n(values.data() + from, layout.inner, result.values.data() + to);
  });
  OCTET_RETURN_IF_ERROR(CheckRows(result));
  return result;
}

absl::StatusOr<Tensor> CodesLike(const Shape& shape, std::optional<int> axis,
                                 std::span<const int8_t> codes) {
  OCTET_ASSIGN_OR_RETURN(const ChannelLayout layout, LayoutAlong(shape, axis));
  if (static_cast<int64_t>(codes.size()) != ElementCount(shape)) {
    return absl::InvalidArgumentError(absl::StrCat("expected ", ElementCount(shape),
                                                   " codes for shape ", ToText(shape), ", found ",
                                                   codes.size()));
  }
  OCTET_ASSIGN_OR_RETURN(Tensor result, Tensor::Allocate(DataType::kInt8, shape));
  const std::span<int8_t> target = result.MutableAs<int8_t>();
  ForEachRun(layout, [&](int64_t to, int64_t from) {
    std::copy_n(codes.data() + from, layout.inner, target.data() + to);
  });
  return result;
}

}  // namespace octet::quant
