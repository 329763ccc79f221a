// What is asked of a quantized model's accuracy, and the verdict on it.

#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/accuracy_metrics.h"

namespace octet::runtime {

struct AccuracyTarget {
  AccuracyMetric metric = AccuracyMetric::kSqnr;
  // The least that is good enough; of relative_error the most. dB for sqnr, else 0 to 1.
  double value = 20;
  // Top1 and F1 only: `value` is the largest share of what float32 has that may be lost.
  bool is_drop = false;
};

// What is asked where only a metric is named: sqnr 20 dB, cosine 0.99, relative_error 0.1,
// agreement 0.97, top1 and f1 a loss of 0.01.
AccuracyTarget DefaultTarget(AccuracyMetric metric);

// What to do when the target cannot be reached by giving single layers more precision.
enum class OnFail : uint8_t {
  kMixed,  // serve the best that was found
  kFloat,  // serve the whole model in float32
  kWarn,   // look for nothing: serve every layer in int8, and say so
  kError,  // refuse to load
};
absl::string_view Name(OnFail on_fail);

enum class AccuracyVerdict : uint8_t {
  kMet,         // measured, on enough data that had no part in calibration
  kBestEffort,  // measured, and missed by what int8 could do
  kUnverified,  // there is not enough data to say
};
absl::string_view Name(AccuracyVerdict verdict);

// What the target is held against: the metric's value, or the drop. Nothing if it is not defined
// for this model and data.
std::optional<double> Measured(const AccuracyTarget& target, const AccuracyValues& values);

// Whether the measured value is as good as the target; false if there is none.
bool Holds(const AccuracyTarget& target, const AccuracyValues& values);

// Whether `a` is nearer to float32 than `b`, first by the target's metric, then by SQNR.
bool Better(const AccuracyTarget& target, const AccuracyValues& a, const AccuracyValues& b);

// Why these values cannot prove that the target holds; empty if they can. Four samples do for the
// metrics of values. Shares need 32 decisions, and so many that one that differs is visible: 100
// for a drop of 0.01.
std::string WhyUnverified(const AccuracyTarget& target, const AccuracyValues& values);

// Best effort if the target is missed, on however few samples; met only on enough.
AccuracyVerdict Judge(const AccuracyTarget& target, const AccuracyValues& values);

// "sqnr at least 20.0 dB", "top1 loss at most 0.0100"
std::string Describe(const AccuracyTarget& target);
// "sqnr 23.1 dB", "top1 loss 0.0019 (0.9889, float32 0.9907)", "top1 not measured"
std::string DescribeMeasured(const AccuracyTarget& target, const AccuracyValues& values);

// For the report, the log, the metrics and the metadata.
struct AccuracyReport {
  AccuracyVerdict verdict = AccuracyVerdict::kUnverified;
  AccuracyTarget target;
  OnFail on_fail = OnFail::kMixed;
  AccuracyValues values;  // of what is served; no samples: not measured
  std::string source;     // "held-out calibration samples", or the path of the validation data
  std::string note;       // why unverified or best effort; empty if met
  int attempts = 0;       // networks that the search for precisions measured
  double search_seconds = 0;
  bool out_of_time = false;  // the time budget ended the search
};

// "met: sqnr 23.1 dB, at least 20.0 dB asked, on 8 held-out calibration samples"
std::string Describe(const AccuracyReport& report);

// FailedPrecondition that names what was measured and what was asked, for OnFail::kError.
absl::Status MissedTarget(const AccuracyReport& report);

}  // namespace octet::runtime
