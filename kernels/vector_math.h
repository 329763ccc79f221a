// Mathematical functions and sums over float rows, in the widest vectors of the CPU.

#pragma once

#include <span>

namespace octet::kernels {

// `to` has as many elements as `from`, and may be the same. Errors are below 1e-6, relative to the
// result or to one, whichever is larger.
void VectorErf(std::span<const float> from, std::span<float> to);
void VectorSin(std::span<const float> from, std::span<float> to);
void VectorCos(std::span<const float> from, std::span<float> to);
// log(1 + e^x), also precise where that is close to zero.
void VectorSoftplus(std::span<const float> from, std::span<float> to);
// 1 / (1 + e^-x)
void VectorSigmoid(std::span<const float> from, std::span<float> to);
void VectorTanh(std::span<const float> from, std::span<float> to);

// Partial sums run in several lanes, so the rounding error grows with the logarithm of the length
// rather than with the length.
float SumOf(std::span<const float> row);
float SumOfSquares(std::span<const float> row);
float SumOfAbsolutes(std::span<const float> row);

}  // namespace octet::kernels
