#include "runtime/accuracy_guard.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace octet::runtime {
namespace {

constexpr size_t kFewestSamples = 4;
constexpr size_t kFewestDecisions = 32;
constexpr double kMostDecisions = 1000;  // that a target of 1 asks for

bool LowerIsBetter(const AccuracyTarget& target) {
  return target.is_drop || target.metric == AccuracyMetric::kRelativeError;
}

bool NeedsLabels(AccuracyMetric metric) {
  return metric == AccuracyMetric::kTop1 || metric == AccuracyMetric::kF1;
}

bool IsShare(AccuracyMetric metric) {
  return metric == AccuracyMetric::kAgreement || NeedsLabels(metric);
}

std::string WithUnit(const AccuracyTarget& target, double value) {
  return target.metric == AccuracyMetric::kSqnr ? absl::StrFormat("%.1f dB", value)
                                                : absl::StrFormat("%.4f", value);
}

// Decisions among which one that is wrong does not yet break the target.
size_t DecisionsNeeded(const AccuracyTarget& target) {
  const double tolerated = target.is_drop ? target.value : 1 - target.value;
  const double needed = tolerated <= 1 / kMostDecisions ? kMostDecisions : 1 / tolerated;
  // 1 / (1 - 0.99) is a little more than 100.
  return std::max(kFewestDecisions, static_cast<size_t>(std::ceil(needed - 1e-6)));
}

}  // namespace

AccuracyTarget DefaultTarget(AccuracyMetric metric) {
  switch (metric) {
    case AccuracyMetric::kSqnr:
      return {metric, 20};
    case AccuracyMetric::kCosine:
      return {metric, 0.99};
    case AccuracyMetric::kRelativeError:
      return {metric, 0.1};
    case AccuracyMetric::kAgreement:
      return {metric, 0.97};
    case AccuracyMetric::kTop1:
    case AccuracyMetric::kF1:
      break;
  }
  return {metric, 0.01, true};
}

absl::string_view Name(OnFail on_fail) {
  switch (on_fail) {
    case OnFail::kMixed:
      return "mixed";
    case OnFail::kFloat:
      return "float";
    case OnFail::kWarn:
      return "warn";
    case OnFail::kError:
      break;
  }
  return "error";
}

absl::string_view Name(AccuracyVerdict verdict) {
  switch (verdict) {
    case AccuracyVerdict::kMet:
      return "met";
    case AccuracyVerdict::kBestEffort:
      return "best_effort";
    case AccuracyVerdict::kUnverified:
      break;
  }
  return "unverified";
}

std::optional<double> Measured(const AccuracyTarget& target, const AccuracyValues& values) {
  const std::optional<double> value = values.Get(target.metric);
  if (!value || !target.is_drop) return value;
  const bool f1 = target.metric == AccuracyMetric::kF1;
  const double before = f1 ? values.f1_float32 : static_cast<double>(values.right_float32);
  // Nothing can be lost of nothing; and no claim be made.
  if (before == 0) return std::nullopt;
  return 1 - (f1 ? values.f1 : static_cast<double>(values.right)) / before;
}

bool Holds(const AccuracyTarget& target, const AccuracyValues& values) {
  const std::optional<double> value = Measured(target, values);
  if (!value) return false;
  return LowerIsBetter(target) ? *value <= target.value : *value >= target.value;
}

bool Better(const AccuracyTarget& target, const AccuracyValues& a, const AccuracyValues& b) {
  const double x = Measured(target, a).value_or(0), y = Measured(target, b).value_or(0);
  if (x != y) return LowerIsBetter(target) ? x < y : x > y;
  return a.sqnr_db > b.sqnr_db;
}

std::string WhyUnverified(const AccuracyTarget& target, const AccuracyValues& values) {
  if (values.samples == 0) return "there is no data that had no part in calibration";
  if (!Measured(target, values)) {
    if (!NeedsLabels(target.metric)) return "the outputs do not decide between classes";
    return absl::StrCat(Name(target.metric),
                        " needs labels, one for each sample, an output that decides between "
                        "classes, and right answers of float32");
  }
  if (!IsShare(target.metric)) {
    if (values.samples >= kFewestSamples) return "";
    return absl::StrCat("measured on ", values.samples, " samples, ", kFewestSamples,
                        " are needed");
  }
  const size_t there = NeedsLabels(target.metric) ? values.labelled : values.decisions;
  const size_t needed = DecisionsNeeded(target);
  if (there >= needed) return "";
  return absl::StrCat("measured on ", there, " decisions, ", needed, " are needed");
}

AccuracyVerdict Judge(const AccuracyTarget& target, const AccuracyValues& values) {
  if (!Measured(target, values)) return AccuracyVerdict::kUnverified;
  if (!Holds(target, values)) return AccuracyVerdict::kBestEffort;
  return WhyUnverified(target, values).empty() ? AccuracyVerdict::kMet
                                               : AccuracyVerdict::kUnverified;
}

std::string Describe(const AccuracyTarget& target) {
  return absl::StrCat(Name(target.metric), target.is_drop ? " loss" : "",
                      LowerIsBetter(target) ? " at most " : " at least ",
                      WithUnit(target, target.value));
}

std::string DescribeMeasured(const AccuracyTarget& target, const AccuracyValues& values) {
  const std::optional<double> value = Measured(target, values);
  std::string text = absl::StrCat(Name(target.metric), target.is_drop ? " loss" : "");
  if (!value) return absl::StrCat(text, " not measured");
  absl::StrAppend(&text, " ", WithUnit(target, *value));
  if (target.metric == AccuracyMetric::kF1) {
    absl::StrAppendFormat(&text, " (%.4f, float32 %.4f)", values.f1, values.f1_float32);
  } else if (target.metric == AccuracyMetric::kTop1) {
    const auto share = [&](size_t right) {
      return static_cast<double>(right) / static_cast<double>(values.labelled);
    };
    absl::StrAppendFormat(&text, " (%.4f, float32 %.4f)", share(values.right),
                          share(values.right_float32));
  }
  return text;
}

std::string Describe(const AccuracyReport& report) {
  std::string text = absl::StrCat(Name(report.verdict), ": ");
  if (report.values.samples > 0) {
    absl::StrAppend(&text, DescribeMeasured(report.target, report.values), ", asked for ",
                    Describe(report.target), ", on ", report.values.samples, " ", report.source);
  } else {
    absl::StrAppend(&text, "asked for ", Describe(report.target));
  }
  if (!report.note.empty()) absl::StrAppend(&text, "; ", report.note);
  return text;
}

absl::Status MissedTarget(const AccuracyReport& report) {
  return absl::FailedPreconditionError(absl::StrCat(
      "accuracy target missed: measured ", DescribeMeasured(report.target, report.values), " on ",
      report.values.samples, " ", report.source, ", wanted ", Describe(report.target),
      " (quantization.accuracy.on_fail is error)"));
}

}  // namespace octet::runtime
