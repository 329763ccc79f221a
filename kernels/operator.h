// An operator: what it means (graph::OpSchema) and how it becomes kernels.
//
// One file in kernels/ops/ defines one operator or a family of like ones and returns them as a
// table; the build collects the files. An operator without a LowerFn runs its reference function.

#pragma once

#include <span>

#include "absl/status/statusor.h"
#include "graph/op_schema.h"

namespace octet::kernels {

class LoweringContext;

// Adds the steps that compute the node. False: declines this form, the reference function will
// run. Must accept every node that has fused operators or quantized operands.
using LowerFn = absl::StatusOr<bool> (*)(LoweringContext&);

struct Operator {
  graph::OpSchema schema;
  LowerFn lower = nullptr;
};

// All operators, in one table made from the files in kernels/ops/.
std::span<const std::span<const Operator>> OperatorTable();

// The same for the importer. One for the process, immutable.
const graph::OpRegistry& Registry();

// The operator a schema of Registry() belongs to.
const Operator& OperatorOf(const graph::OpSchema& schema);

}  // namespace octet::kernels
