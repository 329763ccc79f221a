// How strong what each weight of a layer meets is, which is how much an error in the weight counts.

#pragma once

#include <map>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "kernels/weight_cache.h"
#include "quant/weight_rows.h"
#include "runtime/evaluate.h"

namespace octet::runtime {

// The mean square of every channel of these layers' inputs, over the samples; layers that share an
// input have the same. Errors are VisitValues()'.
using InputPowers = std::map<graph::NodeId, std::vector<float>>;
absl::StatusOr<InputPowers> MeasureInputPowers(const graph::Graph& graph,
                                               std::span<const graph::NodeId> layers,
                                               Samples samples, Resources resources);

// How much each weight of these layers, which share them, counts, in the order of the tensor: the
// power of the input channel that it meets, by the mean of all; at least a thousandth of that.
// Empty if nothing is known of a layer, or nothing but zeros was seen.
std::vector<float> ImportanceOf(const graph::Graph& graph, std::span<const graph::NodeId> layers,
                                const InputPowers& powers);

// The same of the columns of the weights as rows (quant/weight_rows.h); empty for convolutions in
// groups, whose rows meet different channels.
std::vector<float> ColumnImportance(const graph::Graph& graph,
                                    std::span<const graph::NodeId> layers,
                                    const InputPowers& powers);

}  // namespace octet::runtime
