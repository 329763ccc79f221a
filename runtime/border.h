// Conversion between the element types clients send and those the engine computes in.

#pragma once

#include <cstddef>
#include <span>

#include "base/data_type.h"

namespace octet::runtime {

// Writes `count` elements; `from` holds them in the border type, `to` gets ComputeType(border).
// The bytes may be unaligned.
void FromBorder(DataType border, std::span<const std::byte> from, std::byte* to);

// The reverse. `to` has room for the border type's bytes.
void ToBorder(DataType border, std::span<const std::byte> from, std::byte* to);

}  // namespace octet::runtime
