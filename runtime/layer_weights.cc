#include "runtime/layer_weights.h"

#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "kernels/cpu.h"
#include "runtime/parallel.h"
#include "runtime/quantize_model.h"

namespace octet::runtime {
namespace {

using graph::NodeId;
using quant::Precision;

quant::FourBitOptions ToFourBitOptions(const QuantizeOptions& options) {
  quant::FourBitOptions result{.symmetric = options.four_bits.symmetric,
                               .group = options.four_bits.group,
                               .codebook = options.four_bits.codebook,
                               .one_table = options.four_bits.one_table,
                               .estimator = options.weight_algorithm,
                               .damping = options.damping};
  result.estimator_options = options.estimation;
  return result;
}

std::string DescribeGain(const quant::QuantizedWeights& weights) {
  if (!weights.channel_gain_db) return "";
  if (weights.params.axis) {
    return absl::StrFormat("a scale per channel gains %.1f dB", *weights.channel_gain_db);
  }
  return absl::StrFormat("one scale: a scale per channel would gain %.1f dB only",
                         std::max(*weights.channel_gain_db, 0.0));
}

size_t ResidentBytes(const quant::QuantizedWeights& weights) {
  return weights.codes.byte_size() + weights.params.scales.size() * sizeof(float);
}

}  // namespace

quant::Grid EightBitGrid(const QuantizeOptions& options) {
  using Range = QuantizeOptions::WeightRange;
  const bool reduced = options.weight_range == Range::kReduced ||
                       (options.weight_range == Range::kAuto && !kernels::HasVnni());
  return reduced ? quant::kSymmetricInt7 : quant::kSymmetricInt8;
}

absl::Status LayerWeights::Quantize(const quant::LayerPrecisions& precisions) {
  std::vector<Task> eight, four;
  for (Task& task : MissingTasks(precisions)) {
    (quant::HasFourBitWeights(task.precision) ? four : eight).push_back(std::move(task));
  }
  OCTET_RETURN_IF_ERROR(quant::RoundWeights(graph_, precisions, bfloat16_));
  OCTET_RETURN_IF_ERROR(QuantizeEightBits(eight));
  OCTET_RETURN_IF_ERROR(QuantizeFourBits(four));
  if (!eight.empty() || !four.empty()) malloc_trim(0);  // of statistics nothing is left
  return absl::OkStatus();
}

const Tensor& LayerWeights::Weight(NodeId layer) const {
  return *graph_.value(graph_.node(layer).inputs[1]).constant;
}

std::vector<LayerWeights::Task> LayerWeights::MissingTasks(
    const quant::LayerPrecisions& precisions) const {
  std::vector<Task> tasks;
  std::map<std::pair<uint64_t, bool>, size_t> known;
  for (const auto& [layer, precision] : precisions) {
    if (!IsInt8(precision)) continue;
    const uint64_t id = Weight(layer).id();
    const bool four = quant::HasFourBitWeights(precision);
    if (four ? four_bits_.contains(id) : eight_bits_.contains(id)) continue;
    const auto [found, added] = known.try_emplace({id, four}, tasks.size());
    if (added) tasks.push_back({.precision = precision});
    tasks[found->second].layers.push_back(layer);
  }
  return tasks;
}

void LayerWeights::Progress(size_t done, size_t count) const {
  if (options_.progress) {
    options_.progress("quantize weights", absl::StrCat(done, " of ", count));
  }
}

bool LayerWeights::WantsWeighting(bool four_bits) const {
  using Weighting = QuantizeOptions::Weighting;
  const bool wanted = options_.weighting == Weighting::kActivation ||
                      (options_.weighting == Weighting::kAuto && four_bits);
  return wanted && !samples_.empty();
}

absl::Status LayerWeights::MeasureInputs(const std::vector<Task>& tasks, bool four_bits) {
  if (!WantsWeighting(four_bits)) return absl::OkStatus();
  std::vector<NodeId> layers;
  for (const Task& task : tasks) {
    for (const NodeId layer : task.layers) {
      if (!powers_.contains(layer)) layers.push_back(layer);
    }
  }
  if (layers.empty()) return absl::OkStatus();
  constexpr size_t kEnough = 32;
  OCTET_ASSIGN_OR_RETURN(
      InputPowers found,
      MeasureInputPowers(graph_, layers, samples_.first(std::min(kEnough, samples_.size())),
                         {*floats_, options_.threads}));
  powers_.merge(found);
  return absl::OkStatus();
}

absl::Status LayerWeights::QuantizeEightBits(const std::vector<Task>& tasks) {
  OCTET_RETURN_IF_ERROR(MeasureInputs(tasks, /*four_bits=*/false));
  std::vector<quant::QuantizedWeights> results(tasks.size());
  const auto quantize = [&](size_t i) -> absl::Status {
    const graph::Node& node = graph_.node(tasks[i].layers[0]);
    const Tensor& weight = Weight(tasks[i].layers[0]);
    quant::WeightOptions options{.estimator = options_.weight_algorithm,
                                 .grid = EightBitGrid(options_),
                                 .zero_non_finite = options_.zero_non_finite};
    options.estimator_options = options_.estimation;
    const std::vector<float> importance = WantsWeighting(/*four_bits=*/false)
                                              ? ImportanceOf(graph_, tasks[i].layers, powers_)
                                              : std::vector<float>();
    options.importance = importance;
    const LayerRule* rule = RuleFor(options_.layers, node, weight.shape());
    if (rule != nullptr && rule->weight_algorithm) options.estimator = *rule->weight_algorithm;
    if (rule != nullptr && rule->per_channel) {
      if (*rule->per_channel) options.axis = quant::WeightAxis(node, weight.shape());
    } else if (options_.per_channel) {
      options.axis = quant::WeightAxis(node, weight.shape());
      options.least_channel_gain_db = options_.least_channel_gain_db;
    }
    absl::StatusOr<quant::QuantizedWeights> quantized =
        quant::QuantizeWeights(weight.view(), options);
    if (!quantized.ok()) {
      return Annotate(quantized.status(), absl::StrCat("weights of node ", node.name));
    }
    results[i] = *std::move(quantized);
    results[i].codes = graph_.Hold(std::move(results[i].codes));
    weight.DropPages();
    return absl::OkStatus();
  };
  OCTET_RETURN_IF_ERROR(ParallelFor(options_.threads, tasks.size(), quantize,
                                    [&](size_t done) { Progress(done, tasks.size()); }));
  if (WantsFeedback()) OCTET_RETURN_IF_ERROR(RoundWithFeedback(tasks, results));
  for (size_t i = 0; i < tasks.size(); ++i) {
    eight_bits_.emplace(Weight(tasks[i].layers[0]).id(), std::move(results[i]));
  }
  return absl::OkStatus();
}

absl::Status LayerWeights::RoundWithFeedback(const std::vector<Task>& tasks,
                                             std::vector<quant::QuantizedWeights>& weights) {
  std::vector<RoundedLayer> layers;
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (tasks[i].layers.size() > 1 || weights[i].zeroed_values > 0) continue;
    layers.push_back({tasks[i].layers[0], &weights[i]});
  }
  if (options_.progress && !layers.empty()) {
    options_.progress("round weights", absl::StrCat("of ", layers.size(), " layers"));
  }
  return CompensateRounding(graph_, layers, Rounding(), samples_, *floats_,
                            std::exchange(hessians_, {}));
}

