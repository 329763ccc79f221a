#include "runtime/evaluate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "runtime/plan.h"

namespace octet::runtime {
namespace {

constexpr double kHighestSqnrDb = 99;

// Runs every sample and hands over the index and the outputs; makes one plan per set of shapes.
absl::Status ForEachSample(
    const graph::Graph& graph, Samples samples, kernels::WeightCache& weights,
    const std::function<absl::Status(size_t, const std::vector<Tensor>&)>& visit) {
  absl::flat_hash_map<std::string, std::unique_ptr<PlanRunner>> runners;
  for (size_t s = 0; s < samples.size(); ++s) {
    std::vector<Shape> shapes;
    std::string key;
    for (const Tensor& input : samples[s]) {
      shapes.push_back(input.shape());
      absl::StrAppend(&key, ToText(input.shape()));
    }
    std::unique_ptr<PlanRunner>& runner = runners[key];
    if (runner == nullptr) {
      OCTET_ASSIGN_OR_RETURN(std::shared_ptr<const Plan> plan, MakePlan(graph, shapes, weights));
      OCTET_ASSIGN_OR_RETURN(PlanRunner created, PlanRunner::Create(std::move(plan)));
      runner = std::make_unique<PlanRunner>(std::move(created));
    }
    OCTET_ASSIGN_OR_RETURN(const std::vector<Tensor> outputs, runner->Run(samples[s]));
    OCTET_RETURN_IF_ERROR(visit(s, outputs));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<quant::Histogram>> Observe(const graph::Graph& graph,
                                                      std::span<const graph::ValueId> values,
                                                      Samples samples,
                                                      kernels::WeightCache& weights) {
  if (samples.empty()) return absl::FailedPreconditionError("there are no calibration samples");
  graph::Graph observed = graph;
  for (const graph::ValueId value : values) {
    observed.AddOutput(value, graph.value(value).name, DataType::kFloat32);
  }
  const size_t first = graph.outputs().size();
  std::vector<quant::Histogram> histograms(values.size());
  OCTET_RETURN_IF_ERROR(ForEachSample(
      observed, samples, weights, [&](size_t, const std::vector<Tensor>& outputs) {
        for (size_t i = 0; i < values.size(); ++i) {
          histograms[i].AddSample(outputs[first + i].As<float>());
        }
        return absl::OkStatus();
      }));
  return histograms;
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

double OutputSqnrDb(const std::vector<std::vector<Tensor>>& exact,
                    const std::vector<std::vector<Tensor>>& approximate) {
  double signal = 0, noise = 0;
  for (size_t s = 0; s < exact.size(); ++s) {
    for (size_t o = 0; o < exact[s].size(); ++o) {
      if (exact[s][o].dtype() != DataType::kFloat32) continue;
      const auto x = exact[s][o].As<float>();
      const auto y = approximate[s][o].As<float>();
      for (size_t i = 0; i < x.size(); ++i) {
        if (!std::isfinite(x[i])) continue;
        signal += double{x[i]} * x[i];
        noise += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
      }
    }
  }
  if (noise == 0) return kHighestSqnrDb;
  if (!std::isfinite(noise) || signal == 0) return -kHighestSqnrDb;
  return std::min(kHighestSqnrDb, 10 * std::log10(signal / noise));
}

}  // namespace octet::runtime
