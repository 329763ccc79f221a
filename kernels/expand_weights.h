// Weights that stay in memory in 4 bits, and become int8 rows right before a matrix product reads
// them: what octet.ExpandWeights does. The forms are those of quant/storage.h.
//
// Code c in a segment (a row, or a group of its columns) stands for scale * steps(c), where steps
// is c - zero point, c in two's complement, or a level of a table; and becomes clamp(round(scale *
// steps(c) / row scale)), halves to even, from -127 to 127.

#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace octet::kernels {

struct PackedNibbles {
  int64_t rows = 0, columns = 0;
  int64_t group = 0;  // columns that share a scale, even unless they are all
  int exponent = 0;   // group scales are times 2^exponent
  bool is_signed = false;
  bool grouped = false;  // segment_scales are float16, one per group, else float32, one per row
  bool levels_by_row = false;
  const uint8_t* codes = nullptr;  // a row is (columns + 1) / 2 bytes, low nibbles first
  const std::byte* segment_scales = nullptr;
  const uint8_t* zero_points = nullptr;  // nibbles, row by row; or null
  const int8_t* levels = nullptr;        // 16, or 16 per row; or null
  const float* scales = nullptr;         // of the int8 rows

  int64_t groups_per_row() const { return (columns + group - 1) / group; }
};

// Row r at to + r * stride.
void ExpandRows(const PackedNibbles& nibbles, int8_t* to, int64_t stride);

// The sum of codes as they are expanded.
int32_t SumOfCodes(const int8_t* codes, int64_t count);

// The same one element at a time, for checking.
int8_t ExpandedElement(const PackedNibbles& nibbles, int64_t row, int64_t column);

// The node octet.ExpandWeights that makes a value; null if none does.
const graph::Node* ExpansionOf(const graph::Graph& graph, graph::ValueId value);

// What such a node of constants makes, in the order of its shape, by ExpandedElement().
// FailedPrecondition for constants whose bytes were released; Unimplemented for forms that have no
// kernel.
absl::StatusOr<Tensor> ExpandedWeights(const graph::Graph& graph, const graph::Node& node);

// The same node and its constants in another graph; its value there.
graph::ValueId CopyExpansion(const graph::Graph& from, const graph::Node& node, graph::Graph& to);

}  // namespace octet::kernels
