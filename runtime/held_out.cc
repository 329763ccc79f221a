#include "runtime/held_out.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace octet::runtime {
namespace {

// Two different samples of one digest cost a measurement, no more.
size_t Digest(const std::vector<Tensor>& sample) {
  size_t digest = 0;
  for (const Tensor& tensor : sample) {
    const absl::string_view bytes(reinterpret_cast<const char*>(tensor.data()), tensor.byte_size());
    digest = absl::HashOf(digest, tensor.shape(), bytes);
  }
  return digest;
}

}  // namespace

CalibrationData WithoutSeen(const std::vector<std::vector<Tensor>>& calibrating,
                            const CalibrationData& measuring) {
  absl::flat_hash_set<size_t> seen;
  for (const std::vector<Tensor>& sample : calibrating) seen.insert(Digest(sample));
  CalibrationData kept{.source = measuring.source};
  for (size_t i = 0; i < measuring.samples.size(); ++i) {
    if (seen.contains(Digest(measuring.samples[i]))) continue;
    kept.samples.push_back(measuring.samples[i]);
    if (!measuring.labels.empty()) kept.labels.push_back(measuring.labels[i]);
  }
  return kept;
}

SampleSplit HoldOut(const CalibrationData& data, double share) {
  const size_t count = data.samples.size();
  auto held = static_cast<size_t>(static_cast<double>(count) * share);
  if (count >= 2) held = std::clamp<size_t>(held, 1, count - 1);
  SampleSplit split;
  CalibrationData measuring{.source = data.source};
  for (size_t i = 0; i < count; ++i) {
    // The sample is held out when its share of `held` reaches the next whole number.
    if ((i + 1) * held / count == i * held / count) {
      split.calibrating.push_back(data.samples[i]);
      continue;
    }
    measuring.samples.push_back(data.samples[i]);
    if (!data.labels.empty()) measuring.labels.push_back(data.labels[i]);
  }
  split.held_out = WithoutSeen(split.calibrating, measuring);
  return split;
}

ChosenSamples ChooseSamples(const CalibrationData& data, const CalibrationData& validation,
                            double share) {
  ChosenSamples chosen;
  if (!validation.samples.empty()) {
    if (share < 1) chosen.calibrating = data.samples;
    chosen.measuring = WithoutSeen(chosen.calibrating, validation);
    chosen.source = absl::StrCat("samples of ", validation.source);
    if (const size_t seen = validation.samples.size() - chosen.measuring.samples.size(); seen > 0) {
      chosen.warning = absl::StrCat(
          seen, " samples of the validation data have calibrated and were passed over");
    }
    return chosen;
  }
  if (share >= 1 && !data.samples.empty()) {
    chosen.measuring = data;
    chosen.source = absl::StrCat("samples of ", data.source);
    return chosen;
  }
  SampleSplit split = HoldOut(data, share);
  chosen.calibrating = std::move(split.calibrating);
  chosen.measuring = std::move(split.held_out);
  chosen.source = "held-out calibration samples";
  return chosen;
}

}  // namespace octet::runtime
