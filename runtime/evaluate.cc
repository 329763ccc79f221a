#include "runtime/evaluate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status.h"
#include "graph/infer.h"
#include "runtime/parallel.h"
#include "runtime/plan.h"

namespace octet::runtime {
namespace {

constexpr double kHighestSqnrDb = 99;

// Runs samples of a graph, on any thread. One plan per set of shapes, and as many arenas for it as
// threads run it at a time. `graph` and `weights` outlive it.
class SampleRunner {
 public:
  SampleRunner(const graph::Graph& graph, kernels::WeightCache& weights)
      : graph_(graph), weights_(weights) {}

  // The outputs of a run, in memory that others may use when this goes.
  class Outputs {
   public:
    Outputs(SampleRunner& owner, std::string key, std::unique_ptr<PlanRunner> runner,
            std::vector<ConstTensorView> values)
        : owner_(&owner),
          key_(std::move(key)),
          runner_(std::move(runner)),
          values_(std::move(values)) {}
    Outputs(Outputs&&) = default;
    Outputs& operator=(Outputs&&) = delete;
    ~Outputs() {
      if (runner_ != nullptr) owner_->GiveBack(key_, std::move(runner_));
    }

    std::span<const ConstTensorView> values() const { return values_; }

   private:
    SampleRunner* owner_;
    std::string key_;
    std::unique_ptr<PlanRunner> runner_;
    std::vector<ConstTensorView> values_;
  };

  absl::StatusOr<Outputs> Run(std::span<const Tensor> sample) {
    std::vector<Shape> shapes;
    std::string key;
    for (const Tensor& input : sample) {
      shapes.push_back(input.shape());
      absl::StrAppend(&key, ToText(input.shape()));
    }
    OCTET_ASSIGN_OR_RETURN(std::unique_ptr<PlanRunner> runner, Take(key, shapes));
    OCTET_ASSIGN_OR_RETURN(std::vector<ConstTensorView> values, runner->RunInPlace(sample));
    return Outputs(*this, std::move(key), std::move(runner), std::move(values));
  }

 private:
  struct SharedPlan {
    std::shared_ptr<const Plan> plan;
    std::vector<std::unique_ptr<PlanRunner>> idle;
  };

  void GiveBack(const std::string& key, std::unique_ptr<PlanRunner> runner) {
    const MutexLock lock(mutex_);
    plans_[key].idle.push_back(std::move(runner));
  }

  absl::StatusOr<std::unique_ptr<PlanRunner>> Take(const std::string& key,
                                                   std::span<const Shape> shapes) {
    std::shared_ptr<const Plan> plan;
    {
      const MutexLock lock(mutex_);
      SharedPlan& shared = plans_[key];
      if (!shared.idle.empty()) {
        std::unique_ptr<PlanRunner> runner = std::move(shared.idle.back());
        shared.idle.pop_back();
        return runner;
      }
      // Under the lock: others wait for the plan rather than make it too.
      if (shared.plan == nullptr) {
        OCTET_ASSIGN_OR_RETURN(shared.plan, MakePlan(graph_, shapes, weights_));
      }
      plan = shared.plan;
    }
    OCTET_ASSIGN_OR_RETURN(PlanRunner created, PlanRunner::Create(std::move(plan)));
    return std::make_unique<PlanRunner>(std::move(created));
  }

