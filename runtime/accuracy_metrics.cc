#include "runtime/accuracy_metrics.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace octet::runtime {
namespace {

constexpr double kHighestSqnrDb = 99;
constexpr float kMapThreshold = 0.5f;

double Share(size_t part, size_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

// Inner products of two networks' outputs as they add up.
struct Products {
  double exact = 0, approximate = 0, mixed = 0, error = 0;

  void Add(std::span<const float> x, std::span<const float> y) {
    for (size_t i = 0; i < x.size(); ++i) {
      if (!std::isfinite(x[i])) continue;
      const double a = x[i], b = y[i];
      exact += a * a;
      approximate += b * b;
      mixed += a * b;
      error += (a - b) * (a - b);
    }
  }

  double Cosine() const {
    if (error == 0) return 1;
    const double cosine = mixed / std::sqrt(exact * approximate);
    return std::isfinite(cosine) ? std::clamp(cosine, -1.0, 1.0) : 0;
  }
};

// The dimension over which a decision is the largest; -1 if the shape is not of such a form.
int ClassAxis(const Shape& shape) {
  const int rank = static_cast<int>(shape.size());
  if (rank < 1 || rank > 4) return -1;
  const int axis = rank == 4 ? 1 : rank - 1;
  return shape[static_cast<size_t>(axis)] > 1 ? axis : -1;
}

// The class of every position: outer dimensions before `axis`, inner ones behind it.
std::vector<int64_t> Decisions(const Tensor& tensor, int axis) {
  const Shape& shape = tensor.shape();
  int64_t outer = 1, inner = 1;
  for (int d = 0; d < static_cast<int>(shape.size()); ++d) {
    if (d < axis) outer *= shape[static_cast<size_t>(d)];
    if (d > axis) inner *= shape[static_cast<size_t>(d)];
  }
  const int64_t classes = shape[static_cast<size_t>(axis)];
  const std::span<const float> values = tensor.As<float>();
  std::vector<int64_t> decisions;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) {
      const auto at = [&](int64_t c) {
        return values[static_cast<size_t>((o * classes + c) * inner + i)];
      };
      int64_t best = 0;
      for (int64_t c = 1; c < classes; ++c) {
        if (at(c) > at(best) || std::isnan(at(best))) best = c;
      }
      decisions.push_back(best);
    }
  }
  return decisions;
}

// Labels and decisions, counted by class.
class ClassCounts {
 public:
  void Add(int64_t label, int64_t decision) {
    ++by_class_[label].labels;
    ++by_class_[decision].decisions;
    if (label == decision) ++by_class_[label].both;
  }

  // Of one class, or the mean over all that occur.
  double F1(std::optional<int64_t> of_class) const {
    double sum = 0;
    size_t classes = 0;
    for (const auto& [index, counts] : by_class_) {
      if (of_class && index != *of_class) continue;
      sum += 2 * Share(counts.both, counts.labels + counts.decisions);
      ++classes;
    }
    return classes == 0 ? 0 : sum / static_cast<double>(classes);
  }

 private:
  struct Counts {
    size_t labels = 0, decisions = 0, both = 0;
  };
  std::map<int64_t, Counts> by_class_;  // ordered: sums must not depend on hashing
};

struct LabelledDecisions {
  ClassCounts exact, approximate;
  int64_t classes = 0;  // of the output
};

void CompareMaps(std::span<const float> x, std::span<const float> y, AccuracyValues& values) {
  for (size_t i = 0; i < x.size(); ++i) {
    const bool a = x[i] > kMapThreshold, b = y[i] > kMapThreshold;
    if (a || b) ++values.decisions;
    if (a && b) ++values.agreed;
  }
}

void CompareDecisions(const Tensor& x, const Tensor& y, std::optional<int64_t> label,
                      LabelledDecisions& labelled, AccuracyValues& values) {
  const int axis = ClassAxis(x.shape());
  if (axis < 0) {
    if (x.shape().size() == 4) CompareMaps(x.As<float>(), y.As<float>(), values);
    return;
  }
  const std::vector<int64_t> exact = Decisions(x, axis), approximate = Decisions(y, axis);
  values.decisions += exact.size();
  for (size_t i = 0; i < exact.size(); ++i) {
    if (exact[i] == approximate[i]) ++values.agreed;
  }
  if (!label || exact.size() != 1) return;
  ++values.labelled;
  if (approximate[0] == *label) ++values.right;
  if (exact[0] == *label) ++values.right_float32;
  labelled.classes = x.shape()[static_cast<size_t>(axis)];
  labelled.exact.Add(*label, exact[0]);
  labelled.approximate.Add(*label, approximate[0]);
}