RoundingOptions LayerWeights::Rounding() const {
  return {.grid = EightBitGrid(options_),
          .damping = options_.damping,
          .threads = options_.threads,
          .hessian_bytes = hessian_bytes_};
}

std::optional<HessianCollector> LayerWeights::WantedHessians(
    const quant::LayerPrecisions& precisions) const {
  if (!WantsFeedback()) return std::nullopt;
  std::vector<NodeId> layers;
  for (const Task& task : MissingTasks(precisions)) {
    const bool wanted = !quant::HasFourBitWeights(task.precision) && task.layers.size() == 1;
    if (wanted) layers.push_back(task.layers[0]);
  }
  std::vector<RowInput> inputs = InputsForRounding(graph_, layers, Rounding());
  if (inputs.empty() || HessianBytes(inputs) > hessian_bytes_) return std::nullopt;
  return HessianCollector(graph_, std::move(inputs), samples_.size());
}

absl::Status LayerWeights::TakeHessians(HessianCollector collected) {
  const std::vector<RowInput> inputs = collected.inputs();
  OCTET_ASSIGN_OR_RETURN(std::vector<quant::Hessian> hessians,
                         std::move(collected).Take(options_.threads));
  for (size_t i = 0; i < inputs.size(); ++i) hessians_.emplace(inputs[i], std::move(hessians[i]));
  return absl::OkStatus();
}

bool LayerWeights::WantsFeedback() const {
  using Compensation = QuantizeOptions::Compensation;
  return options_.compensation != Compensation::kNone && !samples_.empty();
}

