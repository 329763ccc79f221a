#include "server/engine/stage_times.h"

#include <algorithm>

namespace octet::server {

void StageTimes::Tell(absl::string_view stage, absl::Time now) {
  if (!current_.empty()) {
    auto found = std::find_if(stages_.begin(), stages_.end(),
                              [&](const auto& known) { return known.first == current_; });
    if (found == stages_.end()) found = stages_.insert(stages_.end(), {current_, 0});
    found->second += absl::ToDoubleSeconds(now - since_);
  }
  current_ = std::string(stage);
  since_ = now;
}

std::vector<std::pair<std::string, double>> StageTimes::Seconds(absl::Time now) {
  Tell("", now);
  return stages_;
}

}  // namespace octet::server
