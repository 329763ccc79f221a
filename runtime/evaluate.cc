#include "runtime/evaluate.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/infer.h"
#include "runtime/plan.h"

namespace octet::runtime {
namespace {

constexpr double kHighestSqnrDb = 99;

// Makes one plan per set of shapes. `graph` and `weights` outlive it.
class SampleRunner {
 public:
  SampleRunner(const graph::Graph& graph, kernels::WeightCache& weights)
      : graph_(graph), weights_(weights) {}

  absl::StatusOr<std::vector<Tensor>> Run(std::span<const Tensor> sample) {
    std::vector<Shape> shapes;
    std::string key;
    for (const Tensor& input : sample) {
      shapes.push_back(input.shape());
      absl::StrAppend(&key, ToText(input.shape()));
    }
    std::unique_ptr<PlanRunner>& runner = runners_[key];
    if (runner == nullptr) {
      OCTET_ASSIGN_OR_RETURN(std::shared_ptr<const Plan> plan, MakePlan(graph_, shapes, weights_));
      OCTET_ASSIGN_OR_RETURN(PlanRunner created, PlanRunner::Create(std::move(plan)));
      runner = std::make_unique<PlanRunner>(std::move(created));
    }
    return runner->Run(sample);
  }

 private:
  const graph::Graph& graph_;
  kernels::WeightCache& weights_;
  absl::flat_hash_map<std::string, std::unique_ptr<PlanRunner>> runners_;
};

// Runs every sample and hands over the index and the outputs.
absl::Status ForEachSample(
    const graph::Graph& graph, Samples samples, kernels::WeightCache& weights,
    const std::function<absl::Status(size_t, const std::vector<Tensor>&)>& visit) {
  SampleRunner runner(graph, weights);
  for (size_t s = 0; s < samples.size(); ++s) {
    OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> outputs, runner.Run(samples[s]));
    OCTET_RETURN_IF_ERROR(visit(s, outputs));
  }
  return absl::OkStatus();
}

// Signal and noise as they add up.
class Noise {
 public:
  // `exact` is float32; `y(i)` is the other's element.
  template <typename Approximate>
  void Add(std::span<const float> exact, Approximate y) {
    for (size_t i = 0; i < exact.size(); ++i) {
      if (!std::isfinite(exact[i])) continue;
      const double x = exact[i], error = x - y(i);
      signal_ += x * x;
      noise_ += error * error;
    }
  }

  double Db() const {
    if (noise_ == 0) return kHighestSqnrDb;
    if (!std::isfinite(noise_) || signal_ == 0) return -kHighestSqnrDb;
    return std::min(kHighestSqnrDb, 10 * std::log10(signal_ / noise_));
  }

 private:
  double signal_ = 0, noise_ = 0;
};

// `approximate` may be codes of `type`.
void AddValue(const Tensor& exact, const Tensor& approximate, const graph::TensorType& type,
              Noise& noise) {
  const double scale = type.quant ? type.quant->scales[0] : 1;
  const double zero_point = type.quant ? type.quant->zero_points[0] : 0;
  VisitType(approximate.dtype(), [&]<typename T>() {
    const auto y = approximate.As<T>();
    noise.Add(exact.As<float>(), [&](size_t i) { return scale * (double(y[i]) - zero_point); });
  });
}

// The graph with these values as outputs behind its own.
graph::Graph WithOutputs(const graph::Graph& graph, std::span<const graph::ValueId> values) {
  graph::Graph observed = graph;
  for (const graph::ValueId value : values) {
    observed.AddOutput(value, graph.value(value).name, graph.value(value).type.dtype);
  }
  return observed;
}

// Elements of one channel that lie side by side. `mean_square` is a sum until the end.
void AddElements(std::span<const float> elements, ChannelStatistics& channel) {
  for (const float element : elements) {
    if (!std::isfinite(element)) continue;
    channel.lowest = std::min(channel.lowest, element);
    channel.highest = std::max(channel.highest, element);
    channel.mean_square += double{element} * element;
  }
}

void AddSample(const ChannelStatistics& sample, ChannelStatistics& channel) {
  channel.second_highest =
      std::max(channel.second_highest, std::min(channel.highest, sample.highest));
  channel.second_lowest = std::min(channel.second_lowest, std::max(channel.lowest, sample.lowest));
  channel.highest = std::max(channel.highest, sample.highest);
  channel.lowest = std::min(channel.lowest, sample.lowest);
  channel.mean_square += sample.mean_square;
}

// The next values that together stay below the limit, at least one.
size_t NextGroup(std::span<const graph::ValueId> values, const graph::Inference& inference) {
  constexpr size_t kMostBytes = size_t{64} << 20;
  size_t count = 0, bytes = 0;
  while (count < values.size()) {
    const Shape& shape = inference.types[static_cast<size_t>(values[count])].shape;
    bytes += static_cast<size_t>(ElementCount(shape)) * 2 * sizeof(float);
    if (count > 0 && bytes > kMostBytes) break;
    ++count;
  }
  return count;
}

}  // namespace

