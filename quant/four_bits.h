// A layer's weights in 4 bits: from float rows to a stored form (storage.h), and from there to the
// int8 weights that kernels compute with. Pure functions: thread-safe.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "quant/hessian.h"
#include "quant/storage.h"
#include "quant/weight_rows.h"
#include "quant/weights.h"

namespace octet::quant {

struct FourBitOptions {
  // Affine codes with zero points, or without; codebooks have their own levels.
  bool symmetric = false;
  int64_t group = 128;  // columns that share a scale; 0: a whole row
  // The algorithm (FitCodebook) that chooses 16 levels; empty: affine codes.
  std::string codebook;
  // Without groups: one table of levels for all rows, instead of one for each.
  bool one_table = false;
  std::string estimator = "least_squares";  // of affine codes
  EstimatorOptions estimator_options;
  double damping = 0.01;  // of GPTQ
};

// Stored weights as constants of a graph, for octet.ExpandWeights to make int8 weights of at run
// time.
struct PackedConstants {
  Tensor codes, scales;
  std::optional<Tensor> zero_points, levels;
  // The largest magnitude of the sum of a row's int8 codes, by which kernels choose their form.
  int64_t largest_row_sum = 0;
};

struct FourBitWeights {
  StoredWeights stored;
  std::string format;  // "u4g128", "s4c", "cb4c", ...: groups as asked, c where a row is one
  bool gptq = false;   // with error feedback
  QuantizedWeights int8;
  // If the weights are expanded at run time: what a graph has instead of `int8`.
  std::optional<PackedConstants> packed;
};

// By the float constant's Tensor::id(), as WeightsById.
using FourBitWeightsById = absl::flat_hash_map<uint64_t, FourBitWeights>;

// The stored form of a layer's weights; with a Hessian of the layer's inputs and affine codes by
// GPTQ, unless the Hessian cannot be factorized. `int8` stays empty. Errors are those of
// QuantizeGroups(), QuantizeGptq() and StoreCodebook().
absl::StatusOr<FourBitWeights> QuantizeToFourBits(const WeightRows& weights, const Hessian* hessian,
                                                  const FourBitOptions& options);

// Stored weights as int8 weights of a tensor of this shape, a scale for each index of `axis`;
// `exact` are the weights they stand for, which sqnr_db is against. Errors are Check()'s and
// CodesLike()'s.
absl::StatusOr<QuantizedWeights> Int8Weights(const StoredWeights& stored, const WeightRows& exact,
                                             const Shape& shape, int axis, const Grid& grid);

// Leaves the expansion of `weights`, whose `int8` is complete, to run time. Errors are Check()'s;
// Unimplemented for formats of more than 4 bits, and groups of an odd number of columns.
absl::Status PackForRunTime(FourBitWeights& weights);

}  // namespace octet::quant
