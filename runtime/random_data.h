// Random operands for checking kernels: reproducible, and hard on them.

#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/types.h"

namespace octet::runtime {

// Test data, the same in every run. Thread-safe: immutable after construction.
class RandomData {
 public:
  RandomData();

  // Codes of the type's range; every other one is the largest, since neighbouring large products
  // are what saturates. `seed` says where in the sequence to begin.
  absl::StatusOr<Tensor> Codes(const graph::TensorType& type, size_t seed) const;

  // Floats in rows of `row_size`. Each row has a range of its own.
  absl::StatusOr<Tensor> Rows(const Shape& shape, int64_t row_size) const;

 private:
  std::mt19937 random_{20240229};
  const std::vector<uint8_t> uint8_;
  const std::vector<int8_t> int8_;
  std::array<std::vector<float>, 4> rows_;
};

}  // namespace octet::runtime
