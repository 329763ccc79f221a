// The protocol's classification extension: a tensor of scores becomes "value:index" strings.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/data_type.h"
#include "base/tensor.h"

namespace octet::server {

struct Classification {
  Shape shape;        // [rows, k], or [k] without a batch dimension
  std::string bytes;  // BYTES elements: four bytes of length, little-endian, and the text
};

// The `classes` highest scores of each row, highest first, equal ones in the order of their index;
// k is at most the number of elements of a row. Not-a-numbers come last.
Classification Classify(DataType type, const Shape& shape, std::span<const std::byte> scores,
                        bool batched, int64_t classes);

}  // namespace octet::server
