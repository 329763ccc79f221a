// An operator's reference function as a step of a plan, for operators without kernels of their own.

#pragma once

#include <memory>
#include <vector>

#include "graph/node.h"
#include "graph/types.h"
#include "kernels/kernel.h"

namespace octet::kernels {

// Inputs and outputs are dense and row-major; an absent one has a null pointer at run time. The
// kernel keeps a copy of `node`.
std::unique_ptr<Kernel> MakeReferenceKernel(const graph::Node& node,
                                            std::vector<graph::TensorType> inputs,
                                            std::vector<graph::TensorType> outputs);

}  // namespace octet::kernels
