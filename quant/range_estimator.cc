#include "quant/range_estimator.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace octet::quant {

absl::StatusOr<RangeEstimator> FindRangeEstimator(absl::string_view name) {
  const std::span<const RangeEstimator> all = RangeEstimators();
  const auto found = std::find_if(all.begin(), all.end(), [&](const RangeEstimator& estimator) {
    return estimator.name == name;
  });
  if (found != all.end()) return *found;
  const auto append_name = [](std::string* out, const RangeEstimator& estimator) {
    absl::StrAppend(out, estimator.name);
  };
  return absl::NotFoundError(absl::StrCat("no range estimator is called '", name, "'; there are ",
                                          absl::StrJoin(all, ", ", append_name)));
}

Range MinMaxRange(const Distribution& values) {
  return {std::min(values.min(), 0.0f), std::max(values.max(), 0.0f)};
}

}  // namespace octet::quant
