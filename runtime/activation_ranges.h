// The ranges of activations: observed once, turned into quantizers for every set of layers tried.

#pragma once

#include <map>
#include <optional>
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

struct LayerRule;
struct QuantizeOptions;

// `options` outlive it.
class ActivationRanges {
 public:
  explicit ActivationRanges(const QuantizeOptions& options) : options_(options) {}

  // Observes every value that has a quantizer in `widest`, and lets others see what they want in
  // the same runs. FailedPrecondition without samples.
  absl::Status Observe(const graph::Graph& graph, const quant::Selection& widest, Samples samples,
                       Resources resources, const Watch& also = {});

  // Takes what statistics have of these values. FailedPrecondition if they lack one.
  absl::Status Take(const graph::Graph& graph, const quant::Selection& widest,
                    const CalibrationStatistics& statistics);

  // What was observed of a value; null if nothing.
  const quant::Histogram* Find(graph::ValueId value) const;
  // The rule's algorithm and scheme for what is read from this value, whatever is asked for
  // elsewhere. InvalidArgument (Q017) if it already has others.
  absl::Status Override(graph::ValueId value, const LayerRule& rule);

  // One quantizer for each of the selection's, whose values must be among the observed ones.
  // `algorithm` is a range estimator (quant/range_estimator.h). What was asked before is
  // remembered. InvalidArgument (Q017) if values that share a quantizer have different overrides.
  absl::StatusOr<std::vector<quant::ValueQuantizer>> Quantizers(const quant::Selection& selection,
                                                                const std::string& algorithm);

 private:
  using Group = std::vector<graph::ValueId>;  // values of one quantizer, ascending
  struct Choice {
    std::string algorithm;
    std::string scheme;

    auto operator<=>(const Choice&) const = default;
  };
  struct Wish {
    std::optional<std::string> algorithm, scheme;
  };

  absl::StatusOr<quant::ValueQuantizer> Estimate(const Group& group, const Choice& choice) const;
  absl::StatusOr<Choice> ChoiceFor(const Group& group, const std::string& algorithm) const;

  const QuantizeOptions& options_;
  std::map<graph::ValueId, Wish> wishes_;
  std::map<graph::ValueId, std::string> names_;
  std::map<graph::ValueId, quant::Histogram> histograms_;
  std::map<std::pair<Choice, Group>, quant::ValueQuantizer> known_;
};

}  // namespace octet::runtime
