#include "runtime/verdict.h"

#include "absl/strings/str_cat.h"
#include "runtime/accuracy_metrics.h"

namespace octet::runtime {
namespace {

void ServeFloat(const QuantizeOptions& options, const std::vector<std::vector<Tensor>>& exact,
                std::span<const int64_t> labels, QuantizeReport& report) {
  AccuracyReport& accuracy = report.accuracy;
  accuracy.note = absl::StrCat("served in float32: ", Name(options.mode), " reached ",
                               DescribeMeasured(accuracy.target, accuracy.values));
  report.warnings.push_back(
      absl::StrCat("the target, ", Describe(accuracy.target), ", is missed: ", accuracy.note));
  report.mode = "fp32";
  accuracy.values = CompareOutputs(exact, exact, labels);
  report.output_sqnr_db = accuracy.values.sqnr_db;
  for (LayerReport& layer : report.layers) {
    if (layer.precision == quant::Precision::kFloat32) continue;
    layer.precision = quant::Precision::kFloat32;
    layer.reason = absl::StrCat("the accuracy target is missed in ", Name(options.mode));
  }
}

std::string WhyMissed(const QuantizeOptions& options, bool may_move) {
  if (options.on_fail == OnFail::kWarn) {
    return "no layer was given more precision (on_fail: warn)";
  }
  if (options.policy == QuantizeOptions::Policy::kOff) {
    return "no layer was given more precision (mixed_precision.policy: off)";
  }
  if (!may_move) return "no layer was given more precision (int4 and a default target)";
  return absl::StrCat("the best with the layers that may leave ", Name(options.mode));
}

}  // namespace

absl::Status GiveVerdict(const QuantizeOptions& options, bool estimated, bool may_move,
                         const std::vector<std::vector<Tensor>>& exact,
                         std::span<const int64_t> labels, QuantizeReport& report) {
  AccuracyReport& accuracy = report.accuracy;
  accuracy.target = options.accuracy;
  accuracy.on_fail = options.on_fail;
  accuracy.verdict = Judge(accuracy.target, accuracy.values);
  if (estimated) accuracy.verdict = AccuracyVerdict::kUnverified;
  report.output_sqnr_db = accuracy.values.samples == 0 ? 0 : accuracy.values.sqnr_db;
  if (accuracy.verdict == AccuracyVerdict::kUnverified) {
    accuracy.note =
        estimated ? "the samples are synthetic" : WhyUnverified(accuracy.target, accuracy.values);
  }
  if (accuracy.verdict != AccuracyVerdict::kBestEffort) return absl::OkStatus();
  if (options.on_fail == OnFail::kError) return MissedTarget(accuracy);
  if (options.on_fail == OnFail::kFloat) {
    ServeFloat(options, exact, labels, report);
    return absl::OkStatus();
  }
  accuracy.note = WhyMissed(options, may_move);
  report.warnings.push_back(absl::StrCat(DescribeMeasured(accuracy.target, accuracy.values),
                                         " is below the target, ", Describe(accuracy.target), ": ",
                                         accuracy.note));
  return absl::OkStatus();
}

}  // namespace octet::runtime