bool LayerWeights::WantsGptq() const {
  return WantsFeedback() && options_.four_bits.codebook.empty();
}

// Of all layers of the task, or none: error feedback has to know all that the weights meet.
std::vector<RowInput> LayerWeights::InputsOf(const Task& task) const {
  std::vector<RowInput> inputs;
  for (const NodeId layer : task.layers) {
    const std::optional<RowInput> input = ProductInputOf(graph_, layer);
    if (!input) return {};
    inputs = Union(std::move(inputs), {*input});
  }
  if (ExceedsBudget(inputs)) return {};
  return inputs;
}

bool LayerWeights::ExceedsBudget(std::span<const RowInput> inputs) const {
  return options_.memory_bytes > 0 && HessianBytes(inputs) > hessian_bytes_;
}

// In groups whose Hessians fit the memory; each costs a run of the network per sample.
absl::Status LayerWeights::QuantizeFourBits(const std::vector<Task>& tasks) {
  OCTET_RETURN_IF_ERROR(MeasureInputs(tasks, /*four_bits=*/true));
  size_t begin = 0;
  while (begin < tasks.size()) {
    size_t end = begin;
    std::vector<RowInput> inputs;
    for (; end < tasks.size(); ++end) {
      std::vector<RowInput> more = inputs;
      if (WantsGptq()) more = Union(std::move(more), InputsOf(tasks[end]));
      if (end > begin && HessianBytes(more) > hessian_bytes_) break;
      inputs = std::move(more);
    }
    OCTET_RETURN_IF_ERROR(QuantizeFourBits(std::span(tasks).subspan(begin, end - begin), inputs));
    begin = end;
  }
  return absl::OkStatus();
}

absl::Status LayerWeights::QuantizeFourBits(std::span<const Task> tasks,
                                            const std::vector<RowInput>& inputs) {
  std::vector<quant::Hessian> hessians;
  if (!inputs.empty()) {
    if (options_.progress) {
      options_.progress("observe layers", absl::StrCat(inputs.size(), " inputs for GPTQ"));
    }
    OCTET_ASSIGN_OR_RETURN(hessians,
                           CollectHessians(graph_, inputs, samples_, *floats_, options_.threads));
  }
  const auto hessian_of = [&](const RowInput& input) -> const quant::Hessian& {
    return hessians[static_cast<size_t>(std::lower_bound(inputs.begin(), inputs.end(), input) -
                                        inputs.begin())];
  };
  std::vector<quant::FourBitWeights> results(tasks.size());
  const auto quantize = [&](size_t i) -> absl::Status {
    const std::vector<RowInput> read =
        inputs.empty() ? std::vector<RowInput>() : InputsOf(tasks[i]);
    std::optional<quant::Hessian> sum;
    if (read.size() > 1) sum.emplace(hessian_of(read[0]));
    for (size_t k = 1; k < read.size(); ++k) {
      OCTET_RETURN_IF_ERROR(sum->Merge(hessian_of(read[k])));
    }
    const quant::Hessian* const hessian = sum            ? &*sum
                                          : read.empty() ? nullptr
                                                         : &hessian_of(read[0]);
    absl::StatusOr<quant::FourBitWeights> quantized = FourBits(tasks[i], hessian);
    if (!quantized.ok()) {
      const std::string& name = graph_.node(tasks[i].layers[0]).name;
      return Annotate(quantized.status(), absl::StrCat("weights of node ", name));
    }
    results[i] = *std::move(quantized);
    return absl::OkStatus();
  };
  OCTET_RETURN_IF_ERROR(ParallelFor(options_.threads, tasks.size(), quantize,
                                    [&](size_t done) { Progress(done, tasks.size()); }));
  for (size_t i = 0; i < tasks.size(); ++i) {
    four_bits_.emplace(Weight(tasks[i].layers[0]).id(), std::move(results[i]));
  }
  return absl::OkStatus();
}

