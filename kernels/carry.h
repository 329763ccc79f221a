// Lowering of operators that move elements and compute nothing: they run on quantized values as on
// others, since codes move unchanged.

#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "kernels/lowering.h"
#include "kernels/physical_layout.h"

namespace octet::kernels {

// Runs the reference function on the stored elements: of the codes, if the input is quantized.
// For operators whose outputs all have input 0's quantizer. Inputs are asked for dense and
// row-major.
absl::StatusOr<bool> LowerCarry(LoweringContext& context);

// Input 0's layout, if it is one that element-moving kernels can stay in and is not row-major
// anyway. None for element types that oneDNN lacks.
std::optional<PhysicalLayout> FoundLayout(const LoweringContext& context);

// Input 0's buffer, which lies in the layout that FoundLayout() gave.
absl::StatusOr<int> InFoundLayout(LoweringContext& context);

// A buffer for output `i` in this layout, which its shape must fit.
int OutputInFoundLayout(LoweringContext& context, int i, const PhysicalLayout& layout);

}  // namespace octet::kernels
