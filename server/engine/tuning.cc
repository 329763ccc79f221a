#include "server/engine/tuning.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "server/config/config_file.h"
#include "server/config/quantization_yaml.h"

namespace octet::server {
namespace {

using runtime::AccuracyTarget;

constexpr double kSameTime = 1.03;

// To integers: other modes have no further settings.
bool Quantizes(const QuantizationConfig& config) {
  return absl::StrContains(QuantizationYaml(config), "\n  mode: int");
}

// Whether `a` serves the objective better than `b`, accuracy being settled otherwise.
bool BetterServed(const TuningMeasurement& a, const TuningMeasurement& b,
                  const AccuracyTarget& target, TuneObjective objective) {
  switch (objective) {
    case TuneObjective::kLatency:
      if (a.milliseconds > b.milliseconds * kSameTime) return false;
      if (b.milliseconds > a.milliseconds * kSameTime) return true;
      break;
    case TuneObjective::kBytes:
      if (a.weight_bytes != b.weight_bytes) return a.weight_bytes < b.weight_bytes;
      break;
    case TuneObjective::kAccuracy:
      break;
  }
  return Better(target, a.accuracy, b.accuracy);
}

bool BetterPoint(const TuningMeasurement& a, const TuningMeasurement& b,
                 const AccuracyTarget& target, TuneObjective objective) {
  const bool a_holds = Holds(target, a.accuracy), b_holds = Holds(target, b.accuracy);
  if (a_holds != b_holds) return a_holds;
  return BetterServed(a, b, target, a_holds ? objective : TuneObjective::kAccuracy);
}

// At least as good in everything, and better in something.
bool Beats(const TuningMeasurement& a, const TuningMeasurement& b, const AccuracyTarget& target) {
  const bool less_accurate = Better(target, b.accuracy, a.accuracy);
  if (less_accurate || a.weight_bytes > b.weight_bytes || a.milliseconds > b.milliseconds) {
    return false;
  }
  return Better(target, a.accuracy, b.accuracy) || a.weight_bytes < b.weight_bytes ||
         a.milliseconds < b.milliseconds;
}

// The exploration as far as it has come.
class Exploration {
 public:
  explicit Exploration(const TuningTask& task) : task_(task) {}

  absl::StatusOr<std::vector<TuningPoint>> Run() {
    const TuningAxis mode = TuningAxes().front();
    OCTET_ASSIGN_OR_RETURN(TuningMeasurement first, task_.measure(task_.start, "as configured"));
    seen_.insert(QuantizationYaml(task_.start));
    points_.push_back({task_.start, "as configured", std::move(first)});
    Try(points_.front(), mode.path, "fp32");
    bool found = true;
    while (found && !over_) {
      const size_t before = points_.size();
      for (const TuningAxis& axis : TuningAxes()) TryAxis(axis);
      found = points_.size() > before;
    }
    return std::move(points_);
  }

 private:
  // The best that is quantized: what it is made of is worth varying.
  TuningPoint Best() const {
    const TuningPoint* best = &points_.front();
    for (const TuningPoint& point : points_) {
      if (!Quantizes(point.config)) continue;
      if (BetterPoint(point.measured, best->measured, task_.target, task_.objective)) {
        best = &point;
      }
    }
    return *best;
  }

  void TryAxis(const TuningAxis& axis) {
    const TuningPoint best = Best();
    for (const std::string& value : axis.values) Try(best, axis.path, value);
  }

  void Try(const TuningPoint& from, const std::string& path, const std::string& value) {
    const absl::StatusOr<QuantizationConfig> config = WithSetting(from.config, path, value);
    if (over_ || !config.ok() || !seen_.insert(QuantizationYaml(*config)).second) return;
    if (task_.out_of_time()) {
      over_ = true;
      return;
    }
    const std::string change = absl::StrCat(absl::StripPrefix(path, "quantization."), ": ", value);
    const std::string changes = points_.size() > 1 && from.changes != points_.front().changes
                                    ? absl::StrCat(from.changes, ", ", change)
                                    : change;
    absl::StatusOr<TuningMeasurement> measured = task_.measure(*config, changes);
    if (measured.ok()) points_.push_back({*config, changes, *std::move(measured)});
  }

  const TuningTask& task_;
  std::vector<TuningPoint> points_;
  std::set<std::string> seen_;
  bool over_ = false;
};

}  // namespace

const std::vector<TuningAxis>& TuningAxes() {
  static const auto* const kAxes = new std::vector<TuningAxis>{
      {"quantization.mode", {"int8", "int4", "bf16"}},
      {"quantization.activations.timing", {"static", "dynamic"}},
      {"quantization.weights.granularity", {"per_channel", "per_tensor", "mixed", "group:128"}},
      {"quantization.transforms.smooth_quant.enabled", {"on", "off"}},
      {"quantization.activations.scheme", {"asymmetric", "symmetric"}},
      {"quantization.weights.algorithm",
       {"least_squares", "minmax", "percentile", "entropy", "decision_tree",
        "histogram_equalization"}},
      {"quantization.activations.algorithm",
       {"auto", "least_squares", "minmax", "percentile", "entropy", "decision_tree",
        "histogram_equalization"}},
      {"quantization.transforms.smooth_quant.alpha", {"auto", "0.5", "0.8"}},
      {"quantization.transforms.bias_correction", {"on", "off"}},
      {"quantization.weights.codebook",
       {"none", "least_squares", "decision_tree", "histogram_equalization"}},
      {"quantization.weights.error_compensation", {"none", "gptq"}},
      {"quantization.mixed_precision.max_float_fraction", {"0", "0.1", "0.35", "1"}},
      {"quantization.weights.range", {"full", "reduced"}},
  };
  return *kAxes;
}

absl::StatusOr<QuantizationConfig> WithSetting(const QuantizationConfig& config,
                                               const std::string& path, const std::string& value) {
  const std::vector<FlagValue> change = {{path, path, value}};
  OCTET_ASSIGN_OR_RETURN(const LoadedConfig loaded,
                         ParseConfig(QuantizationYaml(config), "", change));
  return loaded.config.quantization;
}

absl::StatusOr<std::vector<TuningPoint>> Explore(const TuningTask& task) {
  return Exploration(task).Run();
}

std::vector<size_t> ParetoFront(const std::vector<TuningPoint>& points,
                                const AccuracyTarget& target) {
  std::vector<size_t> front;
  for (size_t i = 0; i < points.size(); ++i) {
    bool beaten = false;
    for (size_t j = 0; j < points.size() && !beaten; ++j) {
      const TuningMeasurement &a = points[j].measured, &b = points[i].measured;
      // Of equals, the first stands for all.
      beaten = Beats(a, b, target) ||
               (j < i && !Beats(b, a, target) && a.weight_bytes == b.weight_bytes &&
                a.milliseconds == b.milliseconds);
    }
    if (!beaten) front.push_back(i);
  }
  std::stable_sort(front.begin(), front.end(), [&](size_t a, size_t b) {
    return points[a].measured.milliseconds < points[b].measured.milliseconds;
  });
  return front;
}

size_t Choose(const std::vector<TuningPoint>& points, const AccuracyTarget& target,
              TuneObjective objective) {
  size_t best = 0;
  for (size_t i = 1; i < points.size(); ++i) {
    if (BetterPoint(points[i].measured, points[best].measured, target, objective)) best = i;
  }
  return best;
}

}  // namespace octet::server