  const graph::Graph& graph_;
  kernels::WeightCache& weights_;
  Mutex mutex_;
  absl::flat_hash_map<std::string, SharedPlan> plans_ ABSL_GUARDED_BY(mutex_);
};

// Lets threads in one after the other, in the order of their numbers, until one has failed.
class Turns {
 public:
  // Runs `work` when all numbers below have been here. Cancelled, without, if one of them failed;
  // its own error is what counts.
  absl::Status Take(size_t number, const std::function<absl::Status()>& work) {
    const MutexLock lock(mutex_);
    while (next_ != number) changed_.Wait(mutex_);
    const absl::Status status = failed_ ? absl::CancelledError("an earlier sample failed") : work();
    failed_ = failed_ || !status.ok();
    ++next_;
    changed_.NotifyAll();
    return status;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
};

// Runs every sample, and hands over their indices and what came out one after the other.
template <typename Run, typename Visit>
absl::Status ForEachSample(size_t count, int threads, Run run, Visit visit) {
  Turns turns;
  return ParallelFor(threads, count, [&](size_t s) {
    const auto outputs = run(s);
    return turns.Take(s, [&] { return outputs.ok() ? visit(s, *outputs) : outputs.status(); });
  });
}

using Values = std::span<const ConstTensorView>;

absl::Status ForEachSample(const graph::Graph& graph, Samples samples, Resources resources,
                           const std::function<absl::Status(size_t, Values)>& visit) {
  SampleRunner runner(graph, resources.weights);
  return ForEachSample(
      samples.size(), resources.threads, [&](size_t s) { return runner.Run(samples[s]); },
      [&](size_t s, const SampleRunner::Outputs& outputs) { return visit(s, outputs.values()); });
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
void AddValue(const ConstTensorView& exact, const ConstTensorView& approximate,
              const graph::TensorType& type, Noise& noise) {
  const double scale = type.quant ? type.quant->scales[0] : 1;
  const double zero_point = type.quant ? type.quant->zero_points[0] : 0;
  VisitType(approximate.dtype, [&]<typename T>() {
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

// Elements of one channel that lie side by side. `mean_square` is a sum until the end. Numbers that
// are not finite count as zero, which widens nothing. In lanes, which compilers make vectors of.
void AddElements(std::span<const float> elements, ChannelStatistics& channel) {
  const auto finite = [](float x) {
    return std::abs(x) <= std::numeric_limits<float>::max() ? x : 0;
  };
  constexpr size_t kLanes = 16;
  const size_t whole = elements.size() / kLanes * kLanes;
  if (whole > 0) {
    std::array<float, kLanes> lowest{}, highest{};
    std::array<double, kLanes> square{};
    for (size_t at = 0; at < whole; at += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const float x = finite(elements[at + lane]);
        lowest[lane] = std::min(lowest[lane], x);
        highest[lane] = std::max(highest[lane], x);
        square[lane] += double{x} * x;
      }
    }
    channel.lowest = std::min(channel.lowest, *std::min_element(lowest.begin(), lowest.end()));
    channel.highest = std::max(channel.highest, *std::max_element(highest.begin(), highest.end()));
    channel.mean_square += std::accumulate(square.begin(), square.end(), 0.0);
  }
  for (const float element : elements.subspan(whole)) {
    const float x = finite(element);
    channel.lowest = std::min(channel.lowest, x);
    channel.highest = std::max(channel.highest, x);
    channel.mean_square += double{x} * x;
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
                         Samples samples, Resources resources,
                         const std::function<absl::Status(size_t, const ConstTensorView&)>& visit) {
  if (samples.empty()) return absl::FailedPreconditionError("there are no calibration samples");
  const graph::Graph observed = WithOutputs(graph, values);
  const size_t first = graph.outputs().size();
  return ForEachSample(observed, samples, resources, [&](size_t, Values outputs) -> absl::Status {
    for (size_t i = 0; i < values.size(); ++i) {
      OCTET_RETURN_IF_ERROR(visit(i, outputs[first + i]));
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<quant::Histogram>> Observe(const graph::Graph& graph,
                                                      std::span<const graph::ValueId> values,
                                                      Samples samples, Resources resources) {
  std::vector<quant::Histogram> histograms(values.size());
  OCTET_RETURN_IF_ERROR(
      VisitValues(graph, values, samples, resources, [&](size_t i, const ConstTensorView& value) {
        histograms[i].AddSample(value.As<float>());
        return absl::OkStatus();
      }));
  return histograms;
}

absl::StatusOr<std::vector<ActivationStatistics>> StatisticsByChannel(
    const graph::Graph& graph, std::span<const graph::ValueId> values, int dimension,
    Samples samples, Resources resources) {
  std::vector<ActivationStatistics> statistics(values.size());
  const auto add = [&](size_t i, const ConstTensorView& output) -> absl::Status {
    const Shape& shape = output.shape;
    const int rank = static_cast<int>(shape.size());
    const int axis = dimension < 0 ? rank + dimension : dimension;
    const bool has_axis = axis >= 0 && axis < rank;
    const auto count = has_axis ? static_cast<size_t>(shape[static_cast<size_t>(axis)]) : 0;
    std::vector<ChannelStatistics>& channels = statistics[i].channels;
    if (channels.empty()) channels.resize(count);
    if (output.dtype != DataType::kFloat32 || !has_axis || channels.size() != count) {
      return absl::InvalidArgumentError(absl::StrCat(
          graph.value(values[i]).name, ": ", Name(output.dtype), ToText(shape),
          ", expected float32 with ", channels.size(), " channels in dimension ", dimension));
    }
    const std::span<const float> elements = output.As<float>();
    if (elements.empty()) return absl::OkStatus();
    const auto inner =
        static_cast<size_t>(ElementCount(Shape(shape.begin() + axis + 1, shape.end())));
    std::vector<ChannelStatistics> sample(count);
    for (size_t at = 0, c = 0; at < elements.size(); at += inner, c = (c + 1) % count) {
      AddElements(elements.subspan(at, inner), sample[c]);
    }
    for (size_t c = 0; c < count; ++c) AddSample(sample[c], channels[c]);
    statistics[i].elements += static_cast<double>(elements.size()) / static_cast<double>(count);
    return absl::OkStatus();
  };
  OCTET_RETURN_IF_ERROR(VisitValues(graph, values, samples, resources, add));
  for (ActivationStatistics& activation : statistics) {
    for (ChannelStatistics& channel : activation.channels) {
      channel.mean_square /= std::max(activation.elements, 1.0);
    }
  }
  return statistics;
}

absl::Status VisitSamples(const graph::Graph& graph, std::span<const graph::ValueId> values,
                          Samples samples, Resources resources,
                          const std::function<absl::Status(Values)>& visit) {
  if (samples.empty()) return absl::FailedPreconditionError("there are no calibration samples");
  const size_t first = graph.outputs().size();
  return ForEachSample(WithOutputs(graph, values), samples, resources,
                       [&](size_t, Values outputs) { return visit(outputs.subspan(first)); });
}

absl::StatusOr<std::vector<std::vector<Tensor>>> RunAll(const graph::Graph& graph, Samples samples,
                                                        Resources resources) {
  std::vector<std::vector<Tensor>> all(samples.size());
  const auto copy = [&](size_t s, Values outputs) -> absl::Status {
    for (const ConstTensorView& output : outputs) {
      OCTET_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Copy(output));
      all[s].push_back(std::move(tensor));
    }
    return absl::OkStatus();
  };
  OCTET_RETURN_IF_ERROR(ForEachSample(graph, samples, resources, copy));
  return all;
}

absl::StatusOr<std::vector<double>> ValueSqnrDb(const graph::Graph& exact,
                                                const graph::Graph& approximate,
                                                std::span<const graph::ValueId> values,
                                                Samples samples, Resources exact_resources,
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
    SampleRunner exact_runner(exact_graph, exact_resources.weights);
    SampleRunner approximate_runner(approximate_graph, approximate_weights);
    std::vector<Noise> noise(group.size());
    const size_t outputs = exact.outputs().size();
    using Both = std::pair<SampleRunner::Outputs, SampleRunner::Outputs>;
    const auto run_both = [&](size_t s) -> absl::StatusOr<Both> {
      OCTET_ASSIGN_OR_RETURN(SampleRunner::Outputs x, exact_runner.Run(samples[s]));
      OCTET_ASSIGN_OR_RETURN(SampleRunner::Outputs y, approximate_runner.Run(samples[s]));
      return Both(std::move(x), std::move(y));
    };
    const auto compare = [&](size_t, const Both& both) {
      const Values x = both.first.values().subspan(outputs),
                   y = both.second.values().subspan(outputs);
      for (size_t i = 0; i < group.size(); ++i) {
        AddValue(x[i], y[i], approximate.value(group[i]).type, noise[i]);
      }
      return absl::OkStatus();
    };
    OCTET_RETURN_IF_ERROR(
        ForEachSample(samples.size(), exact_resources.threads, run_both, compare));
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
