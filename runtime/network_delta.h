// A network as what is different from the one that it was made from: for files that keep what a
// load has made of a model, whatever transforms it took to make it.

#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "runtime/fingerprint.h"

namespace octet::runtime {

// All nodes and values of `graph`; of constants that are `known`, those of the base network, which
// they are, of others the bytes.
std::string EncodeNetwork(const graph::Graph& graph, const KnownConstants& known);

// The network again. `base` is the one whose constants were known; what is an input or an output,
// attributes that are tensors or bodies, and the meaning of operators come from it.
// InvalidArgument, saying what is wrong, if the bytes do not describe a network of that kind: any
// bytes may be given. That it is the right one is for its Fingerprint() to say.
absl::StatusOr<graph::Graph> DecodeNetwork(std::span<const std::byte> bytes,
                                           const graph::Graph& base);

}  // namespace octet::runtime
