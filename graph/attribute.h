// Values that are fixed when a node is made: kernel sizes, axes, modes.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/tensor.h"

namespace octet::graph {

class Graph;

// An int, a float, a string, lists of them, a tensor, or the body of a control-flow operator.
using Attribute =
    std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>,
                 std::vector<std::string>, Tensor, std::shared_ptr<const Graph>>;

}  // namespace octet::graph
