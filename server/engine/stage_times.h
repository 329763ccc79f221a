// How long each stage of loading a model takes, from what the loader tells of its progress.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace octet::server {

// A stage lasts until the next is told; one that comes again goes on. Not thread-safe.
class StageTimes {
 public:
  void Tell(absl::string_view stage, absl::Time now);

  // In the order in which stages came first; the last one ends now.
  std::vector<std::pair<std::string, double>> Seconds(absl::Time now);

 private:
  std::vector<std::pair<std::string, double>> stages_;
  std::string current_;
  absl::Time since_ = absl::InfinitePast();
};

}  // namespace octet::server
