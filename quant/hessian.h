// How the inputs of a linear layer hang together: H = X^T X, by which error feedback (gptq.h)
// weighs and spreads the errors of the weights.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"

namespace octet::quant {

// Not thread-safe: one per thread, merged at the end. Holds 8 columns^2 bytes.
class Hessian {
 public:
  explicit Hessian(int64_t columns);

  // Rows of inputs, one after the other. InvalidArgument for a part of a row, NaN or infinity;
  // nothing is added then.
  absl::Status Add(std::span<const float> inputs);

  // InvalidArgument if the numbers of columns differ.
  absl::Status Merge(const Hessian& other);

  int64_t columns() const { return static_cast<int64_t>(columns_); }
  int64_t rows() const { return rows_; }

  // The element at i, j; all that were added count.
  double At(int64_t i, int64_t j) const;
  double MeanDiagonal() const;

 private:
  static constexpr size_t kBuffered = 256;  // rows that are multiplied together

  void Flush() const;

  const size_t columns_;
  const size_t padded_;  // columns, up to whole tiles
  int64_t rows_ = 0;
  // The last rows, by column, and the lower triangle of the sum without them. Flush() moves the
  // first into the second, which does not change what they stand for.
  mutable size_t buffered_ = 0;
  mutable std::vector<float> buffer_;
  mutable std::vector<double> sum_;
};

}  // namespace octet::quant
