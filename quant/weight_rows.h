// Weights as a matrix whose rows are output channels, whatever the layout of the tensor they are
// from.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"

namespace octet::quant {

struct WeightRows {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<float> values;  // row by row
  // How much an error in each column counts; empty: all the same.
  std::vector<float> importance;

  std::span<const float> Row(int64_t row) const {
    return std::span(values).subspan(static_cast<size_t>(row * columns),
                                     static_cast<size_t>(columns));
  }
  // Of some columns.
  std::span<const float> Importance(size_t first, size_t count) const {
    const std::span<const float> all(importance);
    return all.empty() ? all : all.subspan(first, count);
  }
  float LargestMagnitude() const;
};

// Row r are the weights of index r of dimension `axis`, in the order they have in the tensor. No
// axis: one row. InvalidArgument for another type than float32, an empty tensor, an axis that is
// none, NaN and infinity.
absl::StatusOr<WeightRows> RowsOf(const ConstTensorView& weights, std::optional<int> axis);

// InvalidArgument unless there is a value, `values` has rows x columns of them, and all are finite.
absl::Status CheckRows(const WeightRows& weights);

// Codes in the order of rows, put back where RowsOf() took the weights from.
absl::StatusOr<Tensor> CodesLike(const Shape& shape, std::optional<int> axis,
                                 std::span<const int8_t> codes);

}  // namespace octet::quant
