// The ranges of activations: observed once, turned into quantizers for every set of layers tried.

#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "kernels/weight_cache.h"
#include "quant/rewrite.h"
#include "quant/selection.h"
#include "runtime/calibration_statistics.h"
#include "runtime/evaluate.h"

namespace octet::runtime {

class ActivationRanges {
 public:
  // `percentile` is the parameter of the algorithm of that name.
  explicit ActivationRanges(double percentile) : percentile_(percentile) {}

  // Observes every value that has a quantizer in `widest`. FailedPrecondition without samples.
  absl::Status Observe(const graph::Graph& graph, const quant::Selection& widest, Samples samples,
                       kernels::WeightCache& weights);

  // Takes what statistics have of these values. FailedPrecondition if they lack one.
  absl::Status Take(const graph::Graph& graph, const quant::Selection& widest,
                    const CalibrationStatistics& statistics);

  // What was observed of a value; null if nothing.
  const quant::Histogram* Find(graph::ValueId value) const;
  // `algorithm` for what is read from this value, whatever is asked for elsewhere. InvalidArgument
  // (Q017) if it already has another one.
  absl::Status Override(graph::ValueId value, const std::string& algorithm);

  // One quantizer for each of the selection's, whose values must be among the observed ones.
  // `algorithm` is a range estimator (quant/range_estimator.h). What was asked before is
  // remembered. InvalidArgument (Q017) if values that share a quantizer have different overrides.
  absl::StatusOr<std::vector<quant::ValueQuantizer>> Quantizers(const quant::Selection& selection,
                                                                const std::string& algorithm);

 private:
  using Group = std::vector<graph::ValueId>;  // values of one quantizer, ascending

  absl::StatusOr<quant::ValueQuantizer> Estimate(const Group& group,
                                                 const std::string& algorithm) const;

  absl::StatusOr<std::string> AlgorithmFor(const Group& group, const std::string& otherwise) const;

  const double percentile_;
  std::map<graph::ValueId, std::string> overrides_;
  std::map<graph::ValueId, std::string> names_;
  std::map<graph::ValueId, quant::Histogram> histograms_;
  std::map<std::pair<std::string, Group>, quant::ValueQuantizer> known_;
};

}  // namespace octet::runtime