// Noise power by signal power, the mean over the outputs: large numbers in one output (coordinates)
// must not hide noise in another (scores). Outputs that are all zero are measured by the others.
double NoiseRatio(const std::vector<Products>& outputs) {
  Products all;
  for (const Products& output : outputs) {
    all.exact += output.exact;
    all.error += output.error;
  }
  if (all.error == 0) return 0;
  double sum = 0;
  for (const Products& output : outputs) {
    if (output.error == 0) continue;
    sum += output.error / (output.exact > 0 ? output.exact : all.exact);
  }
  const double ratio = sum / static_cast<double>(outputs.size());
  return std::isfinite(ratio) ? ratio : HUGE_VAL;
}

double SqnrDb(double noise_ratio) {
  if (noise_ratio == 0) return kHighestSqnrDb;
  return std::clamp(-10 * std::log10(noise_ratio), -kHighestSqnrDb, kHighestSqnrDb);
}

}  // namespace

absl::string_view Name(AccuracyMetric metric) {
  switch (metric) {
    case AccuracyMetric::kSqnr:
      return "sqnr";
    case AccuracyMetric::kCosine:
      return "cosine";
    case AccuracyMetric::kRelativeError:
      return "relative_error";
    case AccuracyMetric::kAgreement:
      return "agreement";
    case AccuracyMetric::kTop1:
      return "top1";
    case AccuracyMetric::kF1:
      break;
  }
  return "f1";
}

std::optional<double> AccuracyValues::Get(AccuracyMetric metric) const {
  if (samples == 0) return std::nullopt;
  switch (metric) {
    case AccuracyMetric::kSqnr:
      return sqnr_db;
    case AccuracyMetric::kCosine:
      return cosine;
    case AccuracyMetric::kRelativeError:
      return relative_error;
    case AccuracyMetric::kAgreement:
      if (decisions == 0) return std::nullopt;
      return Share(agreed, decisions);
    case AccuracyMetric::kTop1:
    case AccuracyMetric::kF1:
      break;
  }
  if (labelled == 0) return std::nullopt;
  return metric == AccuracyMetric::kF1 ? f1 : Share(right, labelled);
}

AccuracyValues CompareOutputs(const std::vector<std::vector<Tensor>>& exact,
                              const std::vector<std::vector<Tensor>>& approximate,
                              std::span<const int64_t> labels) {
  AccuracyValues values{.samples = exact.size()};
  std::vector<Products> outputs;  // those in float
  LabelledDecisions labelled;
  for (size_t s = 0; s < exact.size(); ++s) {
    Products sample;
    size_t floats = 0;
    for (size_t o = 0; o < exact[s].size(); ++o) {
      const Tensor &x = exact[s][o], &y = approximate[s][o];
      if (x.dtype() != DataType::kFloat32) continue;
      sample.Add(x.As<float>(), y.As<float>());
      if (++floats > outputs.size()) outputs.emplace_back();
      outputs[floats - 1].Add(x.As<float>(), y.As<float>());
      if (floats > 1) continue;
      CompareDecisions(x, y, labels.empty() ? std::nullopt : std::optional(labels[s]), labelled,
                       values);
    }
    values.cosine += sample.Cosine() / static_cast<double>(exact.size());
  }
  const double noise_ratio = NoiseRatio(outputs);
  values.sqnr_db = SqnrDb(noise_ratio);
  values.relative_error = std::sqrt(noise_ratio);
  const std::optional<int64_t> positive =
      labelled.classes == 2 ? std::optional<int64_t>(1) : std::nullopt;
  values.f1 = labelled.approximate.F1(positive);
  values.f1_float32 = labelled.exact.F1(positive);
  return values;
}

}  // namespace octet::runtime
