// How near a quantized network's outputs are to those of the float32 network, and to labels.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/tensor.h"

namespace octet::runtime {

enum class AccuracyMetric : uint8_t {
  kSqnr,           // signal to quantization noise, dB; of several float outputs the mean noise
  kCosine,         // between a sample's float outputs, mean over the samples
  kRelativeError,  // norm of the error by the norm of the output; so that it is 10^(-sqnr / 20)
  kAgreement,      // share of decisions that are those of the float32 network
  kTop1,           // share of samples whose decision is the label
  kF1,             // of decisions as labels: of class 1 where there are two, else the classes' mean
};
absl::string_view Name(AccuracyMetric metric);  // as configured: "sqnr", "relative_error"

// One comparison, in all metrics that the outputs and the labels allow.
//
// Decisions are taken from the first float32 output: the largest of the last dimension ([N, C] and
// [N, T, C], each position one decision) or of the channels ([N, C, H, W]). For a map of one
// channel, a decision is an element above 0.5 in either network and agreement is the overlap
// (intersection over union).
struct AccuracyValues {
  size_t samples = 0;
  double sqnr_db = 0;  // at most 99, at least -99
  double cosine = 0;
  double relative_error = 0;
  size_t decisions = 0;  // 0: the outputs are not of a form that decides
  size_t agreed = 0;
  size_t labelled = 0;       // samples with a label and one decision
  size_t right = 0;          // of these, decided as labelled
  size_t right_float32 = 0;  // the same of the float32 network
  // Harmonic mean of precision and recall: of class 1 where the output has two classes; else the
  // mean over all that are a label or a decision (macro). 0 where precision and recall are.
  double f1 = 0, f1_float32 = 0;

  // Nothing if the metric is not defined here.
  std::optional<double> Get(AccuracyMetric metric) const;
};

// `labels`: empty, or one class for each sample. Elements that are not finite in `exact` are left
// out of the first three metrics.
AccuracyValues CompareOutputs(const std::vector<std::vector<Tensor>>& exact,
                              const std::vector<std::vector<Tensor>>& approximate,
                              std::span<const int64_t> labels);

}  // namespace octet::runtime