absl::StatusOr<quant::FourBitWeights> LayerWeights::FourBits(const Task& task,
                                                             const quant::Hessian* hessian) const {
  Tensor weight = Weight(task.layers[0]);
  const int axis = quant::WeightAxis(graph_.node(task.layers[0]), weight.shape());
  if (options_.zero_non_finite) {
    std::vector<float> finite(weight.As<float>().begin(), weight.As<float>().end());
    std::replace_if(
        finite.begin(), finite.end(), [](float value) { return !std::isfinite(value); }, 0.0f);
    weight = Tensor::Of<float>(weight.shape(), finite);
  }
  OCTET_ASSIGN_OR_RETURN(quant::WeightRows rows, quant::RowsOf(weight.view(), axis));
  if (WantsWeighting(/*four_bits=*/true)) {
    rows.importance = ColumnImportance(graph_, task.layers, powers_);
  }
  OCTET_ASSIGN_OR_RETURN(quant::FourBitWeights result,
                         quant::QuantizeToFourBits(rows, hessian, ToFourBitOptions(options_)));
  OCTET_ASSIGN_OR_RETURN(result.int8, quant::Int8Weights(result.stored, rows, weight.shape(), axis,
                                                         EightBitGrid(options_)));
  const bool products = std::all_of(task.layers.begin(), task.layers.end(),
                                    [&](NodeId layer) { return graph_.node(layer).op != "Conv"; });
  if (options_.four_bits.expand_at_run && products) {
    OCTET_RETURN_IF_ERROR(quant::PackForRunTime(result));
  }
  result.int8.codes = graph_.Hold(std::move(result.int8.codes));
  weight.DropPages();
  return result;
}

quant::WeightsById LayerWeights::For(const quant::LayerPrecisions& precisions) const {
  quant::WeightsById result;
  for (const auto& [layer, precision] : precisions) {
    const uint64_t id = Weight(layer).id();
    if (const auto four = four_bits_.find(id);
        quant::HasFourBitWeights(precision) && four != four_bits_.end()) {
      result.emplace(id, four->second.int8);
    } else if (const auto eight = eight_bits_.find(id); eight != eight_bits_.end()) {
      result.emplace(id, eight->second);
    }
  }
  return result;
}

void LayerWeights::DescribeFourBits(NodeId layer, const quant::FourBitWeights& weights,
                                    LayerReport& report) const {
  const std::string& codebook = options_.four_bits.codebook;
  report.weights = {
      .bits = 4,
      .format = weights.format,
      .algorithm = codebook.empty() ? options_.weight_algorithm : codebook,
      .gptq = weights.gptq,
      .weighted = WantsWeighting(true) && !ColumnImportance(graph_, {&layer, 1}, powers_).empty()};
  if (WantsGptq() && !weights.gptq) {
    const std::optional<RowInput> input = ProductInputOf(graph_, layer);
    const bool large = input && ExceedsBudget({&*input, 1});
    report.weights.note =
        absl::StrCat("without GPTQ: ", large ? "beyond budget.memory_mb" : "not a matrix product");
  }
  report.weights.expand = weights.packed ? "run" : "load";
  if (options_.four_bits.expand_at_run && !weights.packed) {
    report.weights.note = absl::StrCat(report.weights.note, report.weights.note.empty() ? "" : "; ",
                                       "expanded when loaded: not a matrix product");
  }
  report.weight_sqnr_db = weights.int8.sqnr_db;
  report.bytes_after = weights.stored.bytes();
  report.bytes_resident =
      weights.packed ? weights.stored.bytes() + weights.int8.params.scales.size() * sizeof(float)
                     : ResidentBytes(weights.int8);
}

void LayerWeights::Describe(NodeId layer, Precision precision, LayerReport& report) const {
  const Tensor& weight = Weight(layer);
  report.bytes_before = report.bytes_after = report.bytes_resident = weight.byte_size();
  report.weights = {.bits = 32, .format = "f32"};
  const auto four = four_bits_.find(weight.id());
  if (quant::HasFourBitWeights(precision) && four != four_bits_.end()) {
    DescribeFourBits(layer, four->second, report);
    return;
  }
  if (precision == Precision::kBFloat16) {
    report.weights = {.bits = 16, .format = "bf16"};
    report.bytes_after = report.bytes_resident = weight.byte_size() / 2;
  }
  const auto eight = eight_bits_.find(weight.id());
  if (eight == eight_bits_.end()) return;
  report.weight_sqnr_db = eight->second.sqnr_db;
  if (!IsInt8(precision)) return;
  report.weights = {.bits = 8,
                    .format = eight->second.params.axis ? "s8c" : "s8t",
                    .algorithm = options_.weight_algorithm,
                    .gptq = eight->second.feedback,
                    .weighted = WantsWeighting(false) && powers_.contains(layer),
                    .note = DescribeGain(eight->second)};
  report.bytes_after = report.bytes_resident = ResidentBytes(eight->second);
}

}  // namespace octet::runtime