absl::Status VisitValues(const graph::Graph& graph, std::span<const graph::ValueId> values,
                         Samples samples, kernels::WeightCache& weights,
                         const std::function<absl::Status(size_t, const Tensor&)>& visit) {
  if (samples.empty()) return absl::FailedPreconditionError("there are no calibration samples");
  const graph::Graph observed = WithOutputs(graph, values);
  const size_t first = graph.outputs().size();
  return ForEachSample(observed, samples, weights,
                       [&](size_t, const std::vector<Tensor>& outputs) -> absl::Status {
                         for (size_t i = 0; i < values.size(); ++i) {
                           OCTET_RETURN_IF_ERROR(visit(i, outputs[first + i]));
                         }
                         return absl::OkStatus();
                       });
}

absl::StatusOr<std::vector<quant::Histogram>> Observe(const graph::Graph& graph,
                                                      std::span<const graph::ValueId> values,
                                                      Samples samples,
                                                      kernels::WeightCache& weights) {
  std::vector<quant::Histogram> histograms(values.size());
  OCTET_RETURN_IF_ERROR(
      VisitValues(graph, values, samples, weights, [&](size_t i, const Tensor& value) {
        histograms[i].AddSample(value.As<float>());
        return absl::OkStatus();
      }));
  return histograms;
}

absl::StatusOr<std::vector<ActivationStatistics>> StatisticsByChannel(
    const graph::Graph& graph, std::span<const graph::ValueId> values, int dimension,
    Samples samples, kernels::WeightCache& weights) {
  std::vector<ActivationStatistics> statistics(values.size());
  const auto add = [&](size_t i, const Tensor& output) -> absl::Status {
    const Shape& shape = output.shape();
    const int rank = static_cast<int>(shape.size());
    const int axis = dimension < 0 ? rank + dimension : dimension;
    const bool has_axis = axis >= 0 && axis < rank;
    const auto count = has_axis ? static_cast<size_t>(shape[static_cast<size_t>(axis)]) : 0;
    std::vector<ChannelStatistics>& channels = statistics[i].channels;
    if (channels.empty()) channels.resize(count);
    if (output.dtype() != DataType::kFloat32 || !has_axis || channels.size() != count) {
      return absl::InvalidArgumentError(absl::StrCat(
          graph.value(values[i]).name, ": ", Name(output.dtype()), ToText(shape),
          ", expected float32 with ", channels.size(), " channels in dimension ", dimension));
    }
    const std::span<const float> elements = output.As<float>();
    if (elements.empty()) return absl::OkStatus();
    const auto inner =
        static_cast<size_t>(ElementCount(Shape(shape.begin() + axis + 1, shape.end())));
    std::vector<ChannelStatistics> sample(count);
    for (size_t at = 0; at < elements.size(); at += inner) {
      AddElements(elements.subspan(at, inner), sample[at / inner % count]);
    }
    for (size_t c = 0; c < count; ++c) AddSample(sample[c], channels[c]);
    statistics[i].elements += static_cast<double>(elements.size()) / static_cast<double>(count);
    return absl::OkStatus();
  };
  OCTET_RETURN_IF_ERROR(VisitValues(graph, values, samples, weights, add));
  for (ActivationStatistics& activation : statistics) {
    for (ChannelStatistics& channel : activation.channels) {
      channel.mean_square /= std::max(activation.elements, 1.0);
    }
  }
  return statistics;
}

