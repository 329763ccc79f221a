#include "runtime/layer_sensitivity.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/status.h"

namespace octet::runtime {
namespace {

using quant::Precision;

// Groups whose noise is together below this share of all are not looked into.
constexpr double kNegligible = 0.05;

double Power(double error) { return std::isfinite(error) ? error * error : 1e30; }

using Measure = std::function<absl::StatusOr<std::optional<AccuracyValues>>(
    const std::vector<Precision>& precisions)>;

class Sensitivity {
 public:
  Sensitivity(const std::vector<SearchLayer>& layers, const Measure& measure)
      : layers_(layers), measure_(measure) {}

  absl::StatusOr<std::vector<LayerNoise>> Run() {
    std::vector<size_t> movable;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (layers_[i].ladder.size() > 1) movable.push_back(i);
    }
    std::vector<std::vector<LayerNoise>> groups;
    const auto size = static_cast<size_t>(std::sqrt(static_cast<double>(movable.size())));
    for (size_t i = 0; i < movable.size(); i += size) {
      const auto first = movable.begin() + static_cast<ptrdiff_t>(i);
      OCTET_ASSIGN_OR_RETURN(
          std::vector<LayerNoise> group,
          Alone({first, first + static_cast<ptrdiff_t>(std::min(size, movable.size() - i))}));
      groups.push_back(std::move(group));
    }
    OCTET_RETURN_IF_ERROR(LookInto(groups));
    std::vector<LayerNoise> all;
    for (const auto& group : groups) all.insert(all.end(), group.begin(), group.end());
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.noise > b.noise; });
    return all;
  }

 private:
  // Only these quantized.
  absl::StatusOr<std::vector<LayerNoise>> Alone(const std::vector<size_t>& group) {
    std::vector<Precision> precisions(layers_.size(), Precision::kFloat32);
    for (const size_t i : group) precisions[i] = layers_[i].ladder.front();
    OCTET_ASSIGN_OR_RETURN(const std::optional<AccuracyValues> values, measure_(precisions));
    std::vector<LayerNoise> result;
    for (const size_t i : group) {
      LayerNoise& layer = result.emplace_back(LayerNoise{.layer = i, .group_size = group.size()});
      if (!values) continue;
      layer.noise = Power(values->relative_error) / static_cast<double>(group.size());
      layer.sqnr_db = values->sqnr_db;
    }
    return result;
  }

  static double NoiseOf(const std::vector<LayerNoise>& group) {
    return std::accumulate(group.begin(), group.end(), 0.0,
                           [](double sum, const LayerNoise& layer) { return sum + layer.noise; });
  }

  // Measures the layers of the noisiest groups one by one, until what is left does not matter.
  absl::Status LookInto(std::vector<std::vector<LayerNoise>>& groups) {
    std::stable_sort(groups.begin(), groups.end(),
                     [](const auto& a, const auto& b) { return NoiseOf(a) > NoiseOf(b); });
    double total = 0;
    for (const auto& group : groups) total += NoiseOf(group);
    double left = total;
    for (auto& group : groups) {
      if (left <= kNegligible * total) break;
      left -= NoiseOf(group);
      if (group.size() == 1) continue;
      for (LayerNoise& layer : group) {
        OCTET_ASSIGN_OR_RETURN(const std::vector<LayerNoise> alone, Alone({layer.layer}));
        if (alone[0].sqnr_db) layer = alone[0];
      }
    }
    return absl::OkStatus();
  }

  const std::vector<SearchLayer>& layers_;
  const Measure& measure_;
};

}  // namespace

absl::StatusOr<std::vector<LayerNoise>> MeasureSensitivity(const std::vector<SearchLayer>& layers,
                                                           const Measure& measure) {
  return Sensitivity(layers, measure).Run();
}

std::vector<LayerNoise> RankByLayerNoise(const std::vector<SearchLayer>& layers,
                                         const std::vector<double>& noise, double total) {
  const double sum = std::accumulate(noise.begin(), noise.end(), 0.0);
  const double share = sum > 0 && std::isfinite(sum) ? total / sum : 1;
  std::vector<LayerNoise> ranked;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].ladder.size() <= 1) continue;
    ranked.push_back({.layer = i,
                      .noise = noise[i] * share,
                      .sqnr_db = noise[i] > 0 ? std::min(-10 * std::log10(noise[i]), 99.0) : 99,
                      .of_layer = true});
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.noise > b.noise; });
  return ranked;
}

}  // namespace octet::runtime
