// The weights of a network's layers as integers, in 8 bits and in 4, and in bfloat16, made when a
// precision needs them and kept for all attempts.

#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "kernels/weight_cache.h"
#include "quant/bfloat16_weights.h"
#include "quant/four_bits.h"
#include "quant/rewrite.h"
#include "quant/selection.h"
#include "runtime/compensate_rounding.h"
#include "runtime/evaluate.h"
#include "runtime/input_powers.h"
#include "runtime/layer_inputs.h"

namespace octet::runtime {

struct LayerReport;
struct QuantizeOptions;

// Of weights in 8 bits: reduced where the options say so, or this processor's products saturate.
quant::Grid EightBitGrid(const QuantizeOptions& options);

// Not thread-safe. `graph` and `options` outlive it.
class LayerWeights {
 public:
  LayerWeights(const graph::Graph& graph, const QuantizeOptions& options)
      : graph_(graph), options_(options) {}

  // Samples that error feedback may take the layers' inputs from; they and `floats`, packed weights
  // of the float graph, outlive this. `hessian_bytes`: what the inputs' statistics may take; with
  // options.memory_bytes, layers whose own take more are left out.
  void CalibrateWith(Samples samples, kernels::WeightCache& floats,
                     int64_t hessian_bytes = kMostHessianBytes) {
    samples_ = samples;
    floats_ = &floats;
    hessian_bytes_ = hessian_bytes;
  }

  // What samples should show, in runs that somebody makes anyhow, for error feedback of these
  // layers in 8 bits; nothing where it is not wanted, or takes more memory than there is for it.
  std::optional<HessianCollector> WantedHessians(const quant::LayerPrecisions& precisions) const;
  // Of the next Quantize(), which then needs no runs of its own for these.
  absl::Status TakeHessians(HessianCollector collected);

  // Makes what these precisions need and is not there yet, on options.threads threads; the result
  // does not depend on how many. InvalidArgument, naming the layer, for weights that are not
  // finite.
  absl::Status Quantize(const quant::LayerPrecisions& precisions);

  const quant::WeightsById& eight_bits() const { return eight_bits_; }
  const quant::FourBitWeightsById& four_bits() const { return four_bits_; }
  const quant::BFloat16ById& bfloat16() const { return bfloat16_; }

  // Of each layer that is quantized, in 8 bits, as products are computed with them.
  quant::WeightsById For(const quant::LayerPrecisions& precisions) const;

  // Fills in what is known of a layer's weights in this precision.
  void Describe(graph::NodeId layer, quant::Precision precision, LayerReport& report) const;

 private:
  void DescribeFourBits(graph::NodeId layer, const quant::FourBitWeights& weights,
                        LayerReport& report) const;
  // A constant, and the layers that multiply by it.
  struct Task {
    std::vector<graph::NodeId> layers;
    quant::Precision precision{};
  };

  const Tensor& Weight(graph::NodeId layer) const;
  std::vector<Task> MissingTasks(const quant::LayerPrecisions& precisions) const;
  absl::Status QuantizeEightBits(const std::vector<Task>& tasks);
  absl::Status QuantizeFourBits(const std::vector<Task>& tasks);
  absl::Status QuantizeFourBits(std::span<const Task> tasks, const std::vector<RowInput>& inputs);
  absl::StatusOr<quant::FourBitWeights> FourBits(const Task& task,
                                                 const quant::Hessian* hessian) const;
  std::vector<RowInput> InputsOf(const Task& task) const;
  bool ExceedsBudget(std::span<const RowInput> inputs) const;
  absl::Status RoundWithFeedback(const std::vector<Task>& tasks,
                                 std::vector<quant::QuantizedWeights>& weights);
  bool WantsFeedback() const;
  RoundingOptions Rounding() const;
  bool WantsWeighting(bool four_bits) const;
  // What ImportanceOf() needs of these.
  absl::Status MeasureInputs(const std::vector<Task>& tasks, bool four_bits);
  bool WantsGptq() const;
  void Progress(size_t done, size_t count) const;

  const graph::Graph& graph_;
  const QuantizeOptions& options_;
  Samples samples_;
  kernels::WeightCache* floats_ = nullptr;
  int64_t hessian_bytes_ = kMostHessianBytes;
  KnownHessians hessians_;
  InputPowers powers_;
  quant::WeightsById eight_bits_;
  quant::FourBitWeightsById four_bits_;
  quant::BFloat16ById bfloat16_;
};

}  // namespace octet::runtime