absl::Status VisitSamples(const graph::Graph& graph, std::span<const graph::ValueId> values,
                          Samples samples, kernels::WeightCache& weights,
                          const std::function<absl::Status(std::span<const Tensor>)>& visit) {
  if (samples.empty()) return absl::FailedPreconditionError("there are no calibration samples");
  const size_t first = graph.outputs().size();
  return ForEachSample(WithOutputs(graph, values), samples, weights,
                       [&](size_t, const std::vector<Tensor>& outputs) {
                         return visit(std::span(outputs).subspan(first));
                       });
}

absl::StatusOr<std::vector<std::vector<Tensor>>> RunAll(const graph::Graph& graph, Samples samples,
                                                        kernels::WeightCache& weights) {
  std::vector<std::vector<Tensor>> all(samples.size());
  OCTET_RETURN_IF_ERROR(
      ForEachSample(graph, samples, weights, [&](size_t s, const std::vector<Tensor>& outputs) {
        all[s] = outputs;
        return absl::OkStatus();
      }));
  return all;
}

absl::StatusOr<std::vector<double>> ValueSqnrDb(const graph::Graph& exact,
                                                const graph::Graph& approximate,
                                                std::span<const graph::ValueId> values,
                                                Samples samples,
                                                kernels::WeightCache& exact_weights,
                                                kernels::WeightCache& approximate_weights) {
  std::vector<double> result;
  if (samples.empty()) return absl::FailedPreconditionError("there are no samples to measure with");
  std::vector<Shape> shapes;
  for (const Tensor& input : samples[0]) shapes.push_back(input.shape());
  OCTET_ASSIGN_OR_RETURN(const graph::Inference inference, graph::Infer(exact, shapes));
  while (!values.empty()) {
    const auto group = values.first(NextGroup(values, inference));
    const graph::Graph exact_graph = WithOutputs(exact, group);
    const graph::Graph approximate_graph = WithOutputs(approximate, group);
    SampleRunner exact_runner(exact_graph, exact_weights);
    SampleRunner approximate_runner(approximate_graph, approximate_weights);
    std::vector<Noise> noise(group.size());
    for (const std::vector<Tensor>& sample : samples) {
      OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> x, exact_runner.Run(sample));
      OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> y, approximate_runner.Run(sample));
      const size_t first = exact.outputs().size();
      for (size_t i = 0; i < group.size(); ++i) {
        AddValue(x[first + i], y[first + i], approximate.value(group[i]).type, noise[i]);
      }
    }
    for (const Noise& value : noise) result.push_back(value.Db());
    values = values.subspan(group.size());
  }
  return result;
}

double OutputSqnrDb(const std::vector<std::vector<Tensor>>& exact,
                    const std::vector<std::vector<Tensor>>& approximate) {
  Noise noise;
  for (size_t s = 0; s < exact.size(); ++s) {
    for (size_t o = 0; o < exact[s].size(); ++o) {
      if (exact[s][o].dtype() != DataType::kFloat32) continue;
      const auto y = approximate[s][o].As<float>();
      noise.Add(exact[s][o].As<float>(), [&](size_t i) { return double{y[i]}; });
    }
  }
  return noise.Db();
}

}  // namespace octet::runtime
