// Random graphs of the operators that the passes rewrite, arranged so that their patterns occur.

#pragma once

#include <cstdint>

#include "graph/graph.h"

namespace octet::testing {

// The same graph for the same seed. Its values stay small enough to compare in float32.
graph::Graph RandomGraph(uint64_t seed);

}  // namespace octet::testing
