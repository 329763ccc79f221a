// Embedding tables, whose rows are looked up by index, as 8-bit integers with a scale for each row:
// a quarter of the bytes. Nothing is multiplied with them, so the rows' rounding is all it costs.

#pragma once

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/graph.h"

namespace octet::quant {

struct EmbeddingTable {
  Tensor codes;   // int8, [rows, columns]
  Tensor scales;  // float32, [rows]
};

// By the float table's Tensor::id(), made once for all attempts.
using EmbeddingsById = absl::flat_hash_map<uint64_t, EmbeddingTable>;

// Replaces every Gather of rows (axis 0) of a constant float32 matrix of at least 64 KiB, which
// nobody else reads, by octet.Embedding. Adds the tables that `known` lacks; scales are those of
// min-max. Returns how many tables there are.
//   InvalidArgument  a table with NaN or infinities, unless `zero_non_finite` makes them 0; the
//                    message names it
absl::StatusOr<int> QuantizeEmbeddings(bool zero_non_finite, EmbeddingsById& known,
                                       graph::Graph& graph);

}  // namespace octet::quant
