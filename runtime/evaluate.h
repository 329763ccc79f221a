// Running a graph over samples: observing values, and comparing outputs.

#pragma once

#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "kernels/weight_cache.h"
#include "quant/histogram.h"
#include "runtime/calibration_data.h"
#include "runtime/sample_runner.h"

namespace octet::runtime {

// What running over samples takes: packed weights, which stay there for the next time, and at most
// so many threads, each with an arena of its own. What comes out does not depend on them, bit by
// bit: a sample is run by one thread, and its values are visited when those of all samples before
// it have been.
struct Resources {
  // NOLINTNEXTLINE(google-explicit-constructor): the weights alone are enough for one thread
  Resources(kernels::WeightCache& weights, int threads = 1, TensorFile* values = nullptr)
      : weights(weights), threads(threads), values(values) {}

  kernels::WeightCache& weights;
  int threads;
  TensorFile* values;  // where values that are kept may go; null: they stay in memory
};

// Calls visit(index in `values`, value) for each of these values and every sample, as soon as there
// is the value, which is gone when it returns: no more memory is taken than running takes. For each
// value one call at a time, in the samples' order; on any of the threads, and for several values at
// once. FailedPrecondition without samples; errors of `visit` end it.
absl::Status VisitValues(const graph::Graph& graph, std::span<const graph::ValueId> values,
                         Samples samples, Resources resources,
                         const std::function<absl::Status(size_t, const ConstTensorView&)>& visit);

// Values, and who is to see them.
struct Watch {
  std::vector<graph::ValueId> values;
  std::function<absl::Status(size_t, const ConstTensorView&)> visit;
};

// Of all samples, so many that are evenly spaced; all if there are fewer.
std::vector<std::vector<Tensor>> EvenlySpaced(Samples samples, size_t most);

// One histogram per entry of `values`, over all samples. Samples of one shape share a plan. The
// same runs show what `also` asks for, as VisitValues() does. FailedPrecondition without samples.
absl::StatusOr<std::vector<quant::Histogram>> Observe(const graph::Graph& graph,
                                                      std::span<const graph::ValueId> values,
                                                      Samples samples, Resources resources,
                                                      const Watch& also = {});

// What an activation's channel has been over all samples.
struct ChannelStatistics {
  float lowest = 0, highest = 0;  // never above or below 0
  // The same without the one sample that went furthest: how far to trust the extremes.
  float second_lowest = 0, second_highest = 0;
  double mean_square = 0;
};

struct ActivationStatistics {
  std::vector<ChannelStatistics> channels;
  double elements = 0;  // of each channel, in all samples together
};

// Of every index of one dimension of each value; -1 is the last. The values are float32 and have
// the dimension, which is the same in all samples; numbers that are not finite do not count.
// FailedPrecondition without samples, InvalidArgument for values that are not so.
absl::StatusOr<std::vector<ActivationStatistics>> StatisticsByChannel(
    const graph::Graph& graph, std::span<const graph::ValueId> values, int dimension,
    Samples samples, Resources resources);

// The outputs of the graph for every sample.
absl::StatusOr<std::vector<std::vector<Tensor>>> RunAll(const graph::Graph& graph, Samples samples,
                                                        Resources resources);

// How much of each of these values, which exist in both graphs under one id, is signal rather than
// quantization noise, over all samples: as OutputSqnrDb(). Codes count as what they stand for. In
// groups, so that each thread keeps no more than some 24 MiB of values in memory, or 256 MiB in the
// resources' file; each group costs a run of both graphs per sample.
absl::StatusOr<std::vector<double>> ValueSqnrDb(const graph::Graph& exact,
                                                const graph::Graph& approximate,
                                                std::span<const graph::ValueId> values,
                                                Samples samples, Resources exact_resources,
                                                kernels::WeightCache& approximate_weights);

// Signal to quantization noise of the float outputs over all samples, in decibels: capped at 99;
// outputs that are not float32 are left out.
double OutputSqnrDb(const std::vector<std::vector<Tensor>>& exact,
                    const std::vector<std::vector<Tensor>>& approximate);

}  // namespace octet::runtime
