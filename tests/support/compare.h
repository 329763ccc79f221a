// Comparison of tensors by numpy's rules.

#pragma once

#include <string>

#include "base/tensor.h"

namespace octet::testing {

struct Tolerance {
  double relative = 1e-3;
  double absolute = 1e-7;
};

// Empty if equal, else what differs first. Shapes and element types must be equal; integers and
// booleans exactly; floats within absolute + relative * |expected|, NaN equal to NaN. Values that
// are float16 or bfloat16 at the border are rounded to that type first, as the caller gets them.
std::string Difference(const Tensor& actual, const Tensor& expected, DataType border_type,
                       Tolerance tolerance = {});

}  // namespace octet::testing
