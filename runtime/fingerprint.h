// What tells one network from another: operators, attributes, types and constants, as SHA-256.

#pragma once

#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "base/sha256.h"
#include "graph/graph.h"

namespace octet::runtime {

// The constants of a graph: by Tensor::id which of its values they are.
using KnownConstants = absl::flat_hash_map<uint64_t, size_t>;
KnownConstants ConstantsOf(const graph::Graph& graph);

// Of the network that is computed: names count, and so does the order in which nodes were added.
// Of `known` constants it counts which they are, not their bytes, which would take long to hash.
Sha256::Digest Fingerprint(const graph::Graph& graph, const KnownConstants& known = {});

}  // namespace octet::runtime
